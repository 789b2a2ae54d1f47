"""Over the peg, turn, down, grasp, lift, over the hole, turn, down."""

from __future__ import annotations

import numpy as np

from controllers.spatial import Pose
from hardware.interfaces import TeleopCommand
from robot_rl.contract import Reading
from robot_rl.tasks.base import TOOL_DOWN
from robot_rl.tasks.experts.motion import drive, push_through_friction, saturate
from robot_rl.tasks.experts.peg_insertion import FRICTION, PLUNGE, PRESS
from robot_rl.tasks.fields import object_pose
from robot_rl.tasks.peg_assembly import from_hole, grasp_point, is_held

MAX_STEP = 0.014  # [m] along any axis
MAX_TURN = 0.05  # [rad] a step
ABOVE = 0.035  # [m] of the TCP above where it grasps, until it is over the peg
BESIDE, TURNED = 0.006, 0.06  # [m], [rad] from the peg, within which it goes down
THERE = 0.006  # [m] above where it grasps best, at which it closes the fingers
HOVER = 0.008  # [m] of the tip above the block while it is carried
ASIDE = 0.003  # [m] from the hole within which the peg goes down
INSIDE = -0.002  # [m] of the tip: the peg is in


def fetch_then_insert(reading: Reading, period: float) -> TeleopCommand:
    """One step; what it does follows from where the peg is and whether it is held."""
    peg = object_pose(reading, "peg")
    if is_held(reading, peg):
        return _insert(reading, peg.rotvec[2], from_hole(peg), period)
    to_peg = grasp_point(peg) - reading.pose.translation
    yaw = float(peg.rotvec[2] - reading.pose.difference(Pose(np.zeros(3), TOOL_DOWN))[5])
    over = np.abs(to_peg[:2]).max() < BESIDE and abs(yaw) < TURNED
    if over and -to_peg[2] < THERE:
        return _move(reading, to_peg, yaw, period, gripper=0.0)
    down = to_peg[2] if over else to_peg[2] + ABOVE
    return _move(reading, np.array([*to_peg[:2], down]), yaw, period, gripper=1.0)


def _insert(reading: Reading, turned: float, tip: np.ndarray, period: float) -> TeleopCommand:
    """Carry the peg, ``turned`` [rad] and its ``tip`` (3,) [m] from the mouth of the hole, over the hole and down."""
    down = HOVER - tip[2]
    if tip[2] < INSIDE and np.abs(tip[:2]).max() < ASIDE:
        down = PLUNGE
    elif np.abs(tip[:2]).max() < ASIDE and abs(turned) < TURNED:
        down = min(down, PRESS)
    elif tip[2] < 0.5 * HOVER:
        return _move(reading, np.array([0.0, 0.0, down]), -turned, period, gripper=0.0)
    return _move(reading, np.array([*-tip[:2], down]), -turned, period, gripper=0.0)


def _move(reading: Reading, way: np.ndarray, yaw: float, period: float, gripper: float) -> TeleopCommand:
    """Move by ``way (3,)`` [m] and turn by ``yaw`` [rad], as far as one step goes, through friction."""
    spring = reading.target.difference(reading.pose)
    sideways = push_through_friction(saturate(way[:2], MAX_STEP), spring[:2], reading.twist[:2], FRICTION[:2])
    turn = push_through_friction(np.clip([yaw], -MAX_TURN, MAX_TURN), spring[5:], reading.twist[5:], FRICTION[2:])
    down = float(np.clip(way[2], -MAX_STEP, MAX_STEP))
    return drive(np.array([*sideways, down, 0.0, 0.0, *turn]), period, gripper)
