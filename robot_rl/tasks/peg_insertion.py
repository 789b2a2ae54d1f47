"""Peg insertion: put a square peg, held in the gripper, into a square hole of known place.

The clearance is diametral: hole width minus peg width.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from controllers.spatial import Pose
from controllers.workspace import Workspace
from hardware.interfaces import TeleopCommand
from hardware.scene import MAX_WIDTH, SceneSpec
from robot_rl.contract import ActionSpec, Field, Outcome, Reading
from robot_rl.tasks import fields
from robot_rl.tasks.base import TOOL_DOWN, Start, Task

PEG_WIDTH = 0.016  # [m], square
PEG_BELOW_TCP = 0.040  # [m] from the TCP to the peg's tip
BLOCK_TOP = 0.060  # [m] above the floor
SUCCESS_DEPTH = 0.015  # [m] of the tip below the top of the block
CONTACT_HEIGHT = BLOCK_TOP + PEG_BELOW_TCP  # [m] of the TCP when the tip touches the block
HOLE_XY = (0.5, 0.0)  # [m]
START_HEIGHT = 0.045  # [m] of the tip above the block, nominal
START_HALF = np.array([0.03, 0.03, 0.03])  # [m] x, y, z
START_YAW = np.radians(10.0)


class PegInsertion(Task):
    """Success: the tip 15 mm deep. Judged from the TCP, so that it is the same on a real arm."""

    name: str = "peg_insertion"
    action: ActionSpec = ActionSpec(("x", "y", "z", "yaw"), (0.01, 0.01, 0.01, 0.05))
    fields: tuple[Field, ...] = (
        Field("position", 3, 30.0),  # TCP relative to where it is when the tip touches the middle of the hole
        Field("offset", 2, 1.0),  # the same sideways, magnified near the middle
        Field("rotation", 3, 5.0),
        fields.LINEAR_VELOCITY,
        fields.ANGULAR_VELOCITY,
        fields.FORCE,
        fields.MOMENT,
        fields.LINEAR_SPRING,
        fields.ANGULAR_SPRING,
        fields.TANK,
        fields.BUDGET,
    )
    horizon: int = 80
    workspace: Workspace = Workspace(
        np.array([HOLE_XY[0] - 0.06, HOLE_XY[1] - 0.06, CONTACT_HEIGHT - 0.022]),
        np.array([HOLE_XY[0] + 0.06, HOLE_XY[1] + 0.06, CONTACT_HEIGHT + 0.11]),
    )
    impact_energy: float = 0.03
    retreat_height: float = CONTACT_HEIGHT + 0.04
    nominal: Pose = Pose(np.array([*HOLE_XY, CONTACT_HEIGHT]), TOOL_DOWN)

    clearance: float = 0.001  # [m], diametral
    depth: float = SUCCESS_DEPTH  # [m] of the TCP below where it is at contact, for success
    capture: float = 0.002  # [m] sideways from the nominal hole within which a deep tip is in the hole

    def scene(self) -> SceneSpec:
        from robot_rl.tasks.scenes.peg import fixed_hole

        return fixed_hole(self.clearance)

    def sample_start(self, rng: np.random.Generator) -> Start:
        offset = rng.uniform(-START_HALF, START_HALF) + (0.0, 0.0, START_HEIGHT)
        yaw = rng.uniform(-START_YAW, START_YAW)
        pose = self.nominal.moved(np.array([*offset, 0.0, 0.0, yaw]))
        return Start(pose, gripper=PEG_WIDTH / MAX_WIDTH)

    def target(self, objects: Mapping[str, Pose]) -> Pose:
        """The TCP where the tip touches the middle of the nominal hole."""
        return self.nominal

    def state(self, reading: Reading) -> np.ndarray:
        return self._state_at(reading, reading.pose.difference(self.nominal), magnified=2)

    def _state_at(self, reading: Reading, difference: np.ndarray, magnified: int) -> np.ndarray:
        """The state with the peg ``difference (6,)`` [m, rad] from the nominal, ``magnified`` axes of it twice."""
        values = {
            **fields.arm_values(reading),
            "position": difference[:3],
            "offset": np.tanh(difference[:magnified] / 0.003),
            "rotation": difference[3:],
        }
        return fields.pack(self.fields, values)

    def outcome(self, reading: Reading) -> Outcome:
        x, y, z = reading.pose.translation - self.nominal.translation
        inserted = z < -self.depth and max(abs(x), abs(y)) < self.capture
        return Outcome.success() if inserted else Outcome.running()

    def expert(self, reading: Reading) -> TeleopCommand:
        from robot_rl.tasks.experts.peg_insertion import align_then_insert

        return align_then_insert(reading, self.nominal, self.control_period)


def tip(tcp: Pose) -> Pose:
    """The peg's tip, from the pose of the TCP."""
    return tcp.compose(Pose(np.array([0.0, 0.0, PEG_BELOW_TCP]), np.array([0.0, 0.0, 0.0, 1.0])))
