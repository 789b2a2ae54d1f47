from __future__ import annotations

import numpy as np
import pytest

from controllers.interpolation import (
    Interpolator,
    JointSegment,
    PoseSegment,
    limited_duration,
    limited_joint_duration,
)
from controllers.spatial import Pose, exp3, log3

X0, X1 = np.array([0.4, 0.0, 0.3]), np.array([0.45, -0.1, 0.2])
R0 = exp3(np.array([np.pi - 0.1, 0.2, 0.0]))
R1 = exp3(np.array([0.3, 0.2, -0.4])) @ R0


def test_segment_moves_evenly_along_the_line_and_the_geodesic() -> None:
    segment = PoseSegment(X0, R0, X1, R1)
    whole = log3(R1 @ R0.T)
    for s in (0.0, 0.25, 0.5, 1.0):
        x, R = segment.at(s)
        np.testing.assert_allclose(x, X0 + s * (X1 - X0), atol=1e-15)
        np.testing.assert_allclose(log3(R @ R0.T), s * whole, atol=1e-12)


def test_segment_is_held_at_its_ends() -> None:
    segment = PoseSegment(X0, R0, X1, R1)
    np.testing.assert_array_equal(segment.at(-1.0)[0], X0)
    np.testing.assert_array_equal(segment.at(7.0)[1], R1)


def test_segment_half_way_through_half_a_turn_is_a_quarter_turn() -> None:
    segment = PoseSegment(X0, np.eye(3), X0, exp3(np.array([0.0, 0.0, np.pi])))
    assert np.linalg.norm(log3(segment.at(0.5)[1])) == pytest.approx(np.pi / 2)


def test_sign_of_the_quaternion_does_not_matter() -> None:
    pose = Pose.from_rotation(X1, R1)
    flipped = Pose(X1, -pose.quat_xyzw)
    for s in (0.3, 0.7):
        np.testing.assert_array_equal(
            PoseSegment(X0, R0, X1, pose.rotation).at(s)[1], PoseSegment(X0, R0, X1, flipped.rotation).at(s)[1]
        )


def test_reference_takes_the_time_it_was_given() -> None:
    path = Interpolator()
    path.move(X0, R0, X1, R1, start=10.0, duration=0.2)
    np.testing.assert_array_equal(path.at(10.0)[0], X0)
    np.testing.assert_allclose(path.at(10.1)[0], 0.5 * (X0 + X1))
    np.testing.assert_allclose(path.at(10.2)[0], X1)
    np.testing.assert_array_equal(path.at(99.0)[1], R1)


def test_reference_without_a_duration_jumps() -> None:
    path = Interpolator()
    path.move(X0, R0, X1, R1, start=10.0, duration=0.0)
    np.testing.assert_array_equal(path.at(10.0)[0], X1)


def test_reference_holds() -> None:
    path = Interpolator()
    path.hold(X1, R1)
    np.testing.assert_array_equal(path.at(0.0)[0], X1)
    np.testing.assert_array_equal(path.at(1e6)[1], R1)


Q0, Q1 = np.zeros(7), np.array([0.5, -1.0, 0.0, 0.2, 0.1, 0.0, -0.3])


def test_joint_segment_moves_evenly_and_is_held_at_its_ends() -> None:
    segment = JointSegment(Q0, Q1)
    np.testing.assert_allclose(segment.at(0.25), 0.25 * Q1)
    np.testing.assert_array_equal(segment.at(-1.0), Q0)
    np.testing.assert_array_equal(segment.at(2.0), Q1)


def speeds(duration: float) -> tuple[float, float]:
    """Of the reference on its way, by differences [m/s, rad/s]."""
    path, dt = PoseSegment(X0, R0, X1, R1), 1e-4
    (x, R), (y, S) = path.at(0.5), path.at(0.5 + dt / duration)
    return float(np.linalg.norm(y - x)) / dt, float(np.linalg.norm(log3(S @ R.T))) / dt


@pytest.mark.parametrize(("speed", "turn_speed"), [(0.2, 100.0), (100.0, 0.3), (0.2, 0.3)])
def test_reference_that_would_be_too_fast_takes_just_as_long_as_the_speeds_ask_for(
    speed: float, turn_speed: float
) -> None:
    duration = limited_duration(X0, R0, X1, R1, 0.1, speed, turn_speed)
    assert duration > 0.1
    shares = np.array(speeds(duration)) / (speed, turn_speed)
    assert shares.max() == pytest.approx(1.0, rel=1e-6)


def test_reference_that_is_slow_enough_is_left_alone() -> None:
    assert limited_duration(X0, R0, X1, R1, 5.0, 0.2, 0.3) == 5.0
    assert limited_duration(X0, np.eye(3), X0, np.eye(3), 0.0, 0.2, 0.3) == 0.0
    assert limited_joint_duration(Q0, Q1, 5.0, np.ones(7)) == 5.0


def test_slowest_joint_sets_the_duration() -> None:
    limits = np.array([2.0, 2.0, 2.0, 2.0, 0.1, 2.0, 2.0])
    duration = limited_joint_duration(Q0, Q1, 0.1, limits)
    assert duration == pytest.approx(1.0)  # joint 5: 0.1 rad at 0.1 rad/s
    assert (np.abs(Q1 - Q0) / duration <= limits * (1 + 1e-12)).all()
