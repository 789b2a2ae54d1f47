"""A cube on the table, for `robot_rl.tasks.pick_cube` and `pick_cube_images`."""

from __future__ import annotations

import dataclasses

from hardware.scene import LOOK, LOOK_BODY, SceneSpec
from robot_rl.tasks.pick_cube import AREA_CENTRE, AREA_HALF, CUBE_WIDTH

START_Q = (0.0, 0.0459, 0.0, -2.3763, 0.0, 2.4222, 0.785398)


def scene() -> SceneSpec:
    half = 0.5 * CUBE_WIDTH
    x, y = AREA_CENTRE
    contact = 'friction="1.0 0.01 0.001" solref="0.006 1" condim="4"'
    cube = f"""
    <geom type="box" pos="{x} {y} 0.0002" size="{AREA_HALF[0] + half} {AREA_HALF[1] + half} 0.0002"
          rgba="0.75 0.75 0.72 1" contype="0" conaffinity="0"/>
    <body name="cube" pos="{x} {y} {half}">
      <freejoint/>
      <geom name="cube" type="box" size="{half} {half} {half}" mass="0.06" rgba="0.85 0.2 0.15 1" {contact}/>
    </body>
    """
    return SceneSpec(worldbody=cube, objects=("cube",), start_q=START_Q, look_at=(0.5, 0.0, 0.08))


def coloured() -> SceneSpec:
    """The same with a cube of any colour."""
    plain = scene()
    return dataclasses.replace(
        plain, worldbody=plain.worldbody + LOOK_BODY, objects=(*plain.objects, LOOK), coloured=("cube",)
    )
