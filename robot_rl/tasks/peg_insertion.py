"""Peg insertion: put a square peg, held in the gripper, into a square hole of known place.

The clearance is diametral: hole width minus peg width. The peg does not bend and is not chamfered; nor is the hole.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from controllers.spatial import Pose
from controllers.workspace import Workspace
from hardware.interfaces import TeleopCommand
from hardware.sim.scene import MAX_WIDTH, SceneSpec
from robot_rl.contract import ActionSpec, Field, Outcome, Reading
from robot_rl.tasks import fields
from robot_rl.tasks.base import TOOL_DOWN, Start, Task

PEG_WIDTH = 0.016  # [m], square
PEG_BELOW_TCP = 0.040  # [m] from the TCP to the peg's tip
HOLE_DEPTH = 0.030  # [m]
BLOCK_TOP = 0.060  # [m] above the floor
BLOCK_WIDTH = 0.16  # [m]; wider than the workspace, so that the only way down is the hole
SUCCESS_DEPTH = 0.015  # [m] of the tip below the top of the block
CONTACT_HEIGHT = BLOCK_TOP + PEG_BELOW_TCP  # [m] of the TCP when the tip touches the block
HOLE_XY = (0.5, 0.0)  # [m]
START_HEIGHT = 0.045  # [m] of the tip above the block, nominal
START_HALF = np.array([0.03, 0.03, 0.03])  # [m] x, y, z
START_YAW = np.radians(10.0)
START_Q = (0.0, 0.0459, 0.0, -2.3763, 0.0, 2.4222, 0.785398)  # the TCP 0.2 m above the hole, straight down

ASIDE, TURNED = 0.003, 0.06  # [m], [rad] from where it goes in: an expert keeps above the block further away
HOVER = 0.006  # [m] of the tip above the block while the expert moves over the hole
PRESS = -0.005  # [m] below the measured TCP: what an expert asks for to press lightly …
PLUNGE = -0.009  # [m] … and to push the peg in
MAX_STEP = 0.010  # [m] an expert's longest step along any axis
FRICTION = np.array([0.0008, 0.0008, 0.005])  # x, y, yaw [m, m, rad]: how far short of a target the joints stick


class PegInsertion(Task):
    """Success: the tip 15 mm deep. Judged from the TCP, so that it is the same on a real arm."""

    name: ClassVar[str] = "peg_insertion"
    action: ClassVar[ActionSpec] = ActionSpec(("x", "y", "z", "yaw"), (0.01, 0.01, 0.01, 0.05))
    fields: ClassVar[tuple[Field, ...]] = (
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
    horizon: ClassVar[int] = 80
    workspace: ClassVar[Workspace] = Workspace(
        np.array([HOLE_XY[0] - 0.06, HOLE_XY[1] - 0.06, CONTACT_HEIGHT - 0.022]),
        np.array([HOLE_XY[0] + 0.06, HOLE_XY[1] + 0.06, CONTACT_HEIGHT + 0.11]),
    )
    retreat_height: ClassVar[float] = CONTACT_HEIGHT + 0.04
    nominal: ClassVar[Pose] = Pose(np.array([*HOLE_XY, CONTACT_HEIGHT]), TOOL_DOWN)

    clearance: ClassVar[float] = 0.001  # [m], diametral
    capture: ClassVar[float] = 0.002  # [m] sideways from the nominal hole within which a deep tip is in the hole

    def scene(self) -> SceneSpec:
        return SceneSpec(
            worldbody=block_with_hole(PEG_WIDTH + self.clearance, mocap=False),
            hand=held_peg(),
            start_q=START_Q,
            start_width=PEG_WIDTH,
            look_at=(*HOLE_XY, CONTACT_HEIGHT + 0.02),
        )

    def sample_start(self, rng: np.random.Generator) -> Start:
        offset = rng.uniform(-START_HALF, START_HALF) + (0.0, 0.0, START_HEIGHT)
        yaw = rng.uniform(-START_YAW, START_YAW)
        pose = self.nominal.moved(np.array([*offset, 0.0, 0.0, yaw]))
        return Start(pose, gripper=PEG_WIDTH / MAX_WIDTH)

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
        inserted = z < -SUCCESS_DEPTH and max(abs(x), abs(y)) < self.capture
        return Outcome.success() if inserted else Outcome.running()

    def expert(self, reading: Reading) -> TeleopCommand:
        return align_then_insert(reading, self.nominal, self.control_period)


def align_then_insert(reading: Reading, goal: Pose, period: float) -> TeleopCommand:
    """One step, of ``period`` [s], of: over the hole, turn, down; ``goal`` is the TCP pose with the tip in its mouth.

    Closer than `ASIDE` and `TURNED` it presses lightly: the last millimetre is found in contact, sliding
    the peg until it drops. Further away it keeps above the block.
    """
    to_goal, spring = tip(goal).difference(tip(reading.pose)), reading.target.difference(reading.pose)
    height = -float(to_goal[2])
    down = float(np.clip(HOVER - height, -MAX_STEP, MAX_STEP))
    if height < -0.001:
        down = PLUNGE
    elif np.abs(to_goal[:2]).max() < ASIDE and abs(to_goal[5]) < TURNED:
        down = min(down, PRESS)
    sideways = fields.saturate(to_goal[:2], MAX_STEP)
    sideways = fields.push_through_friction(sideways, spring[:2], reading.twist[:2], FRICTION[:2])
    yaw = fields.push_through_friction(np.clip(to_goal[5:], -0.04, 0.04), spring[5:], reading.twist[5:], FRICTION[2:])
    return fields.drive(np.array([*sideways, down, 0.0, 0.0, *yaw]), period)


def tip(tcp: Pose) -> Pose:
    """The peg's tip, from the pose of the TCP."""
    return tcp.compose(Pose(np.array([0.0, 0.0, PEG_BELOW_TCP]), np.array([0.0, 0.0, 0.0, 1.0])))


def held_peg() -> str:
    """MJCF of the peg, rigid in the hand."""
    half = 0.5 * PEG_WIDTH
    above = 0.018  # [m] of peg between the fingers, above the TCP
    length = 0.5 * (PEG_BELOW_TCP + above)
    centre = 0.1034 + 0.5 * (PEG_BELOW_TCP - above)
    return f"""
    <body name="peg" pos="0 0 {centre}">
      <geom name="peg" type="box" size="{half} {half} {length}" mass="0.04" rgba="0.85 0.55 0.15 1" {CONTACT}/>
    </body>
    """


def block_with_hole(hole_width: float, mocap: bool) -> str:
    """MJCF of the body ``hole``: four walls and a bottom; its frame lies in the middle of the hole's mouth."""
    half_hole, half_block = 0.5 * hole_width, 0.5 * BLOCK_WIDTH
    wall, middle = 0.5 * (half_block - half_hole), 0.5 * (half_block + half_hole)
    half_depth, half_bottom = 0.5 * HOLE_DEPTH, 0.5 * (BLOCK_TOP - HOLE_DEPTH)
    look = f'type="box" {CONTACT}'
    return f"""
    <body name="hole" pos="{HOLE_XY[0]} {HOLE_XY[1]} {BLOCK_TOP}"{' mocap="true"' if mocap else ""}>
      <geom {look} rgba="0.36 0.42 0.50 1" pos="{middle} 0 {-half_depth}" size="{wall} {half_block} {half_depth}"/>
      <geom {look} rgba="0.36 0.42 0.50 1" pos="{-middle} 0 {-half_depth}" size="{wall} {half_block} {half_depth}"/>
      <geom {look} rgba="0.40 0.46 0.54 1" pos="0 {middle} {-half_depth}" size="{half_hole} {wall} {half_depth}"/>
      <geom {look} rgba="0.40 0.46 0.54 1" pos="0 {-middle} {-half_depth}" size="{half_hole} {wall} {half_depth}"/>
      <geom {look} rgba="0.10 0.10 0.12 1" pos="0 0 {-HOLE_DEPTH - half_bottom}"
            size="{half_block} {half_block} {half_bottom}"/>
    </body>
    """


# Stiff (20 N sink in by about a tenth of a millimetre), critically damped, as slippery as machined aluminium.
CONTACT = 'friction="0.3 0.005 0.0001" solref="0.004 1" solimp="0.95 0.99 0.0005" condim="3"'
