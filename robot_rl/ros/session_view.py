"""The session as a person at the arm follows it: phase, way left to go, who drives, by the topics it publishes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseArray, PoseStamped
from rclpy.node import Node
from std_msgs.msg import String

from controllers.ros import topics as arm_topics
from controllers.ros.converters import pose_from
from controllers.spatial import Pose
from hardware.interfaces import Word
from hardware.ros.words import word_from
from robot_rl.ros import topics
from robot_rl.ros.operator_topics import LATCHED
from robot_rl.session.directive import Phase
from robot_rl.tasks.base import Task

HELD = (Phase.PAUSED.value, Phase.ASKING.value)  # phases in which "resume" is about something else than who drives


class SessionView:
    """Listens with ``node``; ``objects`` are the names of the scene's objects, as published."""

    def __init__(self, node: Node, task: Task, objects: tuple[str, ...]) -> None:
        self._task, self._names = task, objects
        self._phase, self._since = "", time.monotonic()
        self._request = ""
        self._taken = False
        self._pose: Pose | None = None
        self._objects: dict[str, Pose] = {}
        node.create_subscription(String, topics.SESSION_PHASE, self._on_phase, LATCHED)
        node.create_subscription(String, arm_topics.OPERATOR_REQUEST, self._on_request, LATCHED)
        node.create_subscription(PoseStamped, arm_topics.CURRENT_POSE, self._on_pose, 1)
        node.create_subscription(
            DiagnosticArray, arm_topics.OPERATOR_ACKNOWLEDGED, self._on_acknowledged, arm_topics.OPERATOR_DEPTH
        )
        if objects:
            node.create_subscription(PoseArray, arm_topics.OBJECTS, self._on_objects, 1)

    def status(self) -> dict[str, Any]:
        """Values for a status file.

        ``phase``, "" before the session has spoken; ``seconds`` since it began; ``request`` of the session to the
        person; ``taken``: they drive also with their hands off; ``way`` left to the task's target [m], or None.
        """
        way = None
        if self._pose is not None and all(name in self._objects for name in self._names):
            target = self._task.target(self._objects)
            way = round(float(np.linalg.norm(target.translation - self._pose.translation)), 4)
        seconds = round(time.monotonic() - self._since, 1)
        return {
            "phase": self._phase,
            "seconds": seconds,
            "request": self._request,
            "taken": self._taken,
            "way": way,
        }

    def _on_phase(self, message: String) -> None:
        self._phase, self._since = message.data, time.monotonic()

    def _on_request(self, message: String) -> None:
        self._request = message.data

    def _on_pose(self, message: PoseStamped) -> None:
        self._pose = pose_from(message.pose)

    def _on_objects(self, message: PoseArray) -> None:
        self._objects = {name: pose_from(pose) for name, pose in zip(self._names, message.poses, strict=False)}

    def _on_acknowledged(self, message: DiagnosticArray) -> None:
        try:
            word = word_from(message).word
        except ValueError:
            return  # whoever said it hears of it
        if message.status[0].level != DiagnosticStatus.OK:
            return
        if word == Word.TAKE_OVER.value:
            self._taken = True
        elif word == Word.RESUME.value and self._phase not in HELD:
            self._taken = False
