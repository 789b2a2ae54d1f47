"""Feels for the hole with a leaning peg."""

from __future__ import annotations

import numpy as np

from controllers.spatial import exp3, log3
from hardware.interfaces import TeleopCommand
from robot_rl.contract import Reading
from robot_rl.tasks.experts.motion import drive, push_through_friction, saturate
from robot_rl.tasks.experts.peg_insertion import FRICTION, MAX_STEP, PLUNGE
from robot_rl.tasks.peg_insertion import PEG_WIDTH, tip
from robot_rl.tasks.peg_search import MISALIGNMENT, PegSearch

# It leans the peg about AXIS, so that the corner at CORNER, seen from the tip's middle, is the lowest.
CORNER = np.array([0.5 * PEG_WIDTH, 0.5 * PEG_WIDTH, 0.0])  # [m] base axes, of an upright peg
AXIS = np.array([-1.0, 1.0, 0.0]) / np.sqrt(2.0)  # base axes
LEAN = np.radians(8.0)
ENTRY = 0.003  # [m] x and y of where the corner comes down: within the hole, wherever it is
NEAR = 0.0015  # [m] of it, and …
LEANING = 0.015  # [rad] … of LEAN, before it comes down
DEPTH = -0.0003  # [m] of a leaning corner: higher, it is not in the hole
OVER = 0.004  # [m] of the corner above the block until then
PUSH = np.array([0.004, 0.004, -0.005])  # [m] ahead of the measured corner: towards the two walls, and down
WALL = 4.0  # [N] with which each of them has to answer
RISE = 0.03  # [rad] per step
MAX_TURN = 0.05  # [rad] per step, about any axis
SWEEP = 0.03  # [rad] per step, of the yaw, between ± MISALIGNMENT
STUCK = 0.045  # [rad] of the yaw's reference ahead of the measured: it turns back
INSIDE = -0.002  # [m] of the tip's middle: the peg is in, …
FALLING = -0.005  # [m/s] … and goes down by itself
SLIPPERY = np.zeros(2)  # [m] no friction to push through


def feel(task: PegSearch, reading: Reading) -> TeleopCommand:
    """Feels, and never looks where the hole is.

    It leans the peg and lets a corner down into the hole, slides it until two walls stop it, and rises, turning the
    yaw to and fro until the peg drops.
    """
    position, rotation = np.split(task.tip_at(reading), 2)
    corner = position + exp3(rotation) @ CORNER
    lean = float(rotation @ AXIS)
    to_entry = np.append(ENTRY - corner[:2], OVER - corner[2])
    astray = np.abs(to_entry[:2]).max()
    leans = lean > LEAN - LEANING
    yaw = np.array([0.0, 0.0, _sweep(reading, rotation[2])])
    if position[2] < INSIDE:
        if reading.twist[2] < FALLING:
            yaw[2] = rotation[2]
        return _move(task, reading, np.array([0.0, 0.0, PLUNGE]), yaw)
    if corner[2] > 0.5 * OVER or (corner[2] > DEPTH and leans and astray > 2.0 * NEAR):
        if astray < NEAR and np.abs(rotation - LEAN * AXIS).max() < LEANING:
            to_entry[2] = PUSH[2]
        return _move(task, reading, to_entry, LEAN * AXIS, FRICTION[:2])
    walls = reading.contact[:2] < -WALL
    if leans and not walls.all():
        return _move(task, reading, PUSH, LEAN * AXIS, np.where(walls, 0.0, FRICTION[:2]))
    return _move(task, reading, PUSH * (0.5, 0.5, 1.0), max(0.0, lean - RISE) * AXIS + yaw)


def _sweep(reading: Reading, yaw: float) -> float:
    """The next yaw [rad]: on the way it is being pulled, and back from where it ends or does not get on."""
    ahead = reading.target.difference(reading.pose)[5]
    direction = np.sign(ahead if abs(ahead) < STUCK else -ahead) or 1.0
    if abs(yaw) > MISALIGNMENT:
        direction = -np.sign(yaw)
    return yaw + direction * SWEEP


def _move(
    task: PegSearch, reading: Reading, corner: np.ndarray, rotation: np.ndarray, friction: np.ndarray = SLIPPERY
) -> TeleopCommand:
    """Move the corner by ``corner (3,)`` [m], and turn about it to ``rotation (3,)`` relative to the nominal.

    ``friction (2,)`` [m] of x and y is pushed through, where it is not 0.
    """
    now = task.tip_at(reading)[3:]
    turn = np.clip(log3(exp3(rotation) @ exp3(now).T), -MAX_TURN, MAX_TURN)
    arm = reading.pose.translation - tip(reading.pose).translation - exp3(now) @ CORNER
    spring = reading.target.difference(reading.pose)
    way = saturate(corner, MAX_STEP) + np.cross(turn, arm)
    sticks = np.flatnonzero(friction)
    way[sticks] = push_through_friction(way[sticks], spring[sticks], reading.twist[sticks], friction[sticks])
    turn = push_through_friction(turn, spring[3:], reading.twist[3:], np.full(3, FRICTION[2]))
    return drive(np.concatenate((way, turn)), task.control_period)
