"""Topics of the learner: its parameters on a latched topic, how far behind the data it is, and what it does."""

from __future__ import annotations

import array
import contextlib

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Int64, String, UInt8MultiArray

from hardware.ros.rosout import told_on_rosout
from robot_rl.ros import topics


class ParameterNode(Node):
    """Publishes packed parameters; whoever comes later hears the newest.

    The learner does not spin it, so the node itself has what is logged on ``/rosout`` as long as it lives.
    """

    def __init__(self) -> None:
        super().__init__("learner")
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._publisher = self.create_publisher(UInt8MultiArray, topics.POLICY_PARAMETERS, latched)
        self._debt = self.create_publisher(Int64, topics.LEARNER_DEBT, 1)
        self._phase = self.create_publisher(String, topics.LEARNER_PHASE, latched)
        self._log = contextlib.ExitStack()
        self._log.enter_context(told_on_rosout(self))

    def destroy_node(self) -> None:
        self._log.close()
        super().destroy_node()

    def publish(self, data: bytes) -> None:
        self._publisher.publish(UInt8MultiArray(data=array.array("B", data)))

    def tell_phase(self, phase: str) -> None:
        self._phase.publish(String(data=phase))

    def tell_debt(self, updates: int) -> None:
        self._debt.publish(Int64(data=updates))
