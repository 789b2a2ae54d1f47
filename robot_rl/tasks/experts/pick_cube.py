"""Over the cube, down, grasp, lift."""

from __future__ import annotations

import numpy as np

from hardware.interfaces import TeleopCommand
from robot_rl.contract import Reading
from robot_rl.tasks.experts.motion import drive, saturate
from robot_rl.tasks.fields import object_pose
from robot_rl.tasks.pick_cube import CUBE_WIDTH, HELD, between_fingers

MAX_STEP = 0.018  # [m] along any axis
GRASP_HEIGHT = 0.5 * CUBE_WIDTH  # [m] of the TCP


def grasp_then_lift(reading: Reading, period: float, name: str = "cube") -> TeleopCommand:
    """``name``: of the cube among the objects."""
    cube = object_pose(reading, name).translation
    to_cube = cube - reading.pose.translation
    aside = float(np.linalg.norm(to_cube[:2]))
    sideways = saturate(to_cube[:2], MAX_STEP)
    if between_fingers(reading, cube) and reading.gripper < HELD[1]:
        return drive(np.array([0.0, 0.0, MAX_STEP, 0.0, 0.0, 0.0]), period, gripper=0.0)
    low = reading.pose.translation[2] - GRASP_HEIGHT
    if aside < 0.012 and low < 0.012:
        return drive(np.array([0.0, 0.0, -0.003, 0.0, 0.0, 0.0]), period, gripper=0.0)
    # Down only over the cube: a funnel that allows 12 mm aside at the cube and more above it.
    height = 0.0 if aside < 0.012 else 0.06
    down = float(np.clip(height - low, -MAX_STEP, MAX_STEP))
    return drive(np.array([*sideways, down, 0.0, 0.0, 0.0]), period, gripper=1.0)
