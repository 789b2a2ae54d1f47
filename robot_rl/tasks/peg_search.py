"""Peg search: the peg insertion with a tighter hole that is not where it is said to be. It has to be felt.

The observation is the same as in `peg_insertion`: relative to the *nominal* hole. The true one is displaced by up to
3 mm and 5°, which only contact forces and the way the peg moves give away.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from controllers.spatial import Pose
from hardware.interfaces import TeleopCommand
from hardware.sim.scene import SceneSpec
from robot_rl.contract import Reading
from robot_rl.tasks import fields
from robot_rl.tasks.base import TOOL_DOWN, Start
from robot_rl.tasks.peg_insertion import (
    BLOCK_TOP,
    HOLE_XY,
    PEG_BELOW_TCP,
    PEG_WIDTH,
    PegInsertion,
    align_then_insert,
    block_with_hole,
)

DISPLACEMENT = 0.003  # [m] of the hole, x and y
MISALIGNMENT = np.radians(5.0)
TOUCHING = 0.0008  # [m] of the tip above the block; joints that stick may leave the tip that far up


class PegSearch(PegInsertion):
    """Success: the tip 15 mm deep, which within the workspace is possible in the hole only."""

    name: ClassVar[str] = "peg_search"
    horizon: ClassVar[int] = 150
    clearance: ClassVar[float] = 0.0005
    capture: ClassVar[float] = DISPLACEMENT + 0.002

    def scene(self) -> SceneSpec:
        fixed = super().scene()
        return SceneSpec(
            worldbody=block_with_hole(PEG_WIDTH + self.clearance, mocap=True),
            hand=fixed.hand,
            objects=("hole",),
            start_q=fixed.start_q,
            start_width=fixed.start_width,
            look_at=fixed.look_at,
        )

    def sample_start(self, rng: np.random.Generator) -> Start:
        start = super().sample_start(rng)
        aside = rng.uniform(-DISPLACEMENT, DISPLACEMENT, 2)
        yaw = rng.uniform(-MISALIGNMENT, MISALIGNMENT)
        centre = np.array([HOLE_XY[0] + aside[0], HOLE_XY[1] + aside[1], BLOCK_TOP])
        hole = Pose.from_rotvec(centre, np.array([0.0, 0.0, yaw]))
        return Start(start.pose, start.gripper, {"hole": hole})

    def expert(self, reading: Reading) -> TeleopCommand:
        """Touches down where the hole is said to be, then slides to where it is: what a policy can learn to feel."""
        height = reading.pose.translation[2] - self.nominal.translation[2]
        if height > TOUCHING:
            return align_then_insert(reading, self.nominal)
        hole = fields.object_pose(reading, "hole")
        turned = hole.compose(Pose(np.zeros(3), TOOL_DOWN))
        mouth = Pose(hole.translation + (0.0, 0.0, PEG_BELOW_TCP), turned.quat_xyzw)
        return align_then_insert(reading, mouth, aside=2.0 * DISPLACEMENT, turned=2.0 * MISALIGNMENT)
