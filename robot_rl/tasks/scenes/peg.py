"""A peg in the hand and a block with a hole, for `robot_rl.tasks.peg_insertion`, its images and `peg_search`.

The peg does not bend and is not chamfered; nor is the hole.
"""

from __future__ import annotations

import dataclasses

from hardware.scene import LOOK, LOOK_BODY, SceneSpec
from robot_rl.tasks.peg_insertion import BLOCK_TOP, CONTACT_HEIGHT, HOLE_XY, PEG_BELOW_TCP, PEG_WIDTH, PegInsertion
from robot_rl.tasks.peg_search import PegSearch

HOLE_DEPTH = 0.030  # [m]
BLOCK_WIDTH = 0.16  # [m]; wider than the workspace, so that the only way down is the hole
WIDE_BLOCK = 0.24  # [m]; wider still where the block is moved about
START_Q = (0.0, 0.0459, 0.0, -2.3763, 0.0, 2.4222, 0.785398)  # the TCP 0.2 m above the hole, straight down
# Stiff (20 N sink in by about a tenth of a millimetre), critically damped, as slippery as machined aluminium.
CONTACT = 'friction="0.3 0.005 0.0001" solref="0.004 1" solimp="0.95 0.99 0.0005" condim="3"'


def fixed_hole(clearance: float = PegInsertion.clearance) -> SceneSpec:
    """The hole where it is said to be; ``clearance`` [m] is hole width minus peg width."""
    return _around(block_with_hole(PEG_WIDTH + clearance, mocap=False))


def movable_hole(clearance: float = PegSearch.clearance) -> SceneSpec:
    """The hole as an object that each start puts somewhere else."""
    return _around(block_with_hole(PEG_WIDTH + clearance, mocap=True), ("hole",))


def seen_hole(clearance: float) -> SceneSpec:
    """A wide block that each start puts somewhere else, and a peg of any colour."""
    block = block_with_hole(PEG_WIDTH + clearance, mocap=True, width=WIDE_BLOCK)
    return dataclasses.replace(_around(block + LOOK_BODY, ("hole", LOOK)), coloured=("peg",))


def _around(block: str, objects: tuple[str, ...] = ()) -> SceneSpec:
    return SceneSpec(
        worldbody=block,
        hand=held_peg(),
        objects=objects,
        start_q=START_Q,
        start_width=PEG_WIDTH,
        look_at=(*HOLE_XY, CONTACT_HEIGHT + 0.02),
    )


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


def block_with_hole(hole_width: float, mocap: bool, width: float = BLOCK_WIDTH) -> str:
    """MJCF of the body ``hole``: four walls and a bottom; its frame lies in the middle of the hole's mouth.

    ``width`` is the block's [m].
    """
    half_hole, half_block = 0.5 * hole_width, 0.5 * width
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
