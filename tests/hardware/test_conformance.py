from __future__ import annotations

import math

import numpy as np
import pytest

from hardware.sim.fci.conformance import (
    ERRORS,
    START_TICKS,
    CollisionLevels,
    Conformance,
    ConformanceLimits,
    RobotMode,
    TorqueSignal,
)
from hardware.sim.fci.signals import (
    CartesianPoseSignal,
    CartesianVelocitySignal,
    JointPositionSignal,
    JointVelocitySignal,
)

LIMITS = ConformanceLimits()
LEVELS = CollisionLevels((10.0,) * 7, (20.0,) * 7, (15.0,) * 6, (30.0,) * 6)
Q = (0.0, -0.55, 0.0, -2.45, 0.0, 1.9, 0.785)
STILL = (0.0,) * 7
POSE = tuple(np.eye(4).flatten(order="F"))


def moving() -> Conformance:
    conformance = Conformance(LEVELS)
    assert conformance.start_motion(Q)
    assert conformance.command(STILL) == ()
    return conformance


def with_joint(joint: int, value: float, base: tuple[float, ...] = STILL) -> tuple[float, ...]:
    return (*base[:joint], value, *base[joint + 1 :])


def test_error_flags_are_those_of_libfranka() -> None:
    errors = pytest.importorskip("pylibfranka").Errors
    assert set(ERRORS) == {name for name in dir(errors) if not name.startswith("_")}
    assert len(set(ERRORS)) == 41


@pytest.mark.parametrize("joint", range(7))
def test_a_torque_may_change_by_one_newton_metre_a_tick(joint: int) -> None:
    conformance = moving()
    assert conformance.command(with_joint(joint, 1.0)) == ()
    assert conformance.command(with_joint(joint, 0.0)) == ()
    assert conformance.command(with_joint(joint, -1.01)) == ("controller_torque_discontinuity",)
    assert conformance.mode is RobotMode.REFLEX
    assert f"joint {joint + 1} from 0.00 to -1.01" in conformance.reason


def test_the_step_counts_from_the_last_torque_accepted_however_many_were_missed() -> None:
    conformance = moving()
    for _ in range(10):
        assert conformance.command(None) == ()
    assert conformance.command((1.5, *STILL[1:])) == ("controller_torque_discontinuity",)


@pytest.mark.parametrize("value", [12.5, -12.5, math.nan, math.inf, -math.inf])
def test_a_torque_out_of_range_is_no_torque(value: float) -> None:
    signal = TorqueSignal(LIMITS, last=with_joint(6, 12.0 if value > 0 else -12.0))
    violation = signal.check(with_joint(6, value), 1, Q)
    assert violation is not None
    assert violation.error == "tau_j_range_violation"


def test_twenty_missing_commands_in_a_row_stop_the_motion_and_nineteen_do_not() -> None:
    conformance = moving()
    for _ in range(3):
        assert [conformance.command(None) for _ in range(19)] == [()] * 19
        assert conformance.command(STILL) == ()
    assert [conformance.command(None) for _ in range(19)] == [()] * 19
    assert conformance.command(None) == ("communication_constraints_violation",)
    assert conformance.missed == 3 * 19 + 20
    assert conformance.errors == conformance.last_motion_errors == ("communication_constraints_violation",)


def test_the_first_command_may_take_half_a_second_and_no_longer() -> None:
    conformance = Conformance(LEVELS)
    conformance.start_motion(Q)
    for _ in range(START_TICKS + 19):
        assert conformance.command(None) == ()
    assert conformance.command(None) == ("communication_constraints_violation",)


def test_the_success_rate_covers_the_last_hundred_commands_of_a_motion() -> None:
    conformance = Conformance(LEVELS)
    assert conformance.success_rate == 0.0
    conformance.start_motion(Q)
    arrived = np.random.default_rng(3).random(400) < 0.8
    arrived[0] = True
    for i, there in enumerate(arrived, 1):
        conformance.command(STILL if there else None)
        assert conformance.success_rate == pytest.approx(arrived[max(0, i - 100) : i].mean())
    conformance.end_motion()
    assert conformance.success_rate == 0.0


@pytest.mark.parametrize("joint", range(7))
def test_joints_have_limits_of_position_and_velocity(joint: int) -> None:
    for limit, outward in ((LIMITS.position_lower[joint], -1.0), (LIMITS.position_upper[joint], 1.0)):
        conformance = moving()
        assert conformance.check(with_joint(joint, limit, Q), STILL) == ()
        beyond = with_joint(joint, limit + outward * 1e-4, Q)
        assert conformance.check(beyond, STILL) == ("joint_position_limits_violation",)
    conformance = moving()
    limit = LIMITS.velocity[joint]
    assert conformance.check(Q, with_joint(joint, -limit)) == ()
    assert conformance.check(Q, with_joint(joint, -limit - 1e-4)) == ("joint_velocity_violation",)
    assert f"joint {joint + 1} at" in conformance.reason


def test_a_joint_outside_its_limits_may_be_driven_back_but_not_further_out() -> None:
    conformance = moving()
    out = with_joint(0, 2.92, Q)
    assert conformance.check(out, STILL) == ("joint_position_limits_violation",)
    assert conformance.recover()
    assert conformance.start_motion(out)
    assert conformance.check(with_joint(0, 2.91, Q), STILL) == ()
    assert conformance.check(with_joint(0, 2.94, Q), STILL) == ("joint_position_limits_violation",)


def test_contacts_are_told_and_collisions_stop_the_motion() -> None:
    conformance = moving()
    no_force = (0.0,) * 6
    assert conformance.check(Q, STILL, with_joint(1, -12.0), (0.0, 0.0, 16.0, 0.0, 0.0, 0.0)) == ()
    assert conformance.joint_contact == with_joint(1, 1.0)
    assert conformance.cartesian_contact == (0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    assert not any(conformance.joint_collision) and not any(conformance.cartesian_collision)
    assert conformance.check(Q, STILL, with_joint(1, -21.0), no_force) == ("joint_reflex",)
    assert "-21.0 N·m at joint 2, threshold 20" in conformance.reason
    conformance.check(Q, STILL, STILL, no_force)
    assert not any(conformance.joint_contact)
    assert conformance.joint_collision == with_joint(1, 1.0)  # until it is recovered from
    assert conformance.recover()
    assert not any(conformance.joint_collision)

    conformance.start_motion(Q)
    assert conformance.check(Q, STILL, STILL, (0.0, -31.0, 0.0, 0.0, 0.0, 0.0)) == ("cartesian_reflex",)
    assert "-31.0 N along y" in conformance.reason


def test_a_collision_while_idle_is_nothing_to_stop() -> None:
    conformance = Conformance(LEVELS)
    assert conformance.check(Q, STILL, (99.0,) * 7, (99.0,) * 6) == ()
    assert conformance.mode is RobotMode.IDLE
    assert all(conformance.joint_contact)


def test_after_a_reflex_nothing_moves_until_recovery() -> None:
    conformance = moving()
    conformance.check(Q, with_joint(0, 3.0))
    assert not conformance.start_motion(Q)
    assert conformance.command((50.0,) * 7) == ()  # not even looked at
    assert conformance.recover()
    assert (conformance.mode, conformance.errors, conformance.reason) == (RobotMode.IDLE, (), "")
    assert conformance.last_motion_errors == ("joint_velocity_violation",)
    assert conformance.start_motion(Q)
    assert conformance.last_motion_errors == ()
    assert conformance.command((1.5, *STILL[1:])) == ("controller_torque_discontinuity",)  # counted from zero again


def test_a_moving_arm_can_neither_be_recovered_nor_started() -> None:
    conformance = moving()
    assert not conformance.recover()
    assert not conformance.start_motion(Q)
    assert conformance.mode is RobotMode.MOVE


def test_the_user_stop_ends_the_motion_and_only_its_release_ends_the_user_stop() -> None:
    conformance = moving()
    conformance.user_stop(True)
    assert conformance.mode is RobotMode.USER_STOPPED
    assert not conformance.recover()
    assert not conformance.start_motion(Q)
    assert conformance.last_motion_errors == ()
    conformance.user_stop(False)
    assert conformance.mode is RobotMode.IDLE
    assert conformance.start_motion(Q)
    conformance.user_stop(False)  # releasing what is not pressed changes nothing
    assert conformance.mode is RobotMode.MOVE


def test_a_client_that_goes_away_while_moving_leaves_an_error_behind() -> None:
    conformance = moving()
    assert conformance.lose_connection() == ("communication_constraints_violation",)
    assert conformance.recover()
    assert conformance.lose_connection() == ()
    assert conformance.mode is RobotMode.IDLE


@pytest.mark.parametrize("bad", [(1.0,) * 6, (-1.0, *STILL[1:]), (math.nan, *STILL[1:])])
def test_thresholds_must_be_thresholds(bad: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="collision_torque needs 7"):
        CollisionLevels((1.0,) * 7, bad, (1.0,) * 6, (1.0,) * 6)


# Motion generators.


def course(t: float) -> float:
    """A smooth way with 2 rad/s² at most, at rest at the start [rad]."""
    return 0.5 * (1.0 - math.cos(2.0 * t))


def positions(t: float) -> tuple[float, ...]:
    return with_joint(4, course(t), Q)


@pytest.mark.parametrize("lost", [set(), {300}, {300, 301, 302}, set(range(300, 319))])
def test_a_smooth_way_is_followed_whatever_is_lost_on_the_way(lost: set[int]) -> None:
    signal = JointPositionSignal(LIMITS, Q)
    gap = 1
    for tick in range(1500):
        if tick in lost:
            if tick == min(lost):
                held = signal.without(1)
                assert held is not None
                # Constant acceleration leaves out the jerk, 4 rad/s³: a first-order way would be off by a h² = 2e-6.
                assert held[4] == pytest.approx(course(1e-3 * tick), abs=2e-8)
            gap += 1
            continue
        assert signal.check(positions(1e-3 * tick), gap, Q) is None
        gap = 1


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (0.0001, "joint_motion_generator_velocity_discontinuity"),  # 0.1 rad/s within a millisecond
        (0.006, "joint_motion_generator_velocity_limits_violation"),
        (4.0, "joint_motion_generator_position_limits_violation"),
        (math.nan, "joint_motion_generator_position_limits_violation"),
    ],
)
def test_a_jump_of_a_joint_position(change: float, error: str) -> None:
    signal = JointPositionSignal(LIMITS, Q)
    for tick in range(200):
        assert signal.check(positions(1e-3 * tick), 1, Q) is None
    wrong = with_joint(4, positions(0.2)[4] + change, Q)
    violation = signal.check(wrong, 1, Q)
    assert violation is not None and violation.error == error
    assert signal.check(positions(0.2), 1, Q) is None  # what was refused has not been remembered


def test_a_motion_begins_where_the_arm_is() -> None:
    violation = JointPositionSignal(LIMITS, Q).check(with_joint(0, 0.02, Q), 1, Q)
    assert violation is not None and violation.error == "joint_position_motion_generator_start_pose_invalid"
    away = np.eye(4)
    away[0, 3] = 0.02
    violation = CartesianPoseSignal(POSE).check(tuple(away.flatten(order="F")), 1, Q)
    assert violation is not None and violation.error == "cartesian_position_motion_generator_start_pose_invalid"


def test_asynchronous_targets_may_be_far_and_rare() -> None:
    conformance = Conformance(LEVELS)
    conformance.start_motion(Q, JointPositionSignal(LIMITS, Q, streamed=False))
    assert conformance.command(with_joint(0, 1.0, Q)) == ()
    assert all(conformance.command(None) == () for _ in range(2000))
    assert conformance.command(with_joint(0, 3.0, Q)) == ("joint_motion_generator_position_limits_violation",)


# The formula by hand: sqrt(2 · 6.0 · (2.9007 − 2.85)) − 0.652 = 0.128 rad/s outward at 2.85 rad.
@pytest.mark.parametrize(("q", "limit", "sign"), [(0.0, 2.62, 1.0), (2.85, 0.128, 1.0), (2.85, 2.62, -1.0)])
def test_joint_velocities_are_limited_the_more_near_the_end_of_the_range(q: float, limit: float, sign: float) -> None:
    signal, where, speed = JointVelocitySignal(LIMITS), with_joint(0, q, Q), 0.0
    while speed < limit - 0.01:
        speed += 0.009
        assert signal.check(with_joint(0, sign * speed), 1, where) is None
    violation = signal.check(with_joint(0, sign * (limit + 0.002)), 1, where)
    assert violation is not None and violation.error == "joint_motion_generator_velocity_limits_violation"


@pytest.mark.parametrize(
    ("axis", "step", "speed"), [(0, 0.009, 3.0), (2, 0.009, 3.0), (3, 0.017, 2.5), (5, 0.017, 2.5)]
)
def test_cartesian_velocities_are_limited(axis: int, step: float, speed: float) -> None:
    signal = CartesianVelocitySignal()
    twist = np.zeros(6)
    while twist[axis] < speed - step:
        twist[axis] += step
        assert signal.check(twist.tolist(), 1, Q) is None
    jump = twist.copy()
    jump[axis] -= 0.03
    violation = signal.check(jump.tolist(), 1, Q)
    assert violation is not None and violation.error == "cartesian_motion_generator_velocity_discontinuity"
    twist[axis] = speed + 0.01
    violation = signal.check(twist.tolist(), 1, Q)
    assert violation is not None and violation.error == "cartesian_motion_generator_velocity_limits_violation"


def turning(t: float) -> np.ndarray:
    """A pose that moves along x and turns about z, smoothly and from rest."""
    matrix = np.eye(4)
    angle = course(t)
    matrix[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    matrix[0, 3] = angle
    return matrix


def test_a_cartesian_way_with_gaps_is_followed_and_a_jump_is_not() -> None:
    signal = CartesianPoseSignal(POSE)
    for tick in range(500):
        assert signal.check(turning(1e-3 * tick).flatten(order="F").tolist(), 1, Q) is None
    held = np.array(signal.without(3)).reshape(4, 4, order="F")
    np.testing.assert_allclose(held, turning(0.502), atol=1e-7)
    assert signal.check(turning(0.502).flatten(order="F").tolist(), 3, Q) is None
    jump = turning(0.503)
    jump[2, 3] += 1e-4
    violation = signal.check(jump.flatten(order="F").tolist(), 1, Q)
    assert violation is not None and violation.error == "cartesian_motion_generator_velocity_discontinuity"
    skewed = turning(0.503)
    skewed[0, 0] += 1e-3
    violation = signal.check(skewed.flatten(order="F").tolist(), 1, Q)
    assert violation is not None and violation.error == "cartesian_position_motion_generator_invalid_frame"
