"""Readings made by hand, of an arm that does exactly as it is told."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from controllers.spatial import Pose
from controllers.state import Mode
from robot_rl.contract import Reading
from robot_rl.session.directive import Command
from robot_rl.tasks.base import TOOL_DOWN

FAR = Pose(np.array([0.5, 0.0, 0.7]), TOOL_DOWN)  # a goal nobody gets to


@dataclass(eq=False)
class PerfectArm:
    """Moves to each target within one control period.

    Attributes:
        pose: of the TCP.
        objects: what the scene says about objects.
        period: [s] of its time between readings.
    """

    pose: Pose
    objects: dict[str, Pose] = field(default_factory=lambda: {"goal": FAR})
    gripper: float = 1.0
    twist: np.ndarray = field(default_factory=lambda: np.zeros(6))
    time: float = 0.0
    mode: Mode = Mode.TRACK
    fault: str = ""
    activity: float = 0.0  # [s] that the passivity filter held back
    images: dict[str, np.ndarray] = field(default_factory=dict)
    period: float = 0.1

    def reading(self) -> Reading:
        """The next reading, one control period after the last."""
        self.time += self.period
        return Reading(
            stamp_ns=round(self.time * 1e9),
            robot_time=self.time,
            q=np.full(7, self.time),
            pose=self.pose,
            twist=self.twist,
            wrench=np.zeros(6),
            target=self.pose,
            gripper=self.gripper,
            tank=2.0,
            mode=self.mode,
            images=self.images,
            objects=self.objects,
            fault=self.fault,
            activity=self.activity,
        )

    def obey(self, command: Command) -> None:
        self.pose = command.target
        if command.gripper is not None:
            self.gripper = command.gripper
