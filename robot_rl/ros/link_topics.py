"""The arm of another computer, for the session: how the link to it is, and its scene."""

from __future__ import annotations

import time

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Transform
from rclpy.node import Node
from trajectory_msgs.msg import MultiDOFJointTrajectory, MultiDOFJointTrajectoryPoint

from controllers.ros import topics as arm_topics
from controllers.spatial import Pose
from hardware.ros.converters import fill_objects
from robot_rl.ros import topics

AGE = 3.0  # [s] after which a word about the link no longer counts


class LinkWatch:
    """The words of the process ``link``, as ``node`` hears them."""

    def __init__(self, node: Node) -> None:
        self._said, self._heard = "", -AGE
        node.create_subscription(DiagnosticStatus, topics.LINK, self._on_state, 1)

    def _on_state(self, message: DiagnosticStatus) -> None:
        self._said, self._heard = message.message, time.monotonic()

    @property
    def hindrance(self) -> str:
        """Why no episode may rely on the link, in words; "" when one may."""
        return self._said if time.monotonic() - self._heard < AGE else "nobody watches over the link"


class RemoteScene:
    """`hardware.interfaces.SceneControl` of a simulator on another computer, by the topic of its arm.

    `place` returns at once; the poses are those that come back with the readings.
    """

    def __init__(self, node: Node) -> None:
        self._publisher = node.create_publisher(MultiDOFJointTrajectory, arm_topics.PLACE_OBJECTS, 1)

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def place(self, objects: dict[str, Pose]) -> None:
        if objects:
            message = fill_objects(objects, MultiDOFJointTrajectoryPoint, Transform, MultiDOFJointTrajectory())
            self._publisher.publish(message)

    def objects(self) -> dict[str, Pose]:
        """Nothing is known here that does not come with the readings."""
        return {}
