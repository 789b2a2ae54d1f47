"""Peg assembly: take a peg from its tray, carry it to a hole 0.5 mm wider, and put it in; one reward at the end.

The tray is known. How the peg lies in the hand a person sees, but no observation says it: whoever grasps it off its
middle has to make up for that at the hole.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from controllers.spatial import Pose
from controllers.workspace import Workspace
from hardware.interfaces import TeleopCommand
from hardware.scene import SceneSpec
from robot_rl.contract import ActionSpec, Ending, Field, Outcome, Reading
from robot_rl.tasks import fields
from robot_rl.tasks.base import TOOL_DOWN, Start, Task

PEG_LENGTH = 0.060  # [m]
HANDLE_WIDTH = 0.024  # [m] of its upper half, where it is held
GRASP = 0.010  # [m] of the TCP above the peg's middle, as it is held best
CLEARANCE = 0.0005  # [m], diametral, of the hole
BLOCK_TOP = 0.030  # [m] above the floor
HOLE_XY = np.array([0.5, -0.05])  # [m]
TRAY_XY = np.array([0.5, 0.06])  # [m], nominal
TRAY_FLOOR = 0.002  # [m]
TRAY_HALF = np.array([0.02, 0.01])  # [m] x and y, by which the tray is moved
TRAY_YAW = np.radians(10.0)
HOLE_CONTACT = np.array([*HOLE_XY, BLOCK_TOP + 0.5 * PEG_LENGTH + GRASP])  # [m] of the TCP with the tip in the mouth
SUCCESS_DEPTH = 0.012  # [m] of the peg's tip below the mouth of the hole
CAPTURE = 0.003  # [m] of it sideways
LIFTED = 0.01  # [m] of the peg above where it stood
START_CENTRE = np.array([0.5, 0.03, 0.13])  # [m] of the TCP
START_HALF = np.array([0.03, 0.03, 0.02])
HELD = (0.25, 0.36)  # opening, as a share of the stroke, with the handle between the fingers (0.3 is its width)


class PegAssembly(Task):
    """Success: the peg's tip 12 mm deep in the hole. Judged from the peg, which a simulator or a tracker knows."""

    name: str = "peg_assembly"
    action: ActionSpec = ActionSpec(("x", "y", "z", "yaw", "gripper"), (0.015, 0.015, 0.015, 0.05, 1.0))
    fields: tuple[Field, ...] = (
        Field("to_tray", 3, 10.0),  # from the TCP to where a peg in the tray is held best
        Field("near_tray", 3, 1.0),  # the same, magnified near there
        Field("tray_yaw", 1, 5.0),
        Field("over_hole", 3, 10.0),  # from the mouth of the hole to the tip of a peg that is held best
        Field("offset", 3, 1.0),  # the same, magnified near there
        Field("rotation", 3, 5.0),
        fields.GRIPPER,
        fields.LINEAR_VELOCITY,
        fields.FORCE,
        fields.MOMENT,
        fields.LINEAR_SPRING,
        fields.ANGULAR_SPRING,
        fields.TANK,
        fields.BUDGET,
    )
    horizon: int = 150
    workspace: Workspace = Workspace(np.array([0.43, -0.11, 0.034]), np.array([0.57, 0.12, 0.20]))
    impact_energy: float = 0.03
    retreat_height: float = 0.13
    nominal: Pose = Pose(START_CENTRE, TOOL_DOWN)
    needs: tuple[str, ...] = ("peg", "tray")
    stages: tuple[str, ...] = ("lifted", "inserted")

    def scene(self) -> SceneSpec:
        from robot_rl.tasks.scenes.assembly import peg_tray_and_hole

        return peg_tray_and_hole()

    def sample_start(self, rng: np.random.Generator) -> Start:
        pose = Pose(START_CENTRE + rng.uniform(-START_HALF, START_HALF), TOOL_DOWN)
        turned = np.array([0.0, 0.0, rng.uniform(-TRAY_YAW, TRAY_YAW)])
        x, y = TRAY_XY + rng.uniform(-TRAY_HALF, TRAY_HALF)
        tray = Pose.from_rotvec(np.array([x, y, 0.0]), turned)
        return Start(pose, gripper=1.0, objects={"tray": tray, "peg": standing_in(tray)})

    def target(self, objects: Mapping[str, Pose]) -> Pose:
        """Where the peg is held best."""
        return self.nominal if "peg" not in objects else Pose(grasp_point(objects["peg"]), TOOL_DOWN)

    def state(self, reading: Reading) -> np.ndarray:
        tray = fields.object_pose(reading, "tray")
        to_tray = grasp_point(standing_in(tray)) - reading.pose.translation
        over_hole = reading.pose.translation - HOLE_CONTACT
        values = {
            **fields.arm_values(reading),
            "to_tray": to_tray,
            "near_tray": np.tanh(to_tray / 0.01),
            "tray_yaw": tray.rotvec[2],
            "over_hole": over_hole,
            "offset": np.tanh(over_hole / 0.003),
            "rotation": reading.pose.difference(self.nominal)[3:],
        }
        return fields.pack(self.fields, values)

    def outcome(self, reading: Reading) -> Outcome:
        x, y, z = from_hole(fields.object_pose(reading, "peg"))
        inserted = z < -SUCCESS_DEPTH and max(abs(x), abs(y)) < CAPTURE
        return Outcome.success() if inserted else Outcome.running()

    def stage(self, reading: Reading) -> int:
        if self.outcome(reading).ending is Ending.SUCCESS:
            return 2
        peg = fields.object_pose(reading, "peg")
        height = peg.translation[2] - standing_in(fields.object_pose(reading, "tray")).translation[2]
        return int(height > LIFTED and is_held(reading, peg))

    def expert(self, reading: Reading) -> TeleopCommand:
        from robot_rl.tasks.experts.peg_assembly import fetch_then_insert

        return fetch_then_insert(reading, self.control_period)


def standing_in(tray: Pose) -> Pose:
    """Pose of a peg in the tray."""
    return tray.compose(Pose(np.array([0.0, 0.0, TRAY_FLOOR + 0.5 * PEG_LENGTH]), np.array([0.0, 0.0, 0.0, 1.0])))


def grasp_point(peg: Pose) -> np.ndarray:
    """Point ``(3,)`` [m] of the TCP in which the peg is held best."""
    point: np.ndarray = peg.translation + peg.rotation @ (0.0, 0.0, GRASP)
    return point


def from_hole(peg: Pose) -> np.ndarray:
    """``(3,)`` [m] from the mouth of the hole to the peg's tip."""
    tip: np.ndarray = peg.translation - peg.rotation @ (0.0, 0.0, 0.5 * PEG_LENGTH) - (*HOLE_XY, BLOCK_TOP)
    return tip


def is_held(reading: Reading, peg: Pose) -> bool:
    """Whether the fingers are about the peg, and as far open as its width."""
    near = np.abs(grasp_point(peg) - reading.pose.translation).max() < 0.02
    return bool(near and HELD[0] < reading.gripper < HELD[1])
