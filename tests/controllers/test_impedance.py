from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

from controllers.gains import ImpedanceGains
from controllers.impedance import CartesianImpedance, feedforward
from controllers.model import ArmModel
from controllers.spatial import Pose, exp3

GAINS = ImpedanceGains()
UNEVEN = ImpedanceGains((1500.0, 300.0, 0.0), translational_clip=(0.02, 0.1, 0.01), rotational_stiffness=30.0)
STEP = 1e-6

# All but the last are singular: smallest singular value of the Jacobian below 1e-15, against 0.15.
ELBOW_STRAIGHT = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0])
UPRIGHT = np.zeros(7)  # elbow straight, and the axes of joints 5 and 7 in line
WRIST_ALIGNED = np.array([0.3, -0.7, 0.2, -2.0, 0.4, 0.0, 0.5])  # only the axes of joints 5 and 7 are parallel


def potential(law: CartesianImpedance, arm: ArmModel, target: Pose, displacement: np.ndarray) -> float:
    """Potential with the TCP displaced, which is the potential with the rest of the world displaced back."""
    tcp = arm.pose.moved(displacement)
    moved = Pose.from_rotation(target.translation - tcp.translation + arm.translation, target.rotation)
    return law.spring(arm, moved.translation, moved.rotation @ tcp.rotation.T @ arm.rotation)[1]


@pytest.mark.parametrize("gains", [GAINS, UNEVEN])
@pytest.mark.parametrize("size", [1e-3, 0.03, 0.3, 2.5])
def test_force_is_the_gradient_of_the_potential_inside_and_outside_the_clip(
    arm: ArmModel, rng: np.random.Generator, size: float, gains: ImpedanceGains
) -> None:
    law = CartesianImpedance(gains)
    for _ in range(5):
        axis = rng.normal(size=3)
        error = np.concatenate((0.3 * size * rng.normal(size=3), size * axis / np.linalg.norm(axis)))
        target = arm.pose.moved(error)
        wrench = law.spring(arm, target.translation, target.rotation)[0].copy()
        # U is quadratic or linear in the translation, so the quotient errs by rounding alone, 1e-16 · U / STEP with
        # U < 60 J (a kink of the clip within STEP would show, but not for this seed); along rotations it errs by STEP².
        tolerance = 1e-6
        for i in range(6):
            d = STEP * np.eye(6)[i]
            slope = (potential(law, arm, target, d) - potential(law, arm, target, -d)) / (2 * STEP)
            assert wrench[i] == pytest.approx(-slope, abs=tolerance)


def test_potential_is_never_negative_and_vanishes_only_at_the_target(arm: ArmModel, rng: np.random.Generator) -> None:
    law = CartesianImpedance(GAINS)
    wrench, energy = law.spring(arm, arm.translation, arm.rotation)
    np.testing.assert_allclose(wrench, 0.0, atol=1e-10)
    assert energy == pytest.approx(0.0, abs=1e-12)
    for _ in range(50):
        target = arm.pose.moved(rng.normal(size=6) * rng.uniform(0.0, 1.0))
        assert law.spring(arm, target.translation, target.rotation)[1] > 0.0


@pytest.mark.parametrize("gains", [GAINS, UNEVEN])
def test_force_bound_holds_for_any_target(arm: ArmModel, rng: np.random.Generator, gains: ImpedanceGains) -> None:
    law = CartesianImpedance(gains)
    reached = np.zeros(3)
    for _ in range(50):
        target = arm.pose.moved(rng.normal(size=6))
        wrench = law.spring(arm, target.translation, target.rotation)[0]
        reached = np.maximum(reached, np.abs(wrench[:3]))
        assert np.linalg.norm(wrench[3:]) <= gains.moment_bound * (1 + 1e-12)
    np.testing.assert_allclose(reached, np.broadcast_to(gains.force_bound, 3), rtol=1e-12)


def test_turning_up_to_half_a_turn_about_any_axis_pulls_about_that_axis(
    arm: ArmModel, rng: np.random.Generator
) -> None:
    law = CartesianImpedance(GAINS)
    axes = [*np.eye(3), *-np.eye(3), *(v / np.linalg.norm(v) for v in rng.normal(size=(10, 3)))]
    for axis in axes:
        for angle in (0.02, 0.5, np.pi / 2, 2.5, np.pi - 1e-3):
            wrench, energy = law.spring(arm, arm.translation, exp3(angle * axis) @ arm.rotation)
            size = min(angle * GAINS.rotational_stiffness, GAINS.moment_bound)
            np.testing.assert_allclose(wrench[3:], size * axis, atol=1e-6)
            # the work of turning there: the moment over the angle
            turns = np.linspace(0.0, angle, 20001)
            moments = np.minimum(turns * GAINS.rotational_stiffness, GAINS.moment_bound)
            assert energy == pytest.approx(np.trapezoid(moments, turns), rel=1e-5)


def test_half_a_turn_is_passed_with_a_moment_that_turns_round_and_an_energy_that_does_not_jump(
    arm: ArmModel, rng: np.random.Generator
) -> None:
    """At π both ways round are as far; no law that is bounded away from 0 there can be continuous, its size can."""
    law = CartesianImpedance(GAINS)
    for axis in (v / np.linalg.norm(v) for v in rng.normal(size=(10, 3))):
        before, at, after = (
            (wrench.copy(), energy)
            for wrench, energy in (
                law.spring(arm, arm.translation, exp3(angle * axis) @ arm.rotation)
                for angle in (np.pi - 1e-5, np.pi, np.pi + 1e-5)
            )
        )
        for wrench, energy in (before, at, after):
            assert np.linalg.norm(wrench[3:]) == pytest.approx(GAINS.moment_bound, rel=1e-9)
            assert energy == pytest.approx(at[1], abs=GAINS.moment_bound * 1.1e-5)
        np.testing.assert_allclose(before[0][3:], -after[0][3:], atol=1e-6)
        np.testing.assert_allclose(np.abs(at[0][3:]), np.abs(before[0][3:]), atol=1e-6)


def test_sign_of_the_target_quaternion_does_not_matter(arm: ArmModel, rng: np.random.Generator) -> None:
    law = CartesianImpedance(GAINS)
    quats = rng.normal(size=(20, 4))
    quats[:5, 3] = 0.0  # half turns, where the sign cannot be chosen by w
    for quat in quats / np.linalg.norm(quats, axis=1, keepdims=True):
        target, flipped = Pose(arm.translation, quat), Pose(arm.translation, -quat)
        one = law.spring(arm, target.translation, target.rotation)[0].copy()
        np.testing.assert_array_equal(one, law.spring(arm, flipped.translation, flipped.rotation)[0])


@pytest.mark.parametrize("gains", [GAINS, UNEVEN, GAINS.damped_by_ratio(0.7), GAINS.damped_by_mass(1.0)])
def test_damping_takes_energy_out(arm: ArmModel, rng: np.random.Generator, gains: ImpedanceGains) -> None:
    law = CartesianImpedance(gains)
    for _ in range(10):
        dq = rng.normal(size=7)
        arm.update(rng.uniform(arm.lower, arm.upper), dq)
        assert dq @ arm.jacobian.T @ law.damping(arm) < 0.0


@pytest.mark.parametrize(
    ("gains", "stiffness"), [(GAINS, [2e3] * 3 + [75.0] * 3), (UNEVEN, [1.5e3, 3e2, 1e-6] + [30.0] * 3)]
)
def test_damping_by_mass_gives_every_mode_of_arm_and_spring_the_ratio(
    arm: ArmModel, rng: np.random.Generator, gains: ImpedanceGains, stiffness: list[float]
) -> None:
    """UNEVEN has an axis without a spring, for which the law takes 1e-6 N/m."""
    law = CartesianImpedance(gains.damped_by_mass(0.6))
    for _ in range(5):
        q = rng.uniform(arm.lower, arm.upper)
        arm.update(q, np.zeros(7))
        motions = np.linalg.pinv(arm.jacobian)  # joint velocities for a unit twist along each axis
        mobility = arm.jacobian @ np.linalg.solve(arm.mass, arm.jacobian.T) + np.diag(1.0 / np.array(law.MOST_MASS))
        damping = np.empty((6, 6))
        for i in range(6):
            arm.update(q, motions[:, i])
            damping[:, i] = -law.damping(arm)
        np.testing.assert_allclose(damping, damping.T, atol=1e-6)
        # x = modes y makes Λ the identity and K diagonal: 2 · 0.6 √k is left of D, and nothing beside the diagonal.
        k, modes = scipy.linalg.eigh(np.diag(stiffness), np.linalg.inv(mobility))
        np.testing.assert_allclose(modes.T @ damping @ modes, np.diag(1.2 * np.sqrt(np.abs(k))), atol=1e-3)


@pytest.mark.parametrize("q", [ELBOW_STRAIGHT, WRIST_ALIGNED, UPRIGHT])
def test_singular_postures_are_nothing_special(arm: ArmModel, rng: np.random.Generator, q: np.ndarray) -> None:
    law = CartesianImpedance(GAINS.damped_by_mass(1.0))
    arm.update(q, np.zeros(7))
    smallest = np.linalg.svd(arm.jacobian, compute_uv=False)[-1]
    assert (smallest < 1e-12) == (q is not WRIST_ALIGNED)
    K = np.repeat((GAINS.translational_stiffness, GAINS.rotational_stiffness), 3)
    most = 2.0 * np.sqrt(K * law.MOST_MASS).max()
    for _ in range(10):
        dq = rng.normal(size=7)
        arm.update(q, dq)
        target = arm.pose.moved(rng.normal(size=6))
        wrench, energy = law.spring(arm, target.translation, target.rotation)
        assert np.isfinite(wrench).all()
        assert np.isfinite(energy)
        # D is at most 2ζ√(K m_max) (the root is monotone), however little the arm can move there
        assert np.linalg.norm(law.damping(arm)) <= most * np.linalg.norm(arm.twist)
        assert arm.twist @ law.damping(arm) <= 0.0
        posture = law.nullspace(arm, q, np.zeros(7), q + rng.normal(size=7), 1.0)
        assert np.linalg.norm(posture) <= GAINS.nullspace_cap * (1 + 1e-9)


@pytest.mark.parametrize("gains", [GAINS, UNEVEN, GAINS.damped_by_mass(0.7)])
def test_energy_in_arm_and_spring_only_falls(
    make_plant: Callable[..., Any], ready: np.ndarray, rng: np.random.Generator, gains: ImpedanceGains
) -> None:
    """Sampled at 1 kHz, from a moving start, with the target far outside the clip."""
    plant, law = make_plant(ready, rng.normal(size=7) * 0.5), CartesianImpedance(gains)
    arm = plant.model
    arm.update(ready, plant.dq)
    target = arm.pose.moved(np.array([0.06, -0.04, 0.03, 0.2, 0.3, -0.1]))
    energies = []
    for _ in range(600):
        arm.update(plant.q, plant.dq)
        wrench, potential = law.spring(arm, target.translation, target.rotation)
        energies.append(plant.kinetic_energy() + potential)
        torque = arm.jacobian.T @ (wrench + law.damping(arm)) + arm.coriolis
        plant.step(torque + law.nullspace(arm, plant.q, plant.dq, plant.q, 0.0))
    assert energies[-1] < 0.6 * energies[0]
    assert (np.diff(energies) <= 1e-6 * energies[0]).all()


def test_changed_gains_act_from_the_next_tick_on(arm: ArmModel) -> None:
    law, fresh = CartesianImpedance(GAINS.damped_by_mass(1.0)), CartesianImpedance(UNEVEN)
    target = arm.pose.moved(np.array([0.05, 0.02, -0.03, 0.3, 0.0, 0.1]))
    arm.update(arm.q.copy(), np.linspace(-1.0, 1.0, 7))
    law.set_gains(UNEVEN)
    assert law.gains is UNEVEN
    np.testing.assert_array_equal(law.damping(arm), fresh.damping(arm))
    for one, two in zip(
        law.spring(arm, target.translation, target.rotation),
        fresh.spring(arm, target.translation, target.rotation),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)


def test_feed_forward_does_the_work_of_its_wrench(arm: ArmModel, rng: np.random.Generator) -> None:
    wrench, dq = rng.normal(size=6), rng.normal(size=7)
    arm.update(arm.q.copy(), dq)
    ahead, behind = (arm.forward_kinematics(arm.q + sign * STEP * dq) for sign in (1.0, -1.0))
    power = wrench @ ahead.difference(behind) / (2.0 * STEP)
    assert feedforward(arm, wrench) @ dq == pytest.approx(power, abs=1e-7)


def test_posture_torque_has_no_share_that_a_wrench_at_the_tcp_could_balance(
    arm: ArmModel, ready: np.ndarray, rng: np.random.Generator
) -> None:
    law = CartesianImpedance(GAINS)
    torque = law.nullspace(arm, ready, np.zeros(7), ready + 0.1 * rng.normal(size=7), 1.0)
    assert np.linalg.norm(torque) > 0.01
    # N with the regularised inverse leaves λ / (σ² + λ) of the task part, σ ≥ 0.1 here.
    sigma = np.linalg.svd(arm.jacobian, compute_uv=False)[-1]
    leak = law.PROJECTOR_DAMPING / (sigma**2 + law.PROJECTOR_DAMPING)
    assert np.linalg.norm(arm.jacobian @ torque) <= leak * np.linalg.norm(arm.jacobian, 2) * GAINS.nullspace_cap


def test_posture_pulls_the_elbow_but_where_the_arm_comes_to_rest_the_tcp_is_at_its_target(
    make_plant: Callable[..., Any], ready: np.ndarray
) -> None:
    plant = make_plant(ready)
    law = CartesianImpedance(GAINS)
    arm = plant.model
    arm.update(ready, np.zeros(7))
    home, x, R = arm.pose, arm.translation, arm.rotation
    posture = ready + np.array([0.4, 0.0, -0.4, 0.0, 0.3, 0.0, 0.0])
    furthest = 0.0
    for _ in range(3000):
        arm.update(plant.q, plant.dq)
        wrench = law.spring(arm, x, R)[0] + law.damping(arm)
        torque = arm.jacobian.T @ wrench + law.nullspace(arm, plant.q, plant.dq, posture, 1.0) + arm.coriolis
        plant.step(torque)
        furthest = max(furthest, float(np.linalg.norm(arm.translation - x)))
    assert np.abs(plant.q - ready).max() > 0.1
    # On the way the TCP yields to what the projector does not decouple: here more than a hundred times what is left.
    error = np.linalg.norm(arm.forward_kinematics(plant.q).difference(home)[:3])
    assert np.abs(plant.dq).max() < 5e-3
    assert error < 1e-4
    assert furthest > 10.0 * error


def test_posture_damping_takes_energy_out_even_where_the_arm_is_singular(
    arm: ArmModel, rng: np.random.Generator
) -> None:
    law = CartesianImpedance(GAINS)
    for _ in range(20):
        q, dq = rng.uniform(arm.lower, arm.upper), rng.normal(size=7)
        q[3] = arm.upper[3]
        arm.update(q, dq)
        assert dq @ law.nullspace(arm, q, dq, q, 1.0) <= 0.0


def test_posture_spring_is_capped(arm: ArmModel, ready: np.ndarray, rng: np.random.Generator) -> None:
    law = CartesianImpedance(GAINS)
    for _ in range(20):
        torque = law.nullspace(arm, ready, np.zeros(7), rng.uniform(arm.lower, arm.upper), 1.0)
        assert np.abs(torque).max() <= GAINS.nullspace_cap
