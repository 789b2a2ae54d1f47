"""Converters with anything that has the fields of a message; one round trip with real messages guards their names."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace as Bag

import numpy as np
import pytest

from controllers.gains import ImpedanceGains
from controllers.ros.converters import fill_pose, fill_vectors, ns_to_stamp, pose_from, stamp_to_ns, vectors_from
from controllers.spatial import Pose, SpatialError
from hardware.ros.converters import gains_from, joints_from
from robot_rl.contract import PLACE, ActionChunk, ContractError, Field, Observation, Planned
from robot_rl.ros.converters import (
    chunk_from,
    fill_chunk,
    fill_image,
    fill_observation,
    fill_planned,
    image_from,
    observation_from,
    planned_from,
    request_from,
    state_names,
)

STAMP = 1_700_000_000_123_456_789
AXES = ("x", "y", "gripper")
POSE = Pose.from_rotvec(np.array([0.4, -0.1, 0.3]), np.array([0.1, 2.0, -0.3]))
OBSERVATION = Observation(STAMP, 41, np.array([0.1, -2.0, 3.5], np.float32))
CHUNK = ActionChunk(STAMP, np.array([[0.1, -0.2, 1.0], [0.3, 0.4, -1.0]], np.float32), version=12)


def header() -> Bag:
    return Bag(stamp=Bag(sec=0, nanosec=0), frame_id="")


def point(positions: list[float]) -> Bag:
    return Bag(positions=positions, time_from_start=Bag(sec=0, nanosec=0))


def chunk_message(**changes: object) -> Bag:
    message = fill_chunk(CHUNK, AXES, 0.1, point, Bag(header=header(), joint_names=[], points=[]))
    message.__dict__.update(changes)
    return message


def test_stamps_keep_every_nanosecond() -> None:
    stamp = ns_to_stamp(STAMP, Bag(sec=0, nanosec=0))
    assert (stamp.sec, stamp.nanosec) == (1_700_000_000, 123_456_789)
    assert stamp_to_ns(stamp) == STAMP


def test_poses_and_vectors_come_back() -> None:
    message = fill_pose(POSE, Bag(position=Bag(), orientation=Bag()))
    assert message.orientation.w >= 0.0
    np.testing.assert_allclose(pose_from(message).difference(POSE), np.zeros(6), atol=1e-12)
    linear, angular = Bag(), Bag()
    fill_vectors(np.arange(6.0), linear, angular)
    assert (linear.z, angular.x) == (2.0, 3.0)
    np.testing.assert_array_equal(vectors_from(linear, angular), np.arange(6.0))


@pytest.mark.parametrize("field", ["x", "w"])
def test_a_pose_that_is_none_is_refused(field: str) -> None:
    message = fill_pose(POSE, Bag(position=Bag(), orientation=Bag()))
    setattr(message.position if field == "x" else message.orientation, field, float("nan"))
    with pytest.raises(SpatialError, match="finite"):
        pose_from(message)


def test_an_observation_names_its_elements_and_comes_back() -> None:
    names = state_names((Field("position", 2, 1.0), Field("tank", 1, 1.0)))
    assert names == ["position[0]", "position[1]", "tank[0]"]
    message = fill_observation(OBSERVATION, names, Bag(header=header()))
    image = np.zeros((2, 3, 3), np.uint8)
    again = observation_from(message, {"front": image})
    assert (again.stamp_ns, again.seq) == (STAMP, 41)
    np.testing.assert_array_equal(again.state, OBSERVATION.state)
    assert again.state.dtype == np.float32
    assert again.images["front"] is image


def test_an_observation_says_its_episode_and_whether_it_asks() -> None:
    for asked in (True, False):
        message = fill_observation(OBSERVATION, ["a", "b", "c"], Bag(header=header()), episode=6, asked=asked)
        assert request_from(message) == (6, 41, asked)
    for wrong in ("", "41", "6 x ask", "6 41 please", "-1 41"):
        with pytest.raises(ContractError, match="has no episode"):
            request_from(Bag(header=Bag(stamp=Bag(sec=0, nanosec=0), frame_id=wrong)))


def test_an_image_keeps_every_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    message = fill_image(image[:, ::-1], STAMP, "wrist", Bag(header=header()))
    assert (message.height, message.width, message.step, message.encoding) == (4, 6, 18, "rgb8")
    np.testing.assert_array_equal(image_from(message), image[:, ::-1])
    message.encoding = "bgr8"
    with pytest.raises(ContractError, match=r"'wrist'.*'bgr8'.*'rgb8'"):
        image_from(message)


def test_a_chunk_says_when_each_action_is_due() -> None:
    message = chunk_message()
    assert message.joint_names == list(AXES)
    assert [stamp_to_ns(p.time_from_start) for p in message.points] == [0, 100_000_000]
    again = chunk_from(message, AXES)
    assert (again.stamp_ns, again.version) == (STAMP, 12)
    np.testing.assert_array_equal(again.actions, CHUNK.actions)
    np.testing.assert_allclose(again.times, [0.0, 0.1])
    stamped = replace(CHUNK, times=np.array([0.2, 0.25]))
    message = fill_chunk(stamped, AXES, 0.1, point, Bag(header=header(), joint_names=[], points=[]))
    np.testing.assert_allclose(chunk_from(message, AXES).times, stamped.times)


PLACES = np.array([[0.5, 0.1, 0.2, 1.0, 0.0, 0.0, 0.0], [0.5, 0.1, 0.19, 0.0, 1.0, 0.0, 0.0]])


def test_places_follow_on_the_actions_by_their_names() -> None:
    message = fill_chunk(
        replace(CHUNK, places=PLACES), AXES, 0.1, point, Bag(header=header(), joint_names=[], points=[])
    )
    assert message.joint_names == [*AXES, *PLACE]
    again = chunk_from(message, AXES)
    np.testing.assert_array_equal(again.actions, CHUNK.actions)
    np.testing.assert_allclose(again.places, PLACES)
    assert chunk_from(chunk_message(), AXES).places is None


def test_a_chunk_without_a_version_is_of_none() -> None:
    assert chunk_from(chunk_message(header=Bag(stamp=Bag(sec=1, nanosec=0), frame_id="")), AXES).version == -1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"joint_names": ["x", "z", "gripper"]}, "'z'.*'y'"),
        ({"joint_names": ["x", "y"]}, "has the axes"),
        ({"points": []}, r"h ≥ 1"),
        ({"points": [point([0.1, 0.2])]}, r"3 axes.*\[2\]"),
        ({"points": [point([0.1, 0.2, 0.3]), point([0.1])]}, r"3 axes.*\[3, 1\]"),
        ({"points": [point([0.1, float("nan"), 0.3])]}, "not finite"),
        ({"points": [point([0.1, 0.2, 0.3])] * 101}, "100 are allowed"),
        ({"points": [point([0.1, 0.2, 0.3])] * 2}, "must rise"),
        ({"joint_names": [*AXES, *PLACE]}, r"10 axes.*\[3, 3\]"),
        ({"joint_names": [*AXES, *PLACE[::-1]]}, "has the axes"),
        ({"joint_names": [*AXES, *PLACE], "points": [point([0.1, 0.2, 0.3, *[0.0] * 7])]}, "a place .* is none"),
    ],
)
def test_a_chunk_that_does_not_fit_is_refused(changes: dict, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        chunk_from(chunk_message(**changes), AXES)


def planned_message(**changes: object) -> Bag:
    message = Bag(header=header(), joint_names=[], points=[])
    fill_planned(Planned(CHUNK.actions, 1), STAMP, AXES, 0.1, point, message)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def test_a_plan_comes_with_its_delay_and_may_be_empty() -> None:
    message = planned_message()
    assert stamp_to_ns(message.header.stamp) == STAMP
    assert [stamp_to_ns(p.time_from_start) for p in message.points] == [0, 100_000_000]
    again = planned_from(message, AXES)
    assert again.delay == 1
    np.testing.assert_array_equal(again.actions, CHUNK.actions)
    empty = fill_planned(Planned(np.zeros((0, 3)), 0), STAMP, AXES, 0.1, point, planned_message(points=[]))
    assert planned_from(empty, AXES).actions.shape == (0, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"joint_names": ["x", "y"]}, "has the axes"),
        ({"header": Bag(stamp=Bag(sec=1, nanosec=0), frame_id="-1")}, "'-1', which is no delay"),
        ({"points": [point([0.1, 0.2])]}, r"3 axes.*\[2\]"),
        ({"points": [point([0.1, float("nan"), 0.3])]}, "not finite"),
        ({"points": [point([0.1, 0.2, 0.3])] * 101}, "n ≤ 100"),
        ({"points": []}, "of 0 actions cannot be 1"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(changes: dict, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        planned_from(planned_message(**changes), AXES)


def test_real_messages_have_these_fields() -> None:
    geometry, sensors = pytest.importorskip("geometry_msgs.msg"), pytest.importorskip("sensor_msgs.msg")
    trajectory = pytest.importorskip("trajectory_msgs.msg")
    pose = geometry.PoseStamped()
    ns_to_stamp(STAMP, pose.header.stamp)
    assert stamp_to_ns(pose.header.stamp) == STAMP
    np.testing.assert_allclose(pose_from(fill_pose(POSE, pose.pose)).difference(POSE), np.zeros(6), atol=1e-12)
    twist = geometry.Twist()
    fill_vectors(np.arange(6.0), twist.linear, twist.angular)
    np.testing.assert_array_equal(vectors_from(twist.linear, twist.angular), np.arange(6.0))
    seen = observation_from(fill_observation(OBSERVATION, ["a", "b", "c"], sensors.JointState()))
    np.testing.assert_array_equal(seen.state, OBSERVATION.state)
    image = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    np.testing.assert_array_equal(image_from(fill_image(image, STAMP, "wrist", sensors.Image())), image)
    message = fill_chunk(CHUNK, AXES, 0.1, trajectory.JointTrajectoryPoint, trajectory.JointTrajectory())
    again = chunk_from(message, AXES)
    assert (again.stamp_ns, again.version) == (STAMP, 12)
    np.testing.assert_array_equal(again.actions, CHUNK.actions)


def test_joint_targets_come_in_the_order_of_the_arm() -> None:
    names = ["gripper", *(f"right_fr3_joint{i}" for i in (7, 6, 5, 4, 3, 2, 1))]
    q = joints_from(Bag(name=names, position=[0.5, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]))
    np.testing.assert_array_equal(q, np.arange(1.0, 8.0))


@pytest.mark.parametrize(
    ("names", "positions", "said"),
    [
        ([f"fr3_joint{i}" for i in range(1, 7)], [0.0] * 6, "fr3_joint7 once"),
        ([f"fr3_joint{i}" for i in range(1, 8)], [0.0] * 6, "fr3_joint7 once"),
        ([f"fr3_joint{i}" for i in range(1, 8)] + ["left_fr3_joint1"], [0.0] * 8, "fr3_joint7 once"),
        ([f"fr3_joint{i}" for i in range(1, 8)], [0.0] * 6 + [np.nan], "not finite"),
        ([f"panda_joint{i}" for i in range(1, 8)], [0.0] * 7, "panda_joint1"),
    ],
)
def test_joint_targets_that_are_not_those_of_the_arm_are_named(names: list, positions: list, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        joints_from(Bag(name=names, position=positions))


def test_stiffness_brings_the_damping_that_keeps_the_ratio_and_never_less() -> None:
    before = ImpedanceGains()
    gains = gains_from(Bag(data=[8000.0, 2000.0, 500.0, 150.0, 150.0, 150.0]), before)
    assert gains.translational_stiffness == (8000.0, 2000.0, 500.0)
    assert gains.rotational_stiffness == 150.0
    assert gains.translational_damping == pytest.approx((2.0 * 89.0, 89.0, 89.0))
    assert gains.rotational_damping == pytest.approx(2.0**0.5 * 7.0)
    assert (gains.translational_clip, gains.nullspace_cap) == (before.translational_clip, before.nullspace_cap)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([100.0] * 5, "three stiffnesses"),
        ([100.0] * 3 + [10.0, 20.0, 10.0], "three equal ones"),
        ([100.0, np.inf, 100.0] + [10.0] * 3, "finite"),
        ([100.0, -1.0, 100.0] + [10.0] * 3, "not negative"),
        ([100.0] * 3 + [1000.0] * 3, "N·m"),
    ],
)
def test_stiffness_that_no_arm_should_have_is_refused(values: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        gains_from(Bag(data=values), ImpedanceGains())
