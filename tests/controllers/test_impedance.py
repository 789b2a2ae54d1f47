from __future__ import annotations

import numpy as np
import pytest

from controllers.impedance import CartesianImpedance, GainError, ImpedanceGains
from controllers.model import ArmModel
from controllers.spatial import Pose, exp3

GAINS = ImpedanceGains()
STEP = 1e-6


def potential(law: CartesianImpedance, arm: ArmModel, target: Pose, displacement: np.ndarray) -> float:
    """Potential with the TCP displaced, which is the potential with the rest of the world displaced back."""
    tcp = arm.pose.moved(displacement)
    moved = Pose.from_rotation(target.translation - tcp.translation + arm.translation, target.rotation)
    return law.spring(arm, moved.translation, moved.rotation @ tcp.rotation.T @ arm.rotation)[1]


@pytest.mark.parametrize("size", [1e-3, 0.03, 0.3, 2.5])
def test_force_is_the_gradient_of_the_potential_inside_and_outside_the_clip(
    arm: ArmModel, rng: np.random.Generator, size: float
) -> None:
    law = CartesianImpedance(GAINS)
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


def test_force_bound_holds_for_any_target(arm: ArmModel, rng: np.random.Generator) -> None:
    law = CartesianImpedance(GAINS)
    assert GAINS.force_bound == pytest.approx(20.0)
    assert GAINS.moment_bound == pytest.approx(3.75)
    for _ in range(50):
        target = arm.pose.moved(rng.normal(size=6))
        wrench = law.spring(arm, target.translation, target.rotation)[0]
        assert np.abs(wrench[:3]).max() <= GAINS.force_bound * (1 + 1e-12)
        assert np.linalg.norm(wrench[3:]) <= GAINS.moment_bound * (1 + 1e-12)


@pytest.mark.parametrize("axis", np.eye(3).tolist())
def test_half_a_turn_pulls_with_the_full_bound_about_its_axis(arm: ArmModel, axis: list[float]) -> None:
    law = CartesianImpedance(GAINS)
    wrench, _ = law.spring(arm, arm.translation, exp3(np.pi * np.array(axis)) @ arm.rotation)
    np.testing.assert_allclose(np.abs(wrench[3:]), GAINS.moment_bound * np.array(axis), atol=1e-6)


def test_sign_of_the_target_quaternion_does_not_matter(arm: ArmModel) -> None:
    law = CartesianImpedance(GAINS)
    target = arm.pose.moved(np.array([0.0, 0.0, 0.0, 0.4, -0.3, 0.2]))
    flipped = Pose(target.translation, -target.quat_xyzw)
    one = law.spring(arm, target.translation, target.rotation)[0].copy()
    np.testing.assert_array_equal(one, law.spring(arm, flipped.translation, flipped.rotation)[0])


def test_damping_takes_energy_out(arm: ArmModel, ready: np.ndarray, rng: np.random.Generator) -> None:
    law = CartesianImpedance(GAINS)
    for _ in range(10):
        dq = rng.normal(size=7)
        arm.update(ready, dq)
        assert dq @ arm.jacobian.T @ law.damping(arm) < 0.0


def test_posture_torque_leaves_the_tcp_alone(arm: ArmModel, ready: np.ndarray, rng: np.random.Generator) -> None:
    law = CartesianImpedance(GAINS)
    torque = law.nullspace(arm, ready, np.zeros(7), ready + 0.1 * rng.normal(size=7), 1.0)
    assert np.linalg.norm(torque) > 0.01
    # N with the regularised inverse leaves λ / (σ² + λ) of the task part, σ ≥ 0.1 here.
    sigma = np.linalg.svd(arm.jacobian, compute_uv=False)[-1]
    leak = law.PROJECTOR_DAMPING / (sigma**2 + law.PROJECTOR_DAMPING)
    assert np.linalg.norm(arm.jacobian @ torque) <= leak * np.linalg.norm(arm.jacobian, 2) * GAINS.nullspace_cap


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


@pytest.mark.parametrize("name", ["translational_damping", "rotational_stiffness", "nullspace_cap"])
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_gains_of_the_wrong_sign_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(GainError, match=name):
        ImpedanceGains(**{name: value})


def test_a_clip_of_nothing_is_refused() -> None:
    with pytest.raises(GainError, match="clip"):
        ImpedanceGains(rotational_clip=0.0)
