"""How an expert moves an arm that sticks: arithmetic of displacements, and the command that asks for one."""

from __future__ import annotations

import numpy as np

from hardware.interfaces import TeleopCommand


def saturate(vector: np.ndarray, limit: float) -> np.ndarray:
    """The vector, shortened without turning it so that no component is beyond ``limit``."""
    largest = float(np.abs(vector).max())
    return vector if largest <= limit else vector * (limit / largest)


def push_through_friction(
    displacement: np.ndarray, spring: np.ndarray, velocity: np.ndarray, friction: np.ndarray
) -> np.ndarray:
    """The command, elementwise [m or rad], so that an arm that sticks does make ``displacement``.

    Friction in joints and contacts stops an arm that is held by a spring short of its target. A person leads by about
    that much (``friction``), and pushes harder until it gives: while ``spring`` (reference minus measured) pulls the
    right way and the arm is slower than it takes to arrive within 0.3 s, the pull grows; when it is faster, it shrinks.
    """
    lead = displacement + friction * np.clip(displacement / (0.5 * friction), -1.0, 1.0)
    adapted = spring + 0.15 * (displacement / 0.3 - velocity)
    further = (spring * displacement > 0.0) & (np.abs(adapted) > np.abs(lead)) & (adapted * displacement > 0.0)
    command: np.ndarray = np.where(further, adapted, lead)
    return command


def drive(displacement: np.ndarray, period: float, gripper: float | None = None) -> TeleopCommand:
    """An expert's wish for a displacement ``(6,)`` [m, rad] within one ``period`` [s], base axes.

    It is from the measured pose, see `robot_rl.tasks.base.Task.expert`.
    """
    return TeleopCommand(twist=displacement / period, gripper=gripper)
