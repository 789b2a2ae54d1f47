"""The wrench of a force–torque sensor, joined with the arm's state by stamp."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import WrenchStamped
from rclpy.node import Node

from controllers.ros import topics
from controllers.ros.converters import stamp_to_ns, vectors_from
from controllers.spatial import Pose
from hardware.force.lane import ForceConfig, at_tcp


class ForceTopics:
    """The newest wrench of a sensor.

    Args:
        node: the node to subscribe with.
        sensor: how it is mounted, and how far apart in time a wrench may be.
    """

    def __init__(self, node: Node, sensor: ForceConfig) -> None:
        self._node, self._sensor = node, sensor
        self._newest: tuple[int, np.ndarray] | None = None
        node.create_subscription(WrenchStamped, topics.SENSED_WRENCH, self._on_wrench, 1)

    def at(self, stamp: int, tcp: Pose) -> np.ndarray | str:
        """The wrench ``(6,)`` at ``tcp`` in the axes of the base, or why there is none of the time ``stamp`` [ns]."""
        if self._newest is None:
            return "the force sensor has not measured yet"
        measured, wrench = self._newest
        age = (stamp - measured) / 1e9
        if age > self._sensor.timeout:
            return f"force sensor lost: its last wrench is {age:.2f} s old"
        if -age > self._sensor.timeout:
            ahead = f"{-age:.2f} s later than the arm's state"
            return f"force sensor: its last wrench is stamped {ahead}; are the clocks synchronised?"
        return at_tcp(wrench, self._sensor.pose, tcp)

    def _on_wrench(self, message: WrenchStamped) -> None:
        wrench = vectors_from(message.wrench.force, message.wrench.torque)
        if np.isfinite(wrench).all():
            self._newest = stamp_to_ns(message.header.stamp), wrench
            return
        said = f"{topics.SENSED_WRENCH} refused: {wrench} is not finite"
        self._node.get_logger().error(said, throttle_duration_sec=1.0)
