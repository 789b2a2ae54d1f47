"""A policy as a node: observations in, action chunks out, new parameters from a latched topic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String, UInt8MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from controllers.ros.converters import stamp_to_ns
from hardware.ros.joining import StampJoin
from robot_rl.contract import NO_ENCODING, AgentView, ContractError, Encoding, Memory, Policy
from robot_rl.ros import topics
from robot_rl.ros.converters import (
    fill_chunk,
    grid_from,
    image_from,
    observation_from,
    planned_from,
    request_from,
    state_names,
)
from robot_rl.tasks.base import Task

KEPT = 64  # observations, and images of each camera, that may come while the policy thinks
STATE = ""  # the part of an observation that is no camera's
PLAN = " plan"  # … and another; no camera has such a name
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class PolicyNode(Node):
    """Remembers every observation, and answers those that ask for it with an action chunk.

    What is no observation of this task is refused in words, and the policy never hears of it.

    Args:
        task: gives the axes of the actions, the control period, and the instruction until the session says another.
        policy: acts until parameters arrive.
        cameras: images that have to arrive with an observation.
        load: turns the bytes of `POLICY_PARAMETERS` into a policy, raising ValueError on what it cannot use; None
            ignores the topic.
        view: the task as the policy sees it; default: whole.
        encoding: features that come in place of images.
        planned: with each observation comes the plan that goes on meanwhile.
    """

    def __init__(
        self,
        task: Task,
        policy: Policy,
        cameras: tuple[str, ...],
        load: Callable[[bytes], Policy] | None,
        view: AgentView | None = None,
        encoding: Encoding = NO_ENCODING,
        planned: bool = False,
    ) -> None:
        super().__init__("policy")
        self._names = state_names((view or AgentView(task)).fields)
        self._sizes = {name: of_camera.size for name, of_camera in task.views(cameras).items()}
        self._encoding = encoding
        self._axes, self._period, self._policy, self._load = task.action.axes, task.control_period, policy, load
        self._instruction = task.instruction
        self._memory = Memory()
        self._join: StampJoin[Any] = StampJoin((STATE, *((PLAN,) if planned else ()), *cameras), KEPT)
        self._chunk = self.create_publisher(JointTrajectory, topics.ACTION_CHUNK, 1)
        self.create_subscription(JointState, topics.OBSERVATION, self._on_observation, KEPT)
        self.create_subscription(String, topics.INSTRUCTION, self._on_instruction, LATCHED)
        for name in cameras:
            topic = topics.OBSERVATION_FEATURES if encoding.digest else topics.OBSERVATION_IMAGE
            self.create_subscription(Image, f"{topic}/{name}", self._image_keeper(name), KEPT)
        if planned:
            self.create_subscription(JointTrajectory, topics.OBSERVATION_PLAN, self._on_plan, KEPT)
        if load is not None:
            self.create_subscription(UInt8MultiArray, topics.POLICY_PARAMETERS, self._on_parameters, LATCHED)

    def _image_keeper(self, name: str) -> Callable[[Image], None]:
        def keep(message: Image) -> None:
            stamp = stamp_to_ns(message.header.stamp)
            try:
                seen = self._grid(name, message) if self._encoding.digest else self._image(name, message)
            except ContractError as error:
                self._complain(error)
                return
            self._see(name, stamp, seen)

        return keep

    def _image(self, camera: str, message: Image) -> np.ndarray:
        image, size = image_from(message), self._sizes[camera]
        if image.shape != (size, size, 3):
            raise ContractError(f"an image of camera {camera} is {image.shape[:2]}, and not {(size, size)}")
        return image

    def _grid(self, camera: str, message: Image) -> np.ndarray:
        try:
            return grid_from(message, self._encoding.shapes[camera], self._encoding.digest)
        except ContractError as error:
            raise ContractError(f"camera {camera}: {error}") from error

    def _on_instruction(self, message: String) -> None:
        self._instruction = message.data

    def _on_plan(self, message: JointTrajectory) -> None:
        try:
            planned = planned_from(message, self._axes)
        except ContractError as error:
            self._complain(error)
            return
        self._see(PLAN, stamp_to_ns(message.header.stamp), planned)

    def _on_observation(self, message: JointState) -> None:
        self._see(STATE, stamp_to_ns(message.header.stamp), message)

    def _see(self, kind: str, stamp: int, part: object) -> None:
        """Take in the observation of ``stamp`` once all its parts are here; answer it when it asks."""
        images = self._join.put(kind, stamp, part)
        if images is None:
            return
        message, planned = images.pop(STATE), images.pop(PLAN, None)
        try:
            request = request_from(message)
            observation = replace(observation_from(message, images, self._names), planned=planned)
            self._memory.see(self._policy, observation, request.episode, self._instruction)
            if request.asked:
                chunk = self._memory.ask(self._policy)
                self._chunk.publish(
                    fill_chunk(chunk, self._axes, self._period, JointTrajectoryPoint, JointTrajectory())
                )
        except ContractError as error:
            self._complain(error)

    def _complain(self, error: ContractError) -> None:
        self.get_logger().error(f"no answer: {error}", throttle_duration_sec=1.0)

    def _on_parameters(self, message: UInt8MultiArray) -> None:
        if self._load is None:
            return
        try:
            self._policy = self._load(bytes(message.data))
        except ValueError as error:
            self.get_logger().error(f"parameters refused, the previous ones stay: {error}")
