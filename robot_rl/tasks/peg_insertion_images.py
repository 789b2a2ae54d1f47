"""Peg insertion into a hole that lies anywhere within ±3 cm and ±15°; only the pictures show where."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from controllers.spatial import Pose
from controllers.workspace import Workspace
from hardware.interfaces import TeleopCommand
from hardware.scene import FRONT_CAMERA, LOOK, LOOKS, WRIST_CAMERA, SceneSpec, pose_of_look
from robot_rl.contract import Field, Reading, View
from robot_rl.tasks import fields
from robot_rl.tasks.base import TOOL_DOWN, Start
from robot_rl.tasks.peg_insertion import BLOCK_TOP, HOLE_XY, PEG_BELOW_TCP, PegInsertion

DISPLACEMENT = 0.03  # [m] of the hole, x and y
TURN = np.radians(15.0)
ROOM = 0.075  # [m] of the workspace to each side of the nominal hole


class PegInsertionImages(PegInsertion):
    """Success: the TCP 15 mm below where it is when the peg touches, which is possible in the hole only."""

    name: str = "peg_insertion_images"
    fields: tuple[Field, ...] = tuple(field for field in PegInsertion.fields if field.name != "offset")
    cameras: Mapping[str, View] = MappingProxyType(
        {FRONT_CAMERA: View(crop=(0.25, 0.25, 0.5, 0.5)), WRIST_CAMERA: View(crop=(0.2, 0.2, 0.6, 0.6))}
    )
    horizon: int = 100
    workspace: Workspace = Workspace(
        np.array([HOLE_XY[0] - ROOM, HOLE_XY[1] - ROOM, PegInsertion.workspace.lower[2]]),
        np.array([HOLE_XY[0] + ROOM, HOLE_XY[1] + ROOM, PegInsertion.workspace.upper[2]]),
    )
    capture: float = ROOM

    def scene(self) -> SceneSpec:
        from robot_rl.tasks.scenes.peg import seen_hole

        return seen_hole(self.clearance)

    def sample_start(self, rng: np.random.Generator) -> Start:
        start = super().sample_start(rng)
        aside = rng.uniform(-DISPLACEMENT, DISPLACEMENT, 2)
        centre = np.array([HOLE_XY[0] + aside[0], HOLE_XY[1] + aside[1], BLOCK_TOP])
        hole = Pose.from_rotvec(centre, np.array([0.0, 0.0, rng.uniform(-TURN, TURN)]))
        look = pose_of_look(int(rng.integers(LOOKS)))
        return Start(start.pose, start.gripper, {"hole": hole, LOOK: look})

    def target(self, objects: Mapping[str, Pose]) -> Pose:
        hole = objects.get("hole")
        if hole is None:
            return self.nominal
        return hole.compose(Pose(np.array([0.0, 0.0, PEG_BELOW_TCP]), TOOL_DOWN))

    def expert(self, reading: Reading) -> TeleopCommand:
        from robot_rl.tasks.experts.peg_insertion import align_then_insert

        fields.object_pose(reading, "hole")
        return align_then_insert(reading, self.target(reading.objects), self.control_period)
