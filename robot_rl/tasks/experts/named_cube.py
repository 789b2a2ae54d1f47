"""The closed fingers onto a cube, or behind it and forward."""

from __future__ import annotations

import numpy as np

from hardware.interfaces import TeleopCommand
from robot_rl.contract import Reading
from robot_rl.tasks.experts.motion import drive, saturate
from robot_rl.tasks.pick_cube import CUBE_WIDTH

MAX_STEP = 0.018  # [m] along any axis
OVER = 0.05  # [m] of the TCP above a cube's top on the way there
NEAR = 0.012  # [m] aside within which it goes down
BEHIND = 0.048  # [m] from a cube's centre to the TCP behind it
LOW = 0.03  # [m] of the TCP while it pushes


def touch(reading: Reading, cube: np.ndarray, period: float) -> TeleopCommand:
    """Over the cube at ``cube (3,)`` [m], and down onto it."""
    return drive(_down_at(reading, cube[:2], CUBE_WIDTH), period, gripper=0.0)


def push(reading: Reading, cube: np.ndarray, period: float) -> TeleopCommand:
    """Down behind the cube, and forward."""
    place = reading.pose.translation
    behind = cube[:2] - np.array([BEHIND, 0.0])
    if place[2] < LOW + NEAR and place[0] < cube[0] and abs(place[1] - cube[1]) < NEAR:
        ahead = np.array([MAX_STEP, saturate(cube[1:2] - place[1], 0.5 * MAX_STEP)[0], LOW - place[2]])
        return drive(np.append(ahead, np.zeros(3)), period, gripper=0.0)
    return drive(_down_at(reading, behind, LOW), period, gripper=0.0)


def _down_at(reading: Reading, place: np.ndarray, height: float) -> np.ndarray:
    """The next displacement ``(6,)`` [m, rad] of a way over ``place (2,)`` and then down to ``height`` [m]."""
    aside = place - reading.pose.translation[:2]
    wanted = height if np.abs(aside).max() < NEAR else CUBE_WIDTH + OVER
    down = float(np.clip(wanted - reading.pose.translation[2], -MAX_STEP, MAX_STEP))
    return np.array([*saturate(aside, MAX_STEP), down, 0.0, 0.0, 0.0])
