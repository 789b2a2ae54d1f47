from __future__ import annotations

import numpy as np
import pinocchio as pin
import pytest

from controllers.model import ArmModel, Inertia, InverseKinematicsError, ModelError
from controllers.spatial import Pose, log3
from hardware.franka.model import HAND, fr3_model

STEP = 1e-6  # central differences: truncation ~ STEP², rounding ~ 1e-16 / STEP, so 1e-8 is a safe tolerance
TOLERANCE = 1e-8

SIX_JOINTS = (
    '<robot name="short"><link name="l0"/>'
    + "".join(
        f'<link name="l{i}"/><joint name="j{i}" type="revolute"><parent link="l{i - 1}"/><child link="l{i}"/>'
        f'<axis xyz="0 0 1"/><limit lower="-1" upper="1" effort="1" velocity="1"/></joint>'
        for i in range(1, 7)
    )
    + "</robot>"
)


def random_state(arm: ArmModel, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.uniform(arm.lower, arm.upper), rng.normal(size=7)


def test_jacobian_is_the_derivative_of_the_tcp_pose(arm: ArmModel, rng: np.random.Generator) -> None:
    for _ in range(10):
        q, dq = random_state(arm, rng)
        arm.update(q, dq)
        jacobian, twist = arm.jacobian.copy(), arm.twist.copy()
        numeric = np.empty((6, 7))
        for joint in range(7):
            offset = STEP * np.eye(7)[joint]
            ahead, behind = arm.forward_kinematics(q + offset), arm.forward_kinematics(q - offset)
            numeric[:, joint] = ahead.difference(behind) / (2 * STEP)
        np.testing.assert_allclose(jacobian, numeric, atol=TOLERANCE)
        np.testing.assert_allclose(twist, jacobian @ dq, atol=1e-12)


def test_update_agrees_with_forward_kinematics(arm: ArmModel, rng: np.random.Generator) -> None:
    q, dq = random_state(arm, rng)
    arm.update(q, dq)
    np.testing.assert_allclose(arm.pose.difference(arm.forward_kinematics(q)), 0.0, atol=1e-12)


def test_mass_coriolis_and_gravity_make_up_the_inverse_dynamics(arm: ArmModel, rng: np.random.Generator) -> None:
    reference = arm.pinocchio
    data = reference.createData()
    for _ in range(10):
        q, dq = random_state(arm, rng)
        ddq = rng.normal(size=7)
        arm.update(q, dq)
        np.testing.assert_allclose(
            arm.mass @ ddq + arm.coriolis + arm.gravity, pin.rnea(reference, data, q, dq, ddq), atol=1e-10
        )
        np.testing.assert_allclose(arm.coriolis, pin.computeCoriolisMatrix(reference, data, q, dq) @ dq, atol=1e-10)


def test_gravity_is_the_gradient_of_the_potential_energy(arm: ArmModel, rng: np.random.Generator) -> None:
    data = arm.pinocchio.createData()
    q, dq = random_state(arm, rng)
    arm.update(q, dq)
    for joint in range(7):
        offset = STEP * np.eye(7)[joint]
        ahead = pin.computePotentialEnergy(arm.pinocchio, data, q + offset)
        behind = pin.computePotentialEnergy(arm.pinocchio, data, q - offset)
        # Energies are ~1e2 J, so rounding leaves 1e2 · 1e-16 / 1e-6 = 1e-8 and a safety factor of ten.
        assert arm.gravity[joint] == pytest.approx((ahead - behind) / (2 * STEP), abs=1e-7)


def test_mass_is_symmetric_and_positive(arm: ArmModel, rng: np.random.Generator) -> None:
    arm.update(*random_state(arm, rng))
    np.testing.assert_array_equal(arm.mass, arm.mass.T)
    assert np.linalg.eigvalsh(arm.mass).min() > 0.0


def test_hand_and_drives_add_their_inertia(arm_urdf: str) -> None:
    bare = ArmModel.from_urdf(arm_urdf, "link8", Pose.identity())
    heavy = ArmModel.from_urdf(arm_urdf, "link8", Pose.identity(), HAND, np.full(7, 0.1))
    added = sum(i.mass for i in heavy.pinocchio.inertias) - sum(i.mass for i in bare.pinocchio.inertias)
    assert added == pytest.approx(HAND.mass)
    with_hand = ArmModel.from_urdf(arm_urdf, "link8", Pose.identity(), HAND)
    np.testing.assert_allclose(heavy.mass - with_hand.mass, 0.1 * np.eye(7), atol=1e-12)


def test_inertia_of_the_hand_is_taken_at_the_tip(arm_urdf: str, ready: np.ndarray) -> None:
    """A point mass at the tip adds m JᵀJ of the tip's translation to the mass matrix."""
    bare = ArmModel.from_urdf(arm_urdf, "link8", Pose.identity())
    point = Inertia(mass=2.0, com=(0.0, 0.0, 0.0), moments=(0.0,) * 6)
    loaded = ArmModel.from_urdf(arm_urdf, "link8", Pose.identity(), point)
    for model in (bare, loaded):
        model.update(ready, np.zeros(7))
    linear = bare.jacobian[:3]
    np.testing.assert_allclose(loaded.mass - bare.mass, 2.0 * linear.T @ linear, atol=1e-12)


def test_inverse_kinematics_finds_reachable_poses(arm: ArmModel, ready: np.ndarray, rng: np.random.Generator) -> None:
    start = arm.forward_kinematics(ready)
    for _ in range(20):
        goal = start.moved(rng.uniform(-1.0, 1.0, 6) * (0.1, 0.1, 0.1, 0.3, 0.3, 0.3))
        q = arm.inverse_kinematics(goal, ready)
        assert (q >= arm.lower).all()
        assert (q <= arm.upper).all()
        np.testing.assert_allclose(arm.forward_kinematics(q).difference(goal), 0.0, atol=1e-6)


def test_inverse_kinematics_leaves_the_current_instant_alone(arm: ArmModel, ready: np.ndarray) -> None:
    before = arm.jacobian.copy(), arm.translation.copy(), arm.coriolis.copy()
    arm.inverse_kinematics(arm.pose.moved(np.array([0.05, 0.0, 0.0, 0.0, 0.0, 0.2])), ready)
    for array, copy in zip((arm.jacobian, arm.translation, arm.coriolis), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_inverse_kinematics_says_when_a_pose_is_out_of_reach(arm: ArmModel, ready: np.ndarray) -> None:
    with pytest.raises(InverseKinematicsError, match="within reach"):
        arm.inverse_kinematics(arm.pose.moved(np.array([2.0, 0.0, 0.0, 0.0, 0.0, 0.0])), ready)


def test_descriptions_that_do_not_fit_are_refused(arm_urdf: str) -> None:
    with pytest.raises(ModelError, match="no frame 'hand'"):
        ArmModel.from_urdf(arm_urdf, "hand", Pose.identity())
    with pytest.raises(ModelError, match="6 joint positions"):
        ArmModel.from_urdf(SIX_JOINTS, "l6", Pose.identity())
    with pytest.raises(ModelError, match="cannot be read"):
        ArmModel.from_urdf("this is no robot", "link8", Pose.identity())


def test_the_fr3_has_its_published_limits() -> None:
    model = fr3_model()
    np.testing.assert_array_equal(model.effort, [87.0] * 4 + [12.0] * 3)
    np.testing.assert_array_equal(model.velocity, [2.62] * 4 + [5.26, 4.18, 5.26])
    assert np.linalg.norm(log3(model.rotation)) <= np.pi
