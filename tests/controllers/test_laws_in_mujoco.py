"""The laws' torques and the friction compensation against MuJoCo's FR3: other code, other model, same arm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
import pytest

from controllers.friction import FrictionCompensation, FrictionConfig
from controllers.gains import ImpedanceGains
from controllers.impedance import CartesianImpedance, feedforward
from controllers.model import ArmModel
from hardware.scene import HOME_Q, SceneSpec
from hardware.sim.scene.model import HAND_BODY, TCP_IN_HAND, start_simulator

ARM = slice(0, 7)


@dataclass
class Simulated:
    """MuJoCo's FR3 without gravity, actuators and contacts, driven by ``qfrc_applied``."""

    model: Any
    data: Any

    def place(self, q: np.ndarray, dq: np.ndarray | float = 0.0) -> None:
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[ARM], self.data.qvel[ARM] = q, dq
        mujoco.mj_forward(self.model, self.data)

    def acceleration(self, torque: np.ndarray) -> np.ndarray:
        """Of the joints ``(7,)`` [rad/s²] under ``torque (7,)`` [N·m] where it is placed."""
        self.data.qfrc_applied[ARM] = torque
        mujoco.mj_forward(self.model, self.data)
        return self.data.qacc[ARM].copy()

    def jacobian(self) -> np.ndarray:
        """Of the TCP ``(6, 7)``, base axes."""
        body = self.model.body(HAND_BODY).id
        tcp = self.data.xpos[body] + self.data.xmat[body].reshape(3, 3) @ np.array(TCP_IN_HAND)
        jacobian = np.zeros((6, self.model.nv))
        mujoco.mj_jac(self.model, self.data, jacobian[:3], jacobian[3:], tcp, body)
        return jacobian[:, ARM]

    def inertia(self) -> np.ndarray:
        """Of the joints ``(7, 7)`` [kg·m²], drives included."""
        full = np.zeros((self.model.nv, self.model.nv))
        mujoco.mj_fullM(self.model, full, self.data.qM)
        return full[ARM, ARM]

    def kinetic_energy(self) -> float:
        dq = self.data.qvel[ARM]
        return float(0.5 * dq @ self.inertia() @ dq)


@pytest.fixture(scope="module")
def simulator() -> Any:
    simulator = start_simulator(SceneSpec())
    simulator.model.opt.gravity[:] = 0.0
    for flag in ("mjDSBL_ACTUATION", "mjDSBL_CONTACT"):
        simulator.model.opt.disableflags |= getattr(mujoco.mjtDisableBit, flag)
    return simulator


@pytest.fixture
def with_friction(simulator: Any) -> Simulated:
    return Simulated(simulator.model, mujoco.MjData(simulator.model))


@pytest.fixture
def frictionless(with_friction: Simulated) -> Iterator[Simulated]:
    model = with_friction.model
    kept = model.dof_frictionloss.copy()
    model.dof_frictionloss[:] = 0.0
    yield with_friction
    model.dof_frictionloss[:] = kept


@pytest.fixture
def postures(arm: ArmModel, rng: np.random.Generator) -> list[np.ndarray]:
    middle, half = 0.5 * (arm.lower + arm.upper), 0.5 * (arm.upper - arm.lower)
    return [np.array(HOME_Q), *(middle + 0.8 * half * rng.uniform(-1.0, 1.0, (5, 7)))]


def test_jacobian_and_mass_are_those_of_mujoco(
    frictionless: Simulated, arm: ArmModel, postures: list[np.ndarray]
) -> None:
    for q in postures:
        frictionless.place(q)
        arm.update(q, np.zeros(7))
        np.testing.assert_allclose(arm.jacobian, frictionless.jacobian(), atol=1e-9)
        # the hand is one body here and three in MuJoCo, which differ by 20 g·m² at most
        np.testing.assert_allclose(arm.mass, frictionless.inertia(), atol=0.02)


def test_spring_and_feed_forward_accelerate_the_tcp_by_what_newton_says(
    frictionless: Simulated, arm: ArmModel, postures: list[np.ndarray], rng: np.random.Generator
) -> None:
    """At rest a torque Jᵀ F accelerates the TCP by J M⁻¹ Jᵀ F; M with drives."""
    law = CartesianImpedance(ImpedanceGains())
    for q in postures:
        frictionless.place(q)
        arm.update(q, np.zeros(7))
        target = arm.pose.moved(rng.normal(size=6) * 0.05)
        spring, _ = law.spring(arm, target.translation, target.rotation)
        expected = arm.jacobian @ np.linalg.solve(arm.mass, arm.jacobian.T @ spring)
        measured = frictionless.jacobian() @ frictionless.acceleration(feedforward(arm, spring))
        assert np.linalg.norm(measured - expected) <= 0.02 * np.linalg.norm(expected)
        assert measured @ spring > 0.0  # toward the target, in the metric of Λ


def test_a_wrench_fed_forward_balances_the_same_wrench_from_outside(
    frictionless: Simulated, arm: ArmModel, postures: list[np.ndarray], rng: np.random.Generator
) -> None:
    body = frictionless.model.body(HAND_BODY).id
    for q in postures:
        frictionless.place(q)
        arm.update(q, np.zeros(7))
        wrench = rng.normal(size=6) * (20.0, 20.0, 20.0, 2.0, 2.0, 2.0)
        data = frictionless.data
        # the world pushes back at the TCP; MuJoCo takes the force at the body's centre of mass
        lever = arm.translation - data.xipos[body]
        data.xfrc_applied[body, :3] = -wrench[:3]
        data.xfrc_applied[body, 3:] = -wrench[3:] - np.cross(lever, wrench[:3])
        np.testing.assert_allclose(frictionless.acceleration(feedforward(arm, wrench)), 0.0, atol=1e-8)


def test_posture_torque_accelerates_the_tcp_unless_it_is_projected_with_the_inertia(
    frictionless: Simulated, arm: ArmModel, ready: np.ndarray, rng: np.random.Generator
) -> None:
    """Statement of the law's docstring about its projector: static, not dynamic, decoupling."""
    law = CartesianImpedance(ImpedanceGains())
    frictionless.place(ready)
    arm.update(ready, np.zeros(7))
    J, mass = frictionless.jacobian(), frictionless.inertia()
    torque = 5.0 * rng.normal(size=7)
    static = law.nullspace(arm, ready, np.zeros(7), ready + torque / np.linalg.norm(torque), 1.0)
    moved = np.linalg.norm((J @ frictionless.acceleration(static))[:3])
    Lambda = np.linalg.inv(J @ np.linalg.solve(mass, J.T))
    dynamic = torque - J.T @ Lambda @ J @ np.linalg.solve(mass, torque)
    left = np.linalg.norm((J @ frictionless.acceleration(dynamic))[:3])
    assert moved > 0.05
    assert left < 0.02 * moved
    # Yet behind the dynamic projector damping may add energy, behind the static one it cannot.
    projector = np.eye(7) - J.T @ Lambda @ J @ np.linalg.inv(mass)
    assert np.linalg.eigvalsh(-(projector + projector.T)).max() > 0.01


def coast(simulated: Simulated, torque: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, float]:
    """Kinetic energy [J] tick by tick after a push, and the work of the torques."""
    dq = np.array([0.5, -0.3, 0.4, 0.6, -0.8, 0.7, 1.0])
    simulated.place(np.array(HOME_Q), dq)
    energies, work = [simulated.kinetic_energy()], 0.0
    for _ in range(400):
        applied = torque(simulated.data.qvel[ARM].copy()).copy()
        simulated.data.qfrc_applied[ARM] = applied
        before = simulated.data.qpos[ARM].copy()
        mujoco.mj_step(simulated.model, simulated.data)
        work += float(applied @ (simulated.data.qpos[ARM] - before))
        energies.append(simulated.kinetic_energy())
    return np.array(energies), work


def test_compensated_friction_lets_the_arm_coast_further_but_never_drives_it(with_friction: Simulated) -> None:
    coulomb = with_friction.model.dof_frictionloss[ARM]
    viscous = with_friction.model.dof_damping[ARM]

    def compensated(share: float) -> Callable[[np.ndarray], np.ndarray]:
        config = FrictionConfig(tuple(share * coulomb), tuple(share * viscous), smoothing=0.02, cap=2.0)
        return FrictionCompensation(config).torque

    free, _ = coast(with_friction, lambda dq: np.zeros(7))
    helped, work = coast(with_friction, compensated(0.7))
    assert (np.diff(helped) <= 1e-4 * helped[0]).all()
    assert 0.0 < work < helped[0] * 0.7 / 0.3 * 1.01  # friction takes helped[0] + work, of which work is 70 % at most
    assert helped[-1] > 2.0 * free[-1]
    driven, _ = coast(with_friction, compensated(1.5))
    assert driven[-1] > driven[0]  # what the docstring warns of
