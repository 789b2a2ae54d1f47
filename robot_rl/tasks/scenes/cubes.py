"""Three cubes before a line on the table, for `robot_rl.tasks.named_cube`."""

from __future__ import annotations

from hardware.scene import LOOK, LOOK_BODY, SceneSpec
from robot_rl.tasks.named_cube import ASKED, CUBES, LANES, LINE, MIDDLE, PALETTE
from robot_rl.tasks.pick_cube import CUBE_WIDTH
from robot_rl.tasks.scenes.cube import START_Q

CONTACT = 'friction="0.8 0.01 0.001" solref="0.006 1" condim="4"'


def scene() -> SceneSpec:
    half = 0.5 * CUBE_WIDTH
    drawn = 'type="box" contype="0" conaffinity="0"'
    table = f"""
    <geom {drawn} pos="0.5 0 0.0002" size="0.13 0.15 0.0002" rgba="0.75 0.75 0.72 1"/>
    <geom {drawn} pos="{LINE} 0 0.0003" size="0.002 0.15 0.0003" rgba="0.25 0.25 0.25 1"/>
    <body name="{ASKED}" mocap="true"/>
    """
    cubes = "".join(
        f"""
    <body name="{name}" pos="{MIDDLE} {lane} {half}">
      <freejoint/>
      <geom name="{name}" type="box" size="{half} {half} {half}" mass="0.06" {CONTACT}/>
    </body>
    """
        for name, lane in zip(CUBES, LANES, strict=True)
    )
    return SceneSpec(
        worldbody=table + cubes + LOOK_BODY,
        objects=(*CUBES, LOOK, ASKED),
        start_q=START_Q,
        look_at=(0.5, 0.0, 0.05),
        coloured=CUBES,
        palette=tuple(PALETTE.values()),
    )
