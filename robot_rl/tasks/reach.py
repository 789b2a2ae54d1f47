"""Reach: bring the TCP to a goal point somewhere in a box. The simplest task; it shows that everything is connected."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from controllers.spatial import Pose
from controllers.workspace import Workspace
from hardware.interfaces import TeleopCommand
from hardware.sim.scene import SceneSpec
from robot_rl.contract import ActionSpec, Field, Outcome, Reading
from robot_rl.tasks import fields
from robot_rl.tasks.base import TOOL_DOWN, Start, Task

CENTRE = np.array([0.5, 0.0, 0.25])  # [m] of the boxes below, base frame
START_HALF = np.array([0.05, 0.05, 0.05])
GOAL_HALF = np.array([0.10, 0.12, 0.10])
NEAREST = 0.05  # [m] that a goal is away from the start, at least
TOLERANCE = 0.01  # [m]
MAX_STEP = 0.010  # [m] an expert's longest step along any axis


class Reach(Task):
    """Success: the TCP within 1 cm of the goal. The goal is in the state, as the way left to go."""

    name: ClassVar[str] = "reach"
    action: ClassVar[ActionSpec] = ActionSpec(("x", "y", "z"), (0.01, 0.01, 0.01))
    fields: ClassVar[tuple[Field, ...]] = (
        Field("to_goal", 3, 10.0),
        fields.LINEAR_VELOCITY,
        fields.LINEAR_SPRING,
        fields.TANK,
        fields.BUDGET,
    )
    horizon: ClassVar[int] = 50
    workspace: ClassVar[Workspace] = Workspace(CENTRE - GOAL_HALF - 0.03, CENTRE + GOAL_HALF + 0.03)
    retreat_height: ClassVar[float] = 0.25
    nominal: ClassVar[Pose] = Pose(CENTRE, TOOL_DOWN)

    def scene(self) -> SceneSpec:
        goal = """
        <body name="goal" mocap="true" pos="0.5 0 0.35">
          <geom type="sphere" size="0.01" rgba="0.1 0.8 0.2 0.6" contype="0" conaffinity="0"/>
        </body>
        """
        return SceneSpec(worldbody=goal, objects=("goal",), start_q=START_Q, look_at=(0.45, 0.0, 0.25))

    def sample_start(self, rng: np.random.Generator) -> Start:
        start = CENTRE + rng.uniform(-START_HALF, START_HALF)
        goal = start
        while np.linalg.norm(goal - start) < NEAREST:
            goal = CENTRE + rng.uniform(-GOAL_HALF, GOAL_HALF)
        return Start(Pose(start, TOOL_DOWN), gripper=1.0, objects={"goal": Pose(goal, TOOL_DOWN)})

    def state(self, reading: Reading) -> np.ndarray:
        return fields.pack(self.fields, {**fields.arm_values(reading), "to_goal": _to_goal(reading)})

    def outcome(self, reading: Reading) -> Outcome:
        return Outcome.success() if np.linalg.norm(_to_goal(reading)) < TOLERANCE else Outcome.running()

    def expert(self, reading: Reading) -> TeleopCommand:
        return fields.drive(np.append(fields.saturate(_to_goal(reading), MAX_STEP), np.zeros(3)), self.control_period)


# The TCP at CENTRE, straight down.
START_Q = (0.0, -0.0418, 0.0, -2.3343, 0.0, 2.2925, 0.785398)


def _to_goal(reading: Reading) -> np.ndarray:
    return fields.object_pose(reading, "goal").translation - reading.pose.translation
