"""When the TCP is pushed harder than it should be: give way along the push.

With the measured external wrench split into force f and moment m, and separately for each, the reference moves with

    v = a · (|f| − f_release) · f / |f|,    bounded by SPEED,

from the moment |f| exceeds its limit until it is below f_release, 80 % of the limit, again. This is an admittance: the
harder the push, the faster the arm leaves. It moves the reference, not the arm, so that the spring stays between them
and the energy tank books it like any other motion of the target.
"""

from __future__ import annotations

import numpy as np

RELEASE = 0.8  # share of the limit at which the push counts as gone
SPEED, TURN_SPEED = 0.1, 0.5  # fastest retreat [m/s], [rad/s]
FULL_SPEED_AT = 1.5  # times the limit


class Retreat:
    """Decides whether and how fast to give way.

    Args:
        force_limit, moment_limit: where it begins [N], [N·m]; infinite: never.

    Attributes:
        active: whether the arm is giving way.
    """

    def __init__(self, force_limit: float, moment_limit: float) -> None:
        self._parts = (_Part(force_limit, SPEED), _Part(moment_limit, TURN_SPEED))
        self._harmless = min(RELEASE * force_limit, RELEASE * moment_limit) ** 2
        self.active = False

    def reset(self) -> None:
        """Forget the push."""
        self.active = False
        for part in self._parts:
            part.active = False

    def evaluate(self, wrench: np.ndarray) -> np.ndarray | None:
        """The twist ``(6,)`` [m/s, rad/s] to move the reference with; None: leave it alone.

        Args:
            wrench: measured external wrench on the TCP ``(6,)`` [N, N·m], base axes.
        """
        size = float(wrench.dot(wrench))
        if not self.active and not size > self._harmless:
            return None
        force, moment = self._parts
        twist = np.concatenate((force.velocity(wrench[:3]), moment.velocity(wrench[3:])))
        self.active = force.active or moment.active
        return twist if self.active else None


class _Part:
    """Force or moment, with its hysteresis."""

    def __init__(self, limit: float, speed: float) -> None:
        self.active = False
        self._limit = limit
        self._release = RELEASE * limit
        self._speed = speed
        self._slope = speed / ((FULL_SPEED_AT - RELEASE) * limit)

    def velocity(self, push: np.ndarray) -> np.ndarray:
        """Velocity ``(3,)`` along ``push (3,)``."""
        size = float(push.dot(push)) ** 0.5
        self.active = size > (self._release if self.active else self._limit)
        if not self.active:
            return np.zeros(3)
        return push * (min(self._speed, self._slope * (size - self._release)) / size)
