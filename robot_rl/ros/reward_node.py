"""Classifiers as a node beside the cameras: complete readings in, `judge_signals` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rclpy.node import Node
from sensor_msgs.msg import JointState

from controllers.ros.converters import ns_to_stamp
from robot_rl.contract import Reading, View
from robot_rl.ros import topics
from robot_rl.ros.arm_topics import ArmTopics
from robot_rl.ros.signals import DEPTH
from robot_rl.session.config import SessionConfig

LOOK = 0.005  # [s] between looks whether there is something to judge


class RewardNode(Node):
    """Judges the newest reading whose pictures are new, whenever no message waits.

    Args:
        signals: what is said of a reading: name → value.
        views: cameras that are seen, and what of their pictures.
        image_age, compressed: see `ArmTopics`.
    """

    def __init__(
        self,
        signals: Callable[[Reading], Mapping[str, float]],
        views: Mapping[str, View],
        image_age: float = SessionConfig.image_age,
        compressed: bool = False,
    ) -> None:
        super().__init__("reward")
        self._signals, self._views = signals, views
        self._newest: Reading | None = None
        self._judged: Reading | None = None  # whose pictures were judged last
        self._busy = False  # messages have come since the last look
        self._said = self.create_publisher(JointState, topics.JUDGE_SIGNALS, DEPTH)
        self._arm = ArmTopics(self, (), views, self._on_reading, image_age, compressed)
        self.create_timer(LOOK, self._look)

    def _on_reading(self, reading: Reading) -> None:
        self._newest, self._busy = reading, True

    def _look(self) -> None:
        reading, busy = self._newest, self._busy
        self._busy = False
        if busy or reading is None or not self._new(reading):
            return
        self._judged = reading
        found = self._signals(reading)
        message = JointState(name=list(found), position=list(found.values()))
        ns_to_stamp(reading.stamp_ns, message.header.stamp)
        self._said.publish(message)

    def _new(self, reading: Reading) -> bool:
        """Whether all cameras have a picture, and one of them another one than was judged last."""
        if any(camera not in reading.images for camera in self._views):
            return False
        before = self._judged
        return before is None or any(reading.images[camera] is not before.images[camera] for camera in self._views)
