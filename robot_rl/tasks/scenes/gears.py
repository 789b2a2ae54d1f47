"""A gear in the hand, a post and a wheel, for `robot_rl.tasks.gear_mesh`.

The gear is made of straight boxes. What it meets is rounded: edges that meet edges would throw each other out.
"""

from __future__ import annotations

import numpy as np

from hardware.scene import SceneSpec
from robot_rl.tasks.gear_mesh import CENTRES, CONTACT_HEIGHT, POST_XY, SEAT, TEETH, WHEEL_THICKNESS
from robot_rl.tasks.peg_insertion import PEG_BELOW_TCP, PEG_WIDTH
from robot_rl.tasks.scenes.peg import CONTACT, START_Q

GEAR_THICKNESS = 0.010  # [m]
POST_RADIUS, POST_HEIGHT = (
    0.005,
    0.009,
)  # [m]; the post is higher than the wheel: the gear lies on its teeth with the post in its bore
BORE = 0.0114  # [m], square
ROOT, TIP = 0.009, 0.024  # [m] radii between which a tooth extends
TOOTH_WIDTH = 0.007  # [m] of the gear's, which leaves 2 to 3° in which it meshes
HAND_TO_TIP = 0.1034 + PEG_BELOW_TCP  # [m] from the hand's frame to the gear's underside
BASE_HALF = 0.09  # [m]


def gear_and_wheel() -> SceneSpec:
    """The wheel is an object that each start turns."""
    return SceneSpec(
        worldbody=_base() + _wheel(),
        hand=_gear(),
        objects=("wheel",),
        start_q=START_Q,
        start_width=PEG_WIDTH,
        look_at=(POST_XY[0], POST_XY[1] + 0.02, CONTACT_HEIGHT + 0.02),
    )


def _base() -> str:
    x, y = POST_XY
    half, dome = 0.5 * SEAT, POST_HEIGHT - POST_RADIUS
    return f"""
    <body name="base" pos="{x} {y} {SEAT}">
      <geom type="box" pos="0 0 {-half}" size="{BASE_HALF} {BASE_HALF} {half}" rgba="0.36 0.42 0.50 1" {CONTACT}/>
      <geom type="capsule" fromto="0 0 {-dome} 0 0 {dome}" size="{POST_RADIUS}" rgba="0.7 0.7 0.72 1" {CONTACT}/>
    </body>
    """


def _wheel() -> str:
    half = 0.5 * WHEEL_THICKNESS
    look = f'rgba="0.30 0.55 0.40 1" {CONTACT}'
    tooth = f'<geom type="capsule" fromto="{ROOT} 0 {half} {TIP - half} 0 {half}" size="{half}" {look}/>'
    return f"""
    <body name="wheel" mocap="true" pos="{POST_XY[0]} {POST_XY[1] + CENTRES} {SEAT}">
      <geom type="cylinder" pos="0 0 {half}" size="{ROOT + 0.004} {half}" {look}/>
      {_teeth(tooth)}
    </body>
    """


def _gear() -> str:
    """MJCF of the gear, rigid in the hand by its square shaft; its bore is closed at the top."""
    half, bore, wall = 0.5 * GEAR_THICKNESS, 0.5 * BORE, 0.25 * (2.0 * ROOT + 0.008 - BORE)
    middle = HAND_TO_TIP - half
    above = 0.018  # [m] of shaft between the fingers, above the TCP
    shaft = 0.5 * (PEG_BELOW_TCP + above - GEAR_THICKNESS)
    look = f'rgba="0.85 0.55 0.15 1" {CONTACT}'
    size = f"{0.5 * (TIP - ROOT)} {0.5 * TOOTH_WIDTH} {half}"
    tooth = f'<geom type="box" pos="{0.5 * (ROOT + TIP)} 0 0" size="{size}" mass="0.002" {look}/>'
    return f"""
    <body name="gear" pos="0 0 {middle}">
      <geom type="box" pos="0 0 {-half - shaft}" size="{0.5 * PEG_WIDTH} {0.5 * PEG_WIDTH} {shaft}" mass="0.03" {look}/>
      <geom type="box" pos="{bore + wall} 0 0" size="{wall} {bore + 2.0 * wall} {half}" mass="0.005" {look}/>
      <geom type="box" pos="{-bore - wall} 0 0" size="{wall} {bore + 2.0 * wall} {half}" mass="0.005" {look}/>
      <geom type="box" pos="0 {bore + wall} 0" size="{bore} {wall} {half}" mass="0.005" {look}/>
      <geom type="box" pos="0 {-bore - wall} 0" size="{bore} {wall} {half}" mass="0.005" {look}/>
      {_teeth(tooth)}
    </body>
    """


def _teeth(tooth: str) -> str:
    """MJCF of the teeth about the z axis, each ``tooth`` along x before it is turned."""
    return "".join(f'<body euler="0 0 {2.0 * np.pi * number / TEETH}">{tooth}</body>' for number in range(TEETH))
