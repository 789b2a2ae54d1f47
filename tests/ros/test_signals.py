"""A judge that is a program of its own, by topic: its signals belong to the readings they are of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from rclpy.node import Node
from sensor_msgs.msg import JointState

from controllers.core import ControllerConfig
from controllers.ros.converters import ns_to_stamp, stamp_to_ns
from hardware.ros.arm_node import ArmNode
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import Reading
from robot_rl.ros import topics
from robot_rl.ros.arm_topics import ArmTopics
from robot_rl.ros.signals import NAMES
from robot_rl.tasks.base import scene_of
from robot_rl.tasks.reach import Reach

AGE = 0.5  # [s]


class Classifier:
    """A program that judges images."""

    def __init__(self, ros: Any) -> None:
        self.ros, self.node = ros, Node("classifier")
        ros.add(self.node)
        self.stamp = 0  # [ns] of what was said last
        self._publisher = self.node.create_publisher(JointState, topics.JUDGE_SIGNALS, 10)
        ros.spin_until(self._publisher.get_subscription_count)

    def say(self, names: list[str], values: list[float], late: float = 0.0) -> None:
        message = JointState(name=names, position=values)
        ns_to_stamp(self.node.get_clock().now().nanoseconds - round(late * 1e9), message.header.stamp)
        self.stamp = stamp_to_ns(message.header.stamp)
        self._publisher.publish(message)


@pytest.fixture
def readings(ros: Any) -> Iterator[list[Reading]]:
    readings: list[Reading] = []
    with InProcessWorld(scene_of(Reach()), ControllerConfig()) as world:
        ArmTopics(ros.node("listener"), (), {}, readings.append, AGE)
        ros.add(ArmNode(world, world.gripper))
        ros.node("clock").create_timer(0.005, lambda: world.advance(0.01))
        ros.spin_until(lambda: readings)
        yield readings


def test_signals_belong_to_readings_until_they_are_old(ros: Any, readings: list[Reading]) -> None:
    classifier = Classifier(ros)

    def seen(**signals: float) -> bool:
        classifier.say(list(signals), list(signals.values()))
        return readings[-1].signals == signals

    assert readings[-1].signals == {}
    ros.spin_until(lambda: seen(held=0.25, inserted=0.75))
    ros.spin_until(lambda: seen(held=0.5, inserted=0.75))
    stamp = classifier.stamp
    ros.spin_until(lambda: not readings[-1].signals)
    assert readings[-1].stamp_ns - stamp > AGE * 1e9, "not before they are old"


def test_strange_signals_are_refused_and_the_others_stay(ros: Any, readings: list[Reading]) -> None:
    classifier = Classifier(ros)

    def seen(**signals: float) -> bool:
        classifier.say(list(signals), list(signals.values()))
        fresh = {name: value for name, value in readings[-1].signals.items() if not name.startswith("n")}
        return fresh == signals

    classifier.say(["broken", "a/b", ""], [float("nan"), 1.0, 1.0])
    classifier.say(["held"], [1.0, 2.0])
    classifier.say(["old"], [1.0], late=60.0)
    classifier.say(["ahead"], [1.0], late=-60.0)
    ros.spin_until(lambda: seen(good=1.0))
    classifier.say([f"n{i}" for i in range(3 * NAMES)], [0.0] * 3 * NAMES)
    ros.spin_until(lambda: seen(good=0.5))
    assert len(readings[-1].signals) <= NAMES
