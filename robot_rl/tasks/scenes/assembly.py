"""A peg that stands in a tray, and a block with a hole beside it, for `robot_rl.tasks.peg_assembly`."""

from __future__ import annotations

from hardware.scene import SceneSpec
from robot_rl.tasks.peg_assembly import BLOCK_TOP, CLEARANCE, HANDLE_WIDTH, HOLE_XY, PEG_LENGTH, TRAY_FLOOR, TRAY_XY
from robot_rl.tasks.peg_insertion import PEG_WIDTH
from robot_rl.tasks.scenes.peg import CONTACT

START_Q = (0.0, 0.0459, 0.0, -2.3763, 0.0, 2.4222, 0.785398)
HOLE_DEPTH = 0.020  # [m]
BLOCK_HALF = 0.035  # [m]
HANDLE_LENGTH = 0.032  # [m] of the peg's, at its upper end
TRAY_WIDTH = PEG_WIDTH + 0.001  # [m] inside
TRAY_WALL, TRAY_HEIGHT = 0.004, 0.010  # [m]


def peg_tray_and_hole() -> SceneSpec:
    """The tray and the peg in it are objects that each start puts somewhere else."""
    return SceneSpec(
        worldbody=_block() + _tray() + _peg(),
        objects=("tray", "peg"),
        start_q=START_Q,
        look_at=(0.5, 0.0, 0.05),
    )


def _peg() -> str:
    """The peg, and about its upper half the handle, which rubber pads hold without letting it turn between them."""
    x, y = TRAY_XY
    half, length = 0.5 * PEG_WIDTH, 0.5 * PEG_LENGTH
    lower = length - HANDLE_LENGTH
    handle = 0.5 * HANDLE_LENGTH
    return f"""
    <body name="peg" pos="{x} {y} {TRAY_FLOOR + length}">
      <freejoint/>
      <geom type="box" pos="0 0 {-0.5 * (length - lower)}" size="{half} {half} {0.5 * (length + lower)}" mass="0.02"
            rgba="0.85 0.55 0.15 1" {CONTACT}/>
      <geom type="box" pos="0 0 {length - handle}" size="{half} {0.5 * HANDLE_WIDTH} {handle}" mass="0.02"
            rgba="0.65 0.35 0.10 1" friction="1.0 0.03 0.001" solref="0.006 1" condim="4"/>
    </body>
    """


def _tray() -> str:
    """A floor and four walls, its frame on the table."""
    floor, inside, wall = 0.5 * TRAY_FLOOR, 0.5 * TRAY_WIDTH, 0.5 * TRAY_WALL
    half, aside, long = 0.5 * TRAY_HEIGHT, inside + wall, inside + TRAY_WALL
    look = f'type="box" rgba="0.75 0.75 0.72 1" {CONTACT}'
    return f"""
    <body name="tray" mocap="true" pos="{TRAY_XY[0]} {TRAY_XY[1]} 0">
      <geom {look} pos="0 0 {floor}" size="{inside} {inside} {floor}"/>
      <geom {look} pos="{aside} 0 {half}" size="{wall} {long} {half}"/>
      <geom {look} pos="{-aside} 0 {half}" size="{wall} {long} {half}"/>
      <geom {look} pos="0 {aside} {half}" size="{inside} {wall} {half}"/>
      <geom {look} pos="0 {-aside} {half}" size="{inside} {wall} {half}"/>
    </body>
    """


def _block() -> str:
    """Four walls and a bottom about the hole; its frame lies in the middle of the hole's mouth."""
    hole = 0.5 * (PEG_WIDTH + CLEARANCE)
    wall, middle = 0.5 * (BLOCK_HALF - hole), 0.5 * (BLOCK_HALF + hole)
    depth, bottom = 0.5 * HOLE_DEPTH, 0.5 * (BLOCK_TOP - HOLE_DEPTH)
    look = f'type="box" rgba="0.36 0.42 0.50 1" {CONTACT}'
    return f"""
    <body name="block" pos="{HOLE_XY[0]} {HOLE_XY[1]} {BLOCK_TOP}">
      <geom {look} pos="{middle} 0 {-depth}" size="{wall} {BLOCK_HALF} {depth}"/>
      <geom {look} pos="{-middle} 0 {-depth}" size="{wall} {BLOCK_HALF} {depth}"/>
      <geom {look} pos="0 {middle} {-depth}" size="{hole} {wall} {depth}"/>
      <geom {look} pos="0 {-middle} {-depth}" size="{hole} {wall} {depth}"/>
      <geom {look} pos="0 0 {-HOLE_DEPTH - bottom}" size="{BLOCK_HALF} {BLOCK_HALF} {bottom}"/>
    </body>
    """
