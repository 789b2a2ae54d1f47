"""Straight to the goal."""

from __future__ import annotations

import numpy as np

from hardware.interfaces import TeleopCommand
from robot_rl.contract import Reading
from robot_rl.tasks.experts.motion import drive, saturate
from robot_rl.tasks.reach import to_goal

MAX_STEP = 0.010  # [m] along any axis


def straight_there(reading: Reading, period: float) -> TeleopCommand:
    return drive(np.append(saturate(to_goal(reading), MAX_STEP), np.zeros(3)), period)
