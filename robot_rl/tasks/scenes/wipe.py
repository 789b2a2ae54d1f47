"""A round pad in the hand and a flat surface with a line on it, for `robot_rl.tasks.wipe_line`."""

from __future__ import annotations

from hardware.franka.hand import MAX_WIDTH, TCP_HEIGHT
from hardware.scene import SceneSpec
from robot_rl.tasks.wipe_line import (
    CONTACT_HEIGHT,
    GRIPPER,
    LINE_X,
    LINE_Y,
    PAD_BELOW_TCP,
    PAD_RADIUS,
    SURFACE,
    WISH,
)

START_Q = (0.0, 0.1513, 0.0, -2.3980, 0.0, 2.5494, 0.785398)  # the TCP 6 cm above the middle of the line, straight down
# Stiff (20 N sink in by about a tenth of a millimetre), critically damped, somewhat slippery.
CONTACT = 'friction="0.2 0.005 0.0001" solref="0.004 1" solimp="0.95 0.99 0.0005" condim="3"'


def surface_and_pad() -> SceneSpec:
    """The surface is a block that the hand cannot move."""
    half, middle = 0.5 * (LINE_Y[1] - LINE_Y[0]), 0.5 * (LINE_Y[1] + LINE_Y[0])
    surface = f"""
    <body name="surface" pos="{LINE_X} {middle} {0.5 * SURFACE}">
      <geom type="box" size="0.14 0.14 {0.5 * SURFACE}" rgba="0.80 0.80 0.76 1" {CONTACT}/>
      <geom type="box" pos="0 0 {0.5 * SURFACE}" size="0.002 {half} 0.0002" rgba="0.10 0.25 0.70 1"
            contype="0" conaffinity="0"/>
    </body>
    <body name="{WISH}" mocap="true"/>
    """
    return SceneSpec(
        worldbody=surface,
        hand=held_pad(),
        objects=(WISH,),
        start_q=START_Q,
        start_width=GRIPPER * MAX_WIDTH,
        look_at=(LINE_X, middle, CONTACT_HEIGHT),
    )


def held_pad() -> str:
    """MJCF of the pad on its stem, rigid in the hand."""
    ball = TCP_HEIGHT + PAD_BELOW_TCP - PAD_RADIUS
    return f"""
    <body name="pad" pos="0 0 {ball}">
      <geom name="pad" type="sphere" size="{PAD_RADIUS}" mass="0.03" rgba="0.85 0.35 0.25 1" {CONTACT}/>
      <geom type="cylinder" pos="0 0 {-PAD_RADIUS}" size="0.006 {PAD_RADIUS}" mass="0.01" rgba="0.55 0.55 0.58 1"/>
    </body>
    """
