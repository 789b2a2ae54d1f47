"""Over the socket, turn, down into its mouth, and rock the plug past one latch after the other."""

from __future__ import annotations

import numpy as np

from hardware.interfaces import TeleopCommand
from robot_rl.contract import Reading
from robot_rl.tasks.connector import Connector
from robot_rl.tasks.experts.motion import drive, push_through_friction, saturate
from robot_rl.tasks.experts.peg_insertion import FRICTION, HOVER, MAX_STEP
from robot_rl.tasks.fields import object_pose
from robot_rl.tasks.peg_insertion import tip

ASIDE, TURNED = 0.0025, 0.05  # [m], [rad] from where it goes in: further away the plug keeps above the socket
PRESS, PUSH = -0.005, -0.009  # [m] below the measured TCP: to find the mouth, and in it
INSIDE = -0.0008  # [m] of the plug's end: it is in the mouth, …
THROUGH = -0.0065  # … and past both latches
STEEPEST = 0.105  # [rad] of the plug, rocked
ROCK = 0.03  # [rad] a step
STUCK = 0.045  # [rad] of the pitch's reference ahead of the measured: the plug turns back


def align_then_rock(task: Connector, reading: Reading) -> TeleopCommand:
    """It sees where the socket is, as a person does."""
    end, hole = tip(reading.pose), object_pose(reading, "hole")
    to_goal = hole.translation - end.translation
    turn = task.tip_at(reading)[3:]
    yaw = float(hole.rotvec[2] - turn[2])
    spring = reading.target.difference(reading.pose)
    height = -float(to_goal[2])
    pitch, down = -turn[1], float(np.clip(HOVER - height, -MAX_STEP, MAX_STEP))
    if height < INSIDE:
        down = PUSH
        if height > THROUGH:
            pitch = _rock(turn[1], spring[4])
    elif np.abs(to_goal[:2]).max() < ASIDE and abs(yaw) < TURNED:
        down = min(down, PRESS)
    lever = reading.pose.translation - end.translation
    way = np.array([*saturate(to_goal[:2], MAX_STEP), down])
    way[:2] = push_through_friction(way[:2], spring[:2], reading.twist[:2], FRICTION[:2])
    rotation = push_through_friction(
        np.array([pitch, np.clip(yaw, -0.04, 0.04)]), spring[4:], reading.twist[4:], np.full(2, FRICTION[2])
    )
    way += np.cross([0.0, pitch, 0.0], lever)
    return drive(np.array([*way, 0.0, *rotation]), task.control_period)


def _rock(pitch: float, ahead: float) -> float:
    """The next turn [rad] of the pitch: on the way it is being pulled, and back from where it ends or is stuck."""
    direction = np.sign(ahead if abs(ahead) < STUCK else -ahead) or 1.0
    if abs(pitch) > STEEPEST:
        direction = -np.sign(pitch)
    return float(direction * ROCK)
