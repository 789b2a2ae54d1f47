"""An arm as it is served to sessions on other computers: what it is, what time it is here, and the scene to arrange.

A simulator's scene channel is reached from this computer only, so objects are put in place by topic.
"""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import TimeReference
from std_msgs.msg import String
from trajectory_msgs.msg import MultiDOFJointTrajectory

from controllers.ros import topics
from hardware.interfaces import SceneControl
from hardware.ros.converters import objects_from

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
ONCE = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)  # a time that is sent again is none


class ServedArm:
    """Topics of ``node``, the arm's.

    Args:
        node: see above.
        described: the text of `topics.SERVED_ARM`.
        scene: connected scene control, whose objects may be put in place; None where nothing can be.
    """

    def __init__(self, node: Node, described: str, scene: SceneControl | None = None) -> None:
        self._node, self._scene = node, scene
        self._description = node.create_publisher(String, topics.SERVED_ARM, LATCHED)
        self._description.publish(String(data=described))
        self._answers = node.create_publisher(TimeReference, topics.CLOCK_ANSWER, ONCE)
        node.create_subscription(TimeReference, topics.CLOCK_QUESTION, self._on_question, ONCE)
        if scene is not None:
            node.create_subscription(MultiDOFJointTrajectory, topics.PLACE_OBJECTS, self._on_place, 1)

    def _on_question(self, question: TimeReference) -> None:
        answer = TimeReference(time_ref=question.header.stamp, source=question.header.frame_id)
        answer.header.stamp = self._node.get_clock().now().to_msg()
        self._answers.publish(answer)

    def _on_place(self, message: MultiDOFJointTrajectory) -> None:
        try:
            objects = objects_from(message)
        except ValueError as error:
            self._node.get_logger().error(f"{topics.PLACE_OBJECTS}: {error}")
            return
        if self._scene is not None and objects.keys() <= self._scene.objects().keys():
            self._scene.place(objects)
        else:
            self._node.get_logger().error(f"{topics.PLACE_OBJECTS}: this scene has not all of {', '.join(objects)}")
