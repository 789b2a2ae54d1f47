"""Over the post, turn as the wheel asks for, down, and feel about until it drops."""

from __future__ import annotations

import numpy as np

from hardware.interfaces import TeleopCommand
from robot_rl.contract import Reading
from robot_rl.tasks.experts.motion import drive, push_through_friction, saturate
from robot_rl.tasks.experts.peg_insertion import FRICTION, MAX_STEP
from robot_rl.tasks.gear_mesh import GearMesh

ASIDE, TURNED = 0.003, 0.05  # [m], [rad] from where it goes in: further away the gear keeps above the post
HOVER = 0.009  # [m] of the gear above the wheel until then
PRESS = -0.006  # [m] below the measured TCP
MAX_TURN = 0.05  # [rad] a step


def turn_then_mesh(task: GearMesh, reading: Reading) -> TeleopCommand:
    """It sees how far the wheel is turned, as a person does."""
    to_goal, spring = task.target(reading.objects).difference(reading.pose), reading.target.difference(reading.pose)
    height = -float(to_goal[2])
    down = float(np.clip(HOVER - height, -MAX_STEP, MAX_STEP))
    on_post = height < HOVER - 0.004
    if on_post or (np.abs(to_goal[:2]).max() < ASIDE and abs(to_goal[5]) < TURNED):
        down = PRESS
    sideways = saturate(to_goal[:2], MAX_STEP)
    sideways = push_through_friction(sideways, spring[:2], reading.twist[:2], FRICTION[:2])
    yaw = push_through_friction(np.clip(to_goal[5:], -MAX_TURN, MAX_TURN), spring[5:], reading.twist[5:], FRICTION[2:])
    return drive(np.array([*sideways, down, 0.0, 0.0, *yaw]), task.control_period)
