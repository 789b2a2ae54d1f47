"""Messages that nobody should send: stamps of a clock that is ahead, and observations that are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from controllers.core import ControllerConfig
from controllers.ros import topics as arm_topics
from controllers.ros.converters import ns_to_stamp, stamp_to_ns
from hardware.interfaces import ArmReading
from hardware.ros.arm_state import ArmStateTopics
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ActionChunk, Observation, Reading, View
from robot_rl.ros import topics
from robot_rl.ros.arm_topics import KEPT, ArmTopics
from robot_rl.ros.converters import fill_image, fill_observation, state_names
from robot_rl.ros.policy_node import PolicyNode
from robot_rl.tasks.reach import Reach
from tests.robot_rl.acting import Decides

TASK = Reach()
SIZE = View().size
EVERY = 0.02  # [s] between measurements
AHEAD = 60 * 10**9  # [ns]
FRONT = "front"


@pytest.fixture
def measured() -> ArmReading:
    with InProcessWorld(TASK.scene(), ControllerConfig(workspace=TASK.workspace)) as world:
        return world.read()


class Arm:
    """An arm's topics, whoever else writes on them, and what a listener makes of it."""

    def __init__(self, ros: Any, measured: ArmReading, cameras: tuple[str, ...] = ()) -> None:
        self.ros, self._measured = ros, measured
        self.readings: list[Reading] = []
        node, listener = ros.node("arm"), ros.node()
        self._state = ArmStateTopics(node, False, ())
        self._stranger = ros.node("stranger").create_publisher(JointState, arm_topics.JOINT_STATES, 1)
        self.camera = node.create_publisher(Image, f"{FRONT}/color/image_raw", 1)
        self._heard: list[int] = []
        listener.create_subscription(
            JointState, arm_topics.JOINT_STATES, lambda m: self._heard.append(stamp_to_ns(m.header.stamp)), 10
        )
        ArmTopics(listener, (), dict.fromkeys(cameras, View()), self.readings.append)
        self.stamp = 10**9
        ros.spin_until(lambda: self._stranger.get_subscription_count() == 2)
        node.create_timer(EVERY, self._say)

    def _say(self) -> None:
        self.stamp += round(EVERY * 1e9)
        self._state.publish(self._measured, 1.0, {}, self.stamp)

    def wait_for(self, what: Callable[[Reading], object], stamp: int = 10**9) -> Reading:
        """Say where the arm is, from ``stamp`` [ns] on, until a reading is as it should be."""
        self.stamp = stamp
        self.ros.spin_until(lambda: self.readings and what(self.readings[-1]))
        return self.readings[-1]

    def disturb(self, stamp: int) -> None:
        """Somebody else's joints, of ``stamp`` [ns], have been heard."""
        message = JointState()
        ns_to_stamp(stamp, message.header.stamp)
        self._stranger.publish(message)
        self.ros.spin_until(lambda: stamp in self._heard)


def test_messages_of_a_clock_that_is_ahead_do_not_deafen_who_listens_to_the_arm(ros: Any, measured: ArmReading) -> None:
    arm = Arm(ros, measured)
    before = arm.wait_for(lambda reading: True).stamp_ns
    for number in range(3 * KEPT):
        arm.disturb(AHEAD + number)
    after = arm.wait_for(lambda reading: reading.stamp_ns > before, before)
    np.testing.assert_array_equal(after.q, measured.state.q)


def test_whole_measurements_of_a_clock_that_was_ahead_do_not_either(ros: Any, measured: ArmReading) -> None:
    arm = Arm(ros, measured)
    arm.wait_for(lambda reading: reading.stamp_ns > AHEAD, AHEAD)
    arm.wait_for(lambda reading: reading.stamp_ns < AHEAD)


def test_an_image_from_the_future_is_none_of_now_and_a_torn_one_is_none_at_all(ros: Any, measured: ArmReading) -> None:
    arm = Arm(ros, measured, (FRONT,))
    ros.spin_until(arm.camera.get_subscription_count)
    image = np.full((SIZE, SIZE, 3), 100, np.uint8)
    torn = fill_image(image, 10**9, FRONT, Image())
    torn.height += 1
    arm.camera.publish(torn)
    arm.camera.publish(fill_image(image, AHEAD, FRONT, Image()))
    ahead = arm.wait_for(lambda reading: "later than" in reading.fault)
    assert ahead.fault.startswith("camera front: its last image is stamped ")
    assert not ahead.images
    arm.camera.publish(fill_image(image, ahead.stamp_ns, FRONT, Image()))
    arm.wait_for(lambda reading: not reading.fault, ahead.stamp_ns - 10**8)


def spoilt(**changes: Any) -> JointState:
    """An observation that asks for an answer, but for ``changes``."""
    seen = Observation(2 * 10**9, 2, np.zeros(TASK.state_size, np.float32))
    message = fill_observation(seen, state_names(TASK.fields), JointState())
    for name, value in changes.items():
        setattr(message, name, value)
    return message


SPOILT = {
    "too short": spoilt(position=[0.0] * (TASK.state_size - 1)),
    "empty": spoilt(position=[], name=[]),
    "of another task": spoilt(name=[f"force[{i}]" for i in range(TASK.state_size)]),
    "not finite": spoilt(position=[float("nan")] * TASK.state_size),
}


def test_a_policy_process_survives_what_is_no_observation(ros: Any) -> None:
    policy = Decides(lambda seen: ActionChunk(seen.stamp_ns, np.zeros((1, 3))))
    answers: list[int] = []
    node = ros.node("session")
    observation = node.create_publisher(JointState, topics.OBSERVATION, 10)
    images = node.create_publisher(Image, f"{topics.OBSERVATION_IMAGE}/{FRONT}", 10)
    node.create_subscription(
        JointTrajectory, topics.ACTION_CHUNK, lambda m: answers.append(stamp_to_ns(m.header.stamp)), 5
    )
    ros.add(PolicyNode(TASK, policy, (FRONT,), None))
    ros.spin_until(lambda: observation.get_subscription_count() and images.get_subscription_count())
    good = np.zeros((SIZE, SIZE, 3), np.uint8)
    for message in SPOILT.values():
        observation.publish(message)
        images.publish(fill_image(good, 2 * 10**9, FRONT, Image()))
    torn, grey = (fill_image(good, 2 * 10**9, FRONT, Image()) for _ in range(2))
    torn.data, grey.encoding = torn.data[:-3], "mono8"
    for message in (torn, grey, fill_image(good[:-1], 2 * 10**9, FRONT, Image())):
        images.publish(message)
        observation.publish(spoilt())

    seen = Observation(3 * 10**9, 3, np.zeros(TASK.state_size, np.float32))
    observation.publish(fill_observation(seen, state_names(TASK.fields), JointState()))
    images.publish(fill_image(good, 3 * 10**9, FRONT, Image()))
    ros.spin_until(lambda: 3 * 10**9 in answers)
    assert [handed[-1].state.shape for handed in policy.handed] == [(TASK.state_size,)] * len(policy.handed)
    assert all(np.isfinite(handed[-1].state).all() for handed in policy.handed)
