"""A task's scripted expert in the place of a person: it drives through the same topics a person's device does."""

from __future__ import annotations

from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Joy
from std_msgs.msg import String

from controllers.ros import topics as arm_topics
from controllers.ros.converters import fill_vectors
from hardware.ros.words import WordSender
from robot_rl.contract import Reading
from robot_rl.ros import topics
from robot_rl.ros.arm_topics import ArmTopics
from robot_rl.session.directive import Phase
from robot_rl.tasks.experts.person import Driver


class ExpertNode(Node):
    """Publishes ``twist_cmd``, ``joy`` and words while the session waits for a person or runs."""

    def __init__(self, driver: Driver, objects: tuple[str, ...]) -> None:
        """``objects``: of the scene, whose poses the driver may look at."""
        super().__init__("expert")
        self._expert = driver
        self._words: WordSender | None = None  # made with the first word
        self._phase = ""
        self._twist = self.create_publisher(TwistStamped, arm_topics.TWIST_COMMAND, 1)
        self._joy = self.create_publisher(Joy, arm_topics.JOY, 1)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(String, topics.SESSION_PHASE, self._on_phase, latched)
        self._arm = ArmTopics(self, objects, {}, self._on_reading)

    def destroy_node(self) -> None:
        if self._words is not None:
            self._words.close()
        super().destroy_node()

    def _on_phase(self, message: String) -> None:
        self._phase = message.data

    def _on_reading(self, reading: Reading) -> None:
        if self._phase not in (Phase.READY.value, Phase.RUNNING.value):
            return
        command = self._expert(reading)
        if command is None:
            return
        for word in command.words:
            self._words = self._words or WordSender(self)
            self._words.say(word)
        message = TwistStamped()
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = arm_topics.BASE_FRAME
        fill_vectors(command.twist, message.twist.linear, message.twist.angular)
        if command.gripper is not None:
            closing = command.gripper < 0.5
            joy = Joy(axes=command.twist.tolist(), buttons=[int(closing), int(not closing), 0, 0])
            joy.header = message.header
            self._joy.publish(joy)
        self._twist.publish(message)
