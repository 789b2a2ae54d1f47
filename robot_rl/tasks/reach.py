"""Reach: bring the TCP to a goal point somewhere in a box. The simplest task; it shows that everything is connected."""

from __future__ import annotations

import numpy as np

from controllers.spatial import Pose
from controllers.workspace import Workspace
from hardware.interfaces import TeleopCommand
from hardware.scene import SceneSpec
from robot_rl.contract import ActionSpec, Field, Outcome, Reading
from robot_rl.tasks import fields
from robot_rl.tasks.base import TOOL_DOWN, Start, Task

CENTRE = np.array([0.5, 0.0, 0.25])  # [m] of the boxes below, base frame
START_HALF = np.array([0.05, 0.05, 0.05])
GOAL_HALF = np.array([0.10, 0.12, 0.10])
NEAREST = 0.05  # [m] that a goal is away from the start, at least
TOLERANCE = 0.01  # [m]


class Reach(Task):
    """Success: the TCP within 1 cm of the goal. The goal is in the state, as the way left to go."""

    name: str = "reach"
    action: ActionSpec = ActionSpec(("x", "y", "z"), (0.01, 0.01, 0.01))
    fields: tuple[Field, ...] = (
        Field("to_goal", 3, 10.0),
        fields.LINEAR_VELOCITY,
        fields.LINEAR_SPRING,
        fields.TANK,
        fields.BUDGET,
    )
    horizon: int = 50
    workspace: Workspace = Workspace(CENTRE - GOAL_HALF - 0.03, CENTRE + GOAL_HALF + 0.03)
    retreat_height: float = 0.25
    nominal: Pose = Pose(CENTRE, TOOL_DOWN)
    needs: tuple[str, ...] = ("goal",)

    def scene(self) -> SceneSpec:
        from robot_rl.tasks.scenes.reach import scene

        return scene()

    def sample_start(self, rng: np.random.Generator) -> Start:
        start = CENTRE + rng.uniform(-START_HALF, START_HALF)
        goal = start
        while np.linalg.norm(goal - start) < NEAREST:
            goal = CENTRE + rng.uniform(-GOAL_HALF, GOAL_HALF)
        return Start(Pose(start, TOOL_DOWN), gripper=1.0, objects={"goal": Pose(goal, TOOL_DOWN)})

    def state(self, reading: Reading) -> np.ndarray:
        return fields.pack(self.fields, {**fields.arm_values(reading), "to_goal": to_goal(reading)})

    def outcome(self, reading: Reading) -> Outcome:
        return Outcome.success() if np.linalg.norm(to_goal(reading)) < TOLERANCE else Outcome.running()

    def expert(self, reading: Reading) -> TeleopCommand:
        from robot_rl.tasks.experts.reach import straight_there

        return straight_there(reading, self.control_period)


def to_goal(reading: Reading) -> np.ndarray:
    """The way left ``(3,)`` [m]."""
    left: np.ndarray = fields.object_pose(reading, "goal").translation - reading.pose.translation
    return left
