"""Before the line, down, and along it, pressed."""

from __future__ import annotations

import numpy as np

from hardware.interfaces import TeleopCommand
from robot_rl.contract import Reading
from robot_rl.tasks.experts.motion import drive, push_through_friction, saturate
from robot_rl.tasks.wipe_line import IN_CONTACT, LINE_X, LINE_Y, SURFACE, pad, pressing, wish_of

STIFFNESS = 2000.0  # [N/m] of the default spring, which presses by how far it is led below the surface
CORRECTION = 0.5  # of what the force lacks, in one step
DEEPEST = 0.010  # [m] that the spring feels
ASIDE = 0.004  # [m] from the line: an expert keeps above the surface further away
PAUSE = 0.6  # of the wish: with less force the hand waits before it moves along
STRIDE, MAX_STEP = 0.008, 0.010  # [m] along the line, and along any axis
BEYOND = 0.008  # [m] behind the end of the line, for which it makes
FRICTION = np.array([0.0008, 0.0008])  # [m] x, y: how far short of a target the joints stick


def press_and_wipe(reading: Reading, period: float) -> TeleopCommand:
    """One step; it presses as hard as the object `robot_rl.tasks.wipe_line.WISH` says."""
    x, y, z = pad(reading.pose)
    wish, spring = wish_of(reading.objects), reading.target.difference(reading.pose)
    begin = LINE_Y[0] - ASIDE
    if z - SURFACE > IN_CONTACT:
        to_line = np.array([LINE_X - x, begin - y])
        near = bool(np.abs(to_line).max() < ASIDE)
        down = -min(z - SURFACE + 0.002, MAX_STEP) if near else 0.0
        sideways = saturate(to_line, MAX_STEP)
    else:
        down = float(np.clip(spring[2] - CORRECTION * (wish - pressing(reading)) / STIFFNESS, -DEEPEST, 0.0))
        stride = STRIDE if pressing(reading) > PAUSE * wish else 0.0
        sideways = np.array([LINE_X - x, min(stride, LINE_Y[1] + BEYOND - y)])
    sideways = push_through_friction(sideways, spring[:2], reading.twist[:2], FRICTION)
    return drive(np.array([*sideways, down, 0.0, 0.0, 0.0]), period)
