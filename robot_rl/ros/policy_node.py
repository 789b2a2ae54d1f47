"""A policy as a node: observations in, action chunks out, new parameters from a latched topic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import UInt8MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from controllers.ros.converters import stamp_to_ns
from robot_rl.policies.base import Policy
from robot_rl.ros import topics
from robot_rl.ros.converters import fill_chunk, image_from, observation_from
from robot_rl.tasks.base import CONTROL_PERIOD, Task


class PolicyNode(Node):
    """Answers every observation with an action chunk.

    Args:
        task: gives the axes of the actions.
        policy: acts until parameters arrive.
        cameras: images that have to arrive with an observation.
        load: turns the bytes of `POLICY_PARAMETERS` into a policy, raising ValueError on what it cannot use; None
            ignores the topic.
    """

    def __init__(
        self, task: Task, policy: Policy, cameras: tuple[str, ...], load: Callable[[bytes], Policy] | None
    ) -> None:
        super().__init__("policy")
        self._axes, self._policy, self._load = task.action.axes, policy, load
        self._images: dict[str, tuple[int, np.ndarray]] = {}
        self._waiting: JointState | None = None
        self._cameras = cameras
        self._chunk = self.create_publisher(JointTrajectory, topics.ACTION_CHUNK, 1)
        self.create_subscription(JointState, topics.OBSERVATION, self._on_observation, 1)
        for name in cameras:
            self.create_subscription(Image, f"{topics.OBSERVATION_IMAGE}/{name}", self._image_keeper(name), 2)
        if load is not None:
            latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            self.create_subscription(UInt8MultiArray, topics.POLICY_PARAMETERS, self._on_parameters, latched)

    def _image_keeper(self, name: str) -> Callable[[Image], None]:
        def keep(message: Image) -> None:
            self._images[name] = (stamp_to_ns(message.header.stamp), image_from(message))
            self._answer()

        return keep

    def _on_observation(self, message: JointState) -> None:
        self._waiting = message
        self._answer()

    def _answer(self) -> None:
        """Act once the observation and all its images are here."""
        if self._waiting is None:
            return
        stamp = stamp_to_ns(self._waiting.header.stamp)
        if any(self._images.get(name, (None,))[0] != stamp for name in self._cameras):
            return
        images = {name: self._images[name][1] for name in self._cameras}
        chunk = self._policy(observation_from(self._waiting, images))
        self._waiting = None
        message = fill_chunk(chunk, self._axes, CONTROL_PERIOD, JointTrajectoryPoint, JointTrajectory())
        self._chunk.publish(message)

    def _on_parameters(self, message: UInt8MultiArray) -> None:
        if self._load is None:
            return
        try:
            self._policy = self._load(bytes(message.data))
        except ValueError as error:
            self.get_logger().error(f"parameters refused, the previous ones stay: {error}")
