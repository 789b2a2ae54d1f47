"""Bounds on the torques of the joints; where the TCP may go is in `controllers.workspace`.

The order of the last steps of a tick is fixed: joint repulsion, absolute clamp, then the rate limit against the torque
the robot accepted last, because the robot trips on the rate.
"""

from __future__ import annotations

import numpy as np

from controllers.state import JOINTS

# The robot stops at 1000 N·m/s, i.e. 1 N·m from one 1 kHz tick to the next; 1 % is left for rounding.
MAX_TORQUE_STEP = 0.99


class LimitError(ValueError):
    """A limit that is not finite, of the wrong shape, or empty."""


class TorqueLimiter:
    """Clamps a torque to the joints' effort limits, then limits its change against the last accepted torque.

    Args:
        effort: largest torque of each joint ``(7,)`` [N·m], positive.
        max_step: largest change from one tick to the next [N·m].
    """

    def __init__(self, effort: np.ndarray, max_step: float = MAX_TORQUE_STEP) -> None:
        effort = np.array(effort, dtype=np.float64)
        if effort.shape != (JOINTS,) or not np.isfinite(effort).all() or (effort <= 0.0).any():
            raise LimitError(f"effort limits must be {JOINTS} positive torques in N·m, not {effort}")
        if not 0.0 < max_step <= 1.0:
            raise LimitError(f"max_step must lie in (0, 1] N·m per tick, not {max_step}")
        self.effort = effort
        self.max_step = max_step
        self._effort: list[float] = effort.tolist()

    def limit(self, torque: np.ndarray, previous: np.ndarray) -> tuple[np.ndarray, bool]:
        """Limit ``torque (7,)`` [N·m] against the ``previous (7,)`` torque that the robot accepted.

        Returns:
            The limited torque, and whether ``torque`` was beyond the effort limit of any joint.
        """
        limited, saturated, step = [], False, self.max_step
        for tau, before, effort in zip(torque.tolist(), previous.tolist(), self._effort, strict=True):
            clamped = min(max(tau, -effort), effort)
            saturated = saturated or clamped != tau
            limited.append(max(min(clamped, before + step), before - step))
        return np.array(limited), saturated


class JointRepulsion:
    """Pushes joints away from their limits: a one-sided spring that starts ``margin`` before the limit.

    With the depth ``p_i = max(0, margin − distance to the nearest limit)``, capped at the margin, the torque is
    ``peak · p_i / margin`` away from the limit and its potential ``½ peak/margin p_i²`` (linear beyond the limit). Each
    joint is on its own: none is ever pushed with more than the peak, however many are near their limits.

    Args:
        lower, upper: joint limits ``(7,)`` [rad].
        margin: where the push starts, measured from the limit [rad].
        peak: torque at the limit and beyond [N·m]; 0 switches the push off.
    """

    def __init__(self, lower: np.ndarray, upper: np.ndarray, margin: float, peak: float) -> None:
        if not (margin > 0.0 and peak >= 0.0 and np.isfinite(margin + peak)):
            raise LimitError(f"joint repulsion needs margin > 0 rad and peak >= 0 N·m, not {margin} and {peak}")
        if (upper - lower <= 2.0 * margin).any():
            raise LimitError(f"a repulsion margin of {margin} rad leaves no room between joint limits {lower}, {upper}")
        self.margin = margin
        self.peak = peak
        self._inner_lower: list[float] = (lower + margin).tolist()
        self._inner_upper: list[float] = (upper - margin).tolist()
        self._none = np.zeros(JOINTS)
        self._none.flags.writeable = False

    def evaluate(self, q: np.ndarray) -> tuple[np.ndarray, float]:
        """The torque ``(7,)`` [N·m] and the potential [J] at joint positions ``q (7,)``."""
        depths = [
            low - x if x < low else high - x if x > high else 0.0
            for x, low, high in zip(q.tolist(), self._inner_lower, self._inner_upper, strict=True)
        ]
        if not any(depths):
            return self._none, 0.0
        margin, stiffness = self.margin, self.peak / self.margin
        torque, potential = [], 0.0
        for depth in depths:
            clipped = min(max(depth, -margin), margin)
            torque.append(stiffness * clipped)
            potential += stiffness * clipped * (depth - 0.5 * clipped)
        return np.array(torque), potential
