"""Pick a cube: grasp a 4 cm cube that lies anywhere in an area of 20 × 30 cm, and lift it."""

from __future__ import annotations

import numpy as np

from controllers.spatial import Pose
from controllers.workspace import Workspace
from hardware.interfaces import TeleopCommand
from hardware.scene import SceneSpec
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
HELD = (0.30, 0.70)  # opening, as a share of the stroke, with the cube between the fingers (0.5 is its width)


class PickCube(Task):
    """Success: the cube lifted by 8 cm, between the fingers."""

    name: str = "pick_cube"
    action: ActionSpec = ActionSpec(("x", "y", "z", "gripper"), (0.02, 0.02, 0.02, 1.0))
    fields: tuple[Field, ...] = (
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
    horizon: int = 100
    workspace: Workspace = Workspace(np.array([0.36, -0.19, 0.014]), np.array([0.64, 0.19, 0.25]))
    retreat_height: float = 0.15
    nominal: Pose = Pose(START_CENTRE, TOOL_DOWN)
    needs: tuple[str, ...] = ("cube",)

    def scene(self) -> SceneSpec:
        from robot_rl.tasks.scenes.cube import scene

        return scene()

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
        return Outcome.success() if lifted and between_fingers(reading, cube) else Outcome.running()

    def expert(self, reading: Reading) -> TeleopCommand:
        from robot_rl.tasks.experts.pick_cube import grasp_then_lift

        return grasp_then_lift(reading, self.control_period)


def between_fingers(reading: Reading, cube: np.ndarray) -> bool:
    """Whether the gripper is about the cube at ``cube (3,)`` [m], and as far open as its width."""
    near = np.abs(cube - reading.pose.translation).max() < 0.025
    return bool(near and HELD[0] < reading.gripper < HELD[1])
