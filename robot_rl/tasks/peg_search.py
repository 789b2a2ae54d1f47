"""Peg search: the peg insertion with a tighter hole that is not where it is said to be. It has to be felt.

The observation is relative to the *nominal* hole. The true one is displaced by up to 3 mm and turned by up to 5°, which
only contact forces and the way the peg moves give away. Upright, a peg has to be within a quarter of a millimetre and
2° before anything can be felt at all. But the policy may lean it: one corner of a leaning peg drops into the hole from
5 mm around, and slides on until two of the hole's walls stop it.
"""

from __future__ import annotations

import numpy as np

from controllers.spatial import Pose
from controllers.workspace import OrientationCone, Workspace
from hardware.interfaces import TeleopCommand
from hardware.scene import SceneSpec
from robot_rl.contract import ActionSpec, Field, Reading
from robot_rl.tasks.base import Start
from robot_rl.tasks.peg_insertion import BLOCK_TOP, HOLE_XY, PegInsertion, tip

DISPLACEMENT = 0.003  # [m] of the hole, x and y
MISALIGNMENT = np.radians(5.0)
STEEPEST = np.radians(15.0)  # that the peg may lean


class PegSearch(PegInsertion):
    """Success: the TCP 15 mm below where it is when an upright peg touches, which is possible in the hole only."""

    name: str = "peg_search"
    action: ActionSpec = ActionSpec(("x", "y", "z", "roll", "pitch", "yaw"), (0.01, 0.01, 0.01, 0.05, 0.05, 0.05))
    fields: tuple[Field, ...] = (
        Field("position", 3, 30.0),  # of the tip's middle, relative to the middle of the nominal hole
        Field("offset", 3, 1.0),  # the same, magnified near there
        *PegInsertion.fields[2:],
    )
    horizon: int = 150
    workspace: Workspace = Workspace(
        PegInsertion.workspace.lower,
        PegInsertion.workspace.upper,
        cone=OrientationCone(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, -1.0]), STEEPEST),
    )
    clearance: float = 0.0005
    displacement: float = DISPLACEMENT
    misalignment: float = float(MISALIGNMENT)
    capture: float = DISPLACEMENT + 0.002

    def scene(self) -> SceneSpec:
        from robot_rl.tasks.scenes.peg import movable_hole

        return movable_hole(self.clearance)

    def sample_start(self, rng: np.random.Generator) -> Start:
        start = super().sample_start(rng)
        aside = rng.uniform(-self.displacement, self.displacement, 2)
        yaw = rng.uniform(-self.misalignment, self.misalignment)
        centre = np.array([HOLE_XY[0] + aside[0], HOLE_XY[1] + aside[1], BLOCK_TOP])
        hole = Pose.from_rotvec(centre, np.array([0.0, 0.0, yaw]))
        return Start(start.pose, start.gripper, {"hole": hole})

    def state(self, reading: Reading) -> np.ndarray:
        return self._state_at(reading, self.tip_at(reading), magnified=3)

    def tip_at(self, reading: Reading) -> np.ndarray:
        """``(6,)`` [m, rad] of the tip's middle: from the middle of the nominal hole, upright."""
        return tip(reading.pose).difference(tip(self.nominal))

    def expert(self, reading: Reading) -> TeleopCommand:
        from robot_rl.tasks.experts.peg_search import feel

        return feel(self, reading)
