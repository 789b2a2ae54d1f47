"""Pick a cube: grasp a 4 cm cube that lies anywhere in an area of 20 × 30 cm, and lift it."""

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

CUBE_WIDTH = 0.040  # [m]
CUBE_YAW = np.radians(10.0)  # the closing fingers straighten that much
AREA_CENTRE = np.array([0.5, 0.0])  # [m]
AREA_HALF = np.array([0.10, 0.15])
LIFT = 0.08  # [m] of the cube above where it lay
START_CENTRE = np.array([0.5, 0.0, 0.16])
START_HALF = np.array([0.05, 0.05, 0.02])
START_Q = (0.0, 0.0459, 0.0, -2.3763, 0.0, 2.4222, 0.785398)
MAX_STEP = 0.018
GRASP_HEIGHT = 0.5 * CUBE_WIDTH  # [m] of the TCP
HELD = (0.30, 0.70)  # opening, as a share of the stroke, with the cube between the fingers (0.5 is its width)


class PickCube(Task):
    """Success: the cube lifted by 8 cm, between the fingers."""

    name: ClassVar[str] = "pick_cube"
    action: ClassVar[ActionSpec] = ActionSpec(("x", "y", "z", "gripper"), (0.02, 0.02, 0.02, 1.0))
    fields: ClassVar[tuple[Field, ...]] = (
        Field("to_cube", 3, 8.0),
        Field("near_cube", 3, 1.0),  # the same, magnified near the cube
        Field("height", 1, 8.0),  # of the TCP
        Field("lifted", 1, 12.0),  # of the cube
        fields.GRIPPER,
        fields.LINEAR_VELOCITY,
        fields.FORCE,
        fields.LINEAR_SPRING,
        fields.TANK,
        fields.BUDGET,
    )
    horizon: ClassVar[int] = 100
    workspace: ClassVar[Workspace] = Workspace(np.array([0.36, -0.19, 0.014]), np.array([0.64, 0.19, 0.25]))
    retreat_height: ClassVar[float] = 0.15
    nominal: ClassVar[Pose] = Pose(START_CENTRE, TOOL_DOWN)

    def scene(self) -> SceneSpec:
        half = 0.5 * CUBE_WIDTH
        x, y = AREA_CENTRE
        contact = 'friction="1.0 0.01 0.001" solref="0.006 1" condim="4"'
        cube = f"""
        <geom type="box" pos="{x} {y} 0.0002" size="{AREA_HALF[0] + half} {AREA_HALF[1] + half} 0.0002"
              rgba="0.75 0.75 0.72 1" contype="0" conaffinity="0"/>
        <body name="cube" pos="{x} {y} {half}">
          <freejoint/>
          <geom name="cube" type="box" size="{half} {half} {half}" mass="0.06" rgba="0.85 0.2 0.15 1" {contact}/>
        </body>
        """
        return SceneSpec(worldbody=cube, objects=("cube",), start_q=START_Q, look_at=(0.5, 0.0, 0.08))

    def sample_start(self, rng: np.random.Generator) -> Start:
        start = START_CENTRE + rng.uniform(-START_HALF, START_HALF)
        xy = AREA_CENTRE + rng.uniform(-AREA_HALF, AREA_HALF)
        cube = Pose.from_rotvec(
            np.array([*xy, 0.5 * CUBE_WIDTH]), np.array([0.0, 0.0, rng.uniform(-CUBE_YAW, CUBE_YAW)])
        )
        return Start(Pose(start, TOOL_DOWN), gripper=1.0, objects={"cube": cube})

    def state(self, reading: Reading) -> np.ndarray:
        cube = fields.object_pose(reading, "cube")
        to_cube = cube.translation - reading.pose.translation
        values = {
            **fields.arm_values(reading),
            "to_cube": to_cube,
            "near_cube": np.tanh(to_cube / 0.02),
            "height": reading.pose.translation[2],
            "lifted": cube.translation[2] - 0.5 * CUBE_WIDTH,
        }
        return fields.pack(self.fields, values)

    def outcome(self, reading: Reading) -> Outcome:
        cube = fields.object_pose(reading, "cube").translation
        lifted = cube[2] - 0.5 * CUBE_WIDTH > LIFT
        return Outcome.success() if lifted and _between_fingers(reading, cube) else Outcome.running()

    def expert(self, reading: Reading) -> TeleopCommand:
        cube = fields.object_pose(reading, "cube").translation
        to_cube = cube - reading.pose.translation
        aside = float(np.linalg.norm(to_cube[:2]))
        sideways = fields.saturate(to_cube[:2], MAX_STEP)
        if _between_fingers(reading, cube) and reading.gripper < HELD[1]:
            return fields.drive(np.array([0.0, 0.0, MAX_STEP, 0.0, 0.0, 0.0]), self.control_period, gripper=0.0)
        low = reading.pose.translation[2] - GRASP_HEIGHT
        if aside < 0.012 and low < 0.012:
            return fields.drive(np.array([0.0, 0.0, -0.003, 0.0, 0.0, 0.0]), self.control_period, gripper=0.0)
        # Down only over the cube: a funnel that allows 12 mm aside at the cube and more above it.
        height = 0.0 if aside < 0.012 else 0.06
        down = float(np.clip(height - low, -MAX_STEP, MAX_STEP))
        return fields.drive(np.array([*sideways, down, 0.0, 0.0, 0.0]), self.control_period, gripper=1.0)


def _between_fingers(reading: Reading, cube: np.ndarray) -> bool:
    near = np.abs(cube - reading.pose.translation).max() < 0.025
    return bool(near and HELD[0] < reading.gripper < HELD[1])
