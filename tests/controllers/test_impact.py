"""The energy along the motion with which the TCP could hit something, and that braking only takes energy out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.config import ControlError, ControllerConfig
from controllers.gains import ImpedanceGains
from controllers.impact import HEADROOM, MOST_BRAKING, ImpactBound
from controllers.model import ArmModel
from controllers.state import EventKind, JointSetpoint, WrenchSetpoint
from hardware.franka.model import fr3_model
from tests.controllers.conftest import READY, Plant
from tests.controllers.loop import JUMPS, Loop, along_x

MODEL = fr3_model()
SEEDS = st.integers(0, 2**32 - 1)
WILD = ImpedanceGains(2000.0, 75.0, 15.0, 2.0, 0.03, 0.1, nullspace_damping=0.5)  # 60 N, and hardly any damping


def along_the_motion(model: ArmModel) -> float:
    """½ v² m(u) [J]."""
    J, V = model.jacobian[:3], model.twist[:3]
    v = float(np.linalg.norm(V))
    if v == 0.0:
        return 0.0
    u = V / v
    return 0.5 * v**2 / float(u @ J @ np.linalg.solve(model.mass, J.T @ u))


def moving(seed: int) -> tuple[ArmModel, np.ndarray, np.ndarray, float]:
    """An arm in motion, its joint velocities ``(7,)``, torques ``(7,)`` of a law, and a bound [J]."""
    rng = np.random.default_rng(seed)
    q = rng.uniform(MODEL.lower, MODEL.upper)
    dq = rng.uniform(-1.0, 1.0, 7) * 10.0 ** rng.uniform(-2.0, 0.5)
    MODEL.update(q, dq)
    return MODEL, dq, rng.uniform(-1.0, 1.0, 7) * 10.0 ** rng.uniform(-1.0, 2.0), 10.0 ** rng.uniform(-4.0, 0.0)


@given(SEEDS)
def test_acceleration_is_that_of_the_mass_matrix(seed: int) -> None:
    model, _, torque, _ = moving(seed)
    np.testing.assert_allclose(model.mass @ model.acceleration(torque), torque, atol=1e-9)


@settings(max_examples=500)
@given(SEEDS)
def test_braking_only_takes_energy_out_and_turns_nothing_round(seed: int) -> None:
    model, dq, torque, energy = moving(seed)
    braking = ImpactBound(energy).brake(model, torque)
    now = along_the_motion(model)
    if braking is None:
        assert now <= energy or pushes(model, torque) < 0.0
        return
    assert float(braking @ dq) <= 0.0
    before, after = pushes(model, torque), pushes(model, torque + braking)
    assert after < before
    assert after == pytest.approx(0.0, abs=MOST_BRAKING + 1e-6) if now > energy else after > 0.0


def pushes(model: ArmModel, torque: np.ndarray) -> float:
    """Force along the motion [N] that would accelerate the TCP as ``torque (7,)`` does."""
    J = model.jacobian[:3]
    c = J.T @ (model.twist[:3] / np.linalg.norm(model.twist[:3]))
    response = np.linalg.solve(model.mass, c)
    return float(response @ torque / (response @ c))


@pytest.mark.parametrize("energy", [math.inf, 0.05])
def test_a_slow_arm_and_one_without_a_bound_are_left_alone(energy: float) -> None:
    speed = 0.02 if math.isfinite(energy) else 1.0
    MODEL.update(READY, np.zeros(7))
    dq = np.linalg.pinv(MODEL.jacobian) @ np.array([speed, 0.0, 0.0, 0.0, 0.0, 0.0])
    MODEL.update(READY, dq)
    assert ImpactBound(energy).brake(MODEL, MODEL.jacobian.T @ np.array([20.0, 0.0, 0.0, 0.0, 0.0, 0.0])) is None


@pytest.mark.parametrize("energy", [0.0, -0.1, math.nan])
def test_a_bound_that_makes_no_sense_is_refused(energy: float) -> None:
    with pytest.raises(ControlError, match="impact_energy"):
        ControllerConfig(impact_energy=energy)


@pytest.mark.parametrize("way", np.vstack([np.eye(3), [[0.6, 0.0, -0.8]]]))
def test_the_reference_is_as_fast_as_the_inertia_allows(way: np.ndarray, make_plant: Callable[..., Plant]) -> None:
    loop = Loop(make_plant(), ControllerConfig(impact_energy=0.02))
    J = loop.plant.model.jacobian[:3]
    mass = 1.0 / float(way @ J @ np.linalg.solve(loop.plant.model.mass, J.T @ way))
    allowed = HEADROOM * math.sqrt(2.0 * 0.02 / mass)
    loop.command(loop.home.moved(np.concatenate((0.1 * way, np.zeros(3)))), 0.05)
    before = loop.controller.target_translation
    loop.run(0.1)
    assert np.linalg.norm(loop.controller.target_translation - before) == pytest.approx(0.1 * allowed, rel=0.02)


@pytest.mark.parametrize("energy", [0.01, 0.05])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("gains", "wrench", "overshoot"), [(ImpedanceGains(), 0.0, 1.1), (WILD, 15.0, 1.75)])
def test_whatever_is_asked_for_the_arm_hits_with_no_more(
    gains: ImpedanceGains,
    wrench: float,
    overshoot: float,
    seed: int,
    energy: float,
    make_plant: Callable[..., Plant],
) -> None:
    """Targets that jump and turn; and wrenches, with a spring that takes longer to let go than the arm to speed up."""
    rng = np.random.default_rng(seed)
    loop = Loop(make_plant(), ControllerConfig(**JUMPS, gains=gains, impact_energy=energy))
    most = 0.0
    for number in range(25):
        loop.command(loop.home.moved(rng.uniform(-0.1, 0.1, 6) * (1, 1, 1, 3, 3, 3)), float(rng.choice([0.0, 0.1])))
        push = rng.uniform(-wrench, wrench, 6) * (1.0, 1.0, 1.0, 0.1, 0.1, 0.1)
        loop.controller.command(WrenchSetpoint(push, number), loop.plant.time)
        for _ in range(100):
            loop.tick()
            loop.plant.model.update(loop.plant.q, loop.plant.dq)
            most = max(most, along_the_motion(loop.plant.model))
    assert 0.5 * energy < most < overshoot * energy


def test_joints_that_are_sent_somewhere_are_braked_too(make_plant: Callable[..., Plant]) -> None:
    most = []
    for energy in (0.02, math.inf):
        loop = Loop(make_plant(), ControllerConfig(impact_energy=energy))
        loop.controller.command(JointSetpoint(READY + 0.3, 1, 0.3), 0.0)
        most.append(0.0)
        for _ in range(240):
            loop.tick()
            loop.plant.model.update(loop.plant.q, loop.plant.dq)
            most[-1] = max(most[-1], along_the_motion(loop.plant.model))
    assert most[0] < 1.2 * 0.02 < 0.5 * most[1]


def test_it_says_once_that_it_is_gentle(make_plant: Callable[..., Plant]) -> None:
    loop = Loop(make_plant(), ControllerConfig(impact_energy=0.02))
    assert loop.command(along_x(loop.home, 0.001)) == ()
    (event,) = loop.command(along_x(loop.home, 0.04))
    assert event.kind is EventKind.SETPOINT_CLIPPED
    assert "asks for 0.4 m/s" in event.detail and "not to hit with more than 0.02 J" in event.detail
    assert loop.command(loop.home) == loop.command(along_x(loop.home, 0.03)) == ()


def test_without_it_the_same_spring_hits_harder(make_plant: Callable[..., Plant]) -> None:
    most = []
    for energy in (0.003, math.inf):
        loop = Loop(make_plant(), ControllerConfig(**JUMPS, impact_energy=energy))
        loop.command(along_x(loop.home, 0.1), 0.0)
        most.append(0.0)
        for _ in range(300):
            loop.tick()
            most[-1] = max(most[-1], along_the_motion(loop.plant.model))
    assert most[1] > 5.0 * most[0]
