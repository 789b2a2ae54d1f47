"""The learner's parameters on a latched topic."""

from __future__ import annotations

import array

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import UInt8MultiArray

from robot_rl.ros import topics


class ParameterNode(Node):
    """Publishes packed parameters; whoever comes later hears the newest."""

    def __init__(self) -> None:
        super().__init__("learner")
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._publisher = self.create_publisher(UInt8MultiArray, topics.POLICY_PARAMETERS, latched)

    def publish(self, data: bytes) -> None:
        self._publisher.publish(UInt8MultiArray(data=array.array("B", data)))
