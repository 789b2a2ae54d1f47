"""Over the hole, turn, down."""

from __future__ import annotations

import numpy as np

from controllers.spatial import Pose
from hardware.interfaces import TeleopCommand
from robot_rl.contract import Reading
from robot_rl.tasks.experts.motion import drive, push_through_friction, saturate
from robot_rl.tasks.peg_insertion import tip

ASIDE, TURNED = 0.003, 0.06  # [m], [rad] from where it goes in: an expert keeps above the block further away
HOVER = 0.006  # [m] of the tip above the block while the expert moves over the hole
PRESS = -0.005  # [m] below the measured TCP: what an expert asks for to press lightly …
PLUNGE = -0.009  # [m] … and to push the peg in
MAX_STEP = 0.010  # [m] an expert's longest step along any axis
FRICTION = np.array([0.0008, 0.0008, 0.005])  # x, y, yaw [m, m, rad]: how far short of a target the joints stick


def align_then_insert(reading: Reading, goal: Pose, period: float) -> TeleopCommand:
    """One step of: over the hole, turn, down; ``goal`` is the TCP pose with the tip in the mouth of the hole.

    Closer than `ASIDE` and `TURNED` it presses lightly: the last millimetre is found in contact, sliding
    the peg until it drops. Further away it keeps above the block.
    """
    to_goal, spring = tip(goal).difference(tip(reading.pose)), reading.target.difference(reading.pose)
    height = -float(to_goal[2])
    down = float(np.clip(HOVER - height, -MAX_STEP, MAX_STEP))
    if height < -0.001:
        down = PLUNGE
    elif np.abs(to_goal[:2]).max() < ASIDE and abs(to_goal[5]) < TURNED:
        down = min(down, PRESS)
    sideways = saturate(to_goal[:2], MAX_STEP)
    sideways = push_through_friction(sideways, spring[:2], reading.twist[:2], FRICTION[:2])
    yaw = push_through_friction(np.clip(to_goal[5:], -0.04, 0.04), spring[5:], reading.twist[5:], FRICTION[2:])
    return drive(np.array([*sideways, down, 0.0, 0.0, *yaw]), period)
