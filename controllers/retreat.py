"""When the TCP is pushed harder than it should be: give way along the push.

With the measured external wrench split into force f and moment m, and separately for each, the reference moves with

    v = a · (|f| − f_yield) · f / |f|,    bounded by SLOWEST and 1 times SPEED,

while |f| exceeds f_yield, 80 % of its limit. This is an admittance: the harder the push, the faster the arm leaves; it
begins below the limit because a push is measured late and grows meanwhile. And it begins at once with some speed: while
the arm gives way it follows no setpoint, so that, slower and slower, it would press with f_yield for ever on what does
not move, whatever it is told. It moves the reference, not the arm, so that the spring stays between them and the energy
tank books it like any other motion of the target. Reported is a push above the limit, once until it is below f_yield
again.

The workspace does not hold it back: whoever pushes harder than f_yield may push the arm out of the box, as far as the
joint limits let them, and the arm never turns against them for it. It stays where the push has left it until the next
setpoint, which is clipped to the workspace, takes it back at its own pace.
"""

from __future__ import annotations

import numpy as np

YIELD = 0.8  # share of the limit from which on the arm gives way
SPEED, TURN_SPEED = 0.1, 0.5  # fastest retreat [m/s], [rad/s]
SLOWEST = 0.05  # of these
FULL_SPEED_AT = 1.5  # times the limit


class Retreat:
    """Decides whether and how fast to give way.

    Args:
        force_limit, moment_limit: what is not to be exceeded [N], [N·m]; infinite: anything may be.

    Attributes:
        exceeded: whether a limit has been exceeded and the push is not gone yet.
    """

    def __init__(self, force_limit: float, moment_limit: float) -> None:
        self._parts = (_Part(force_limit, SPEED), _Part(moment_limit, TURN_SPEED))
        self._harmless = min(YIELD * force_limit, YIELD * moment_limit) ** 2
        self.exceeded = False

    def reset(self) -> None:
        """Forget the push."""
        self.exceeded = False
        for part in self._parts:
            part.exceeded = False

    def evaluate(self, wrench: np.ndarray) -> np.ndarray | None:
        """The twist ``(6,)`` [m/s, rad/s] to move the reference with; None: leave it alone.

        Args:
            wrench: measured external wrench on the TCP ``(6,)`` [N, N·m], base axes.
        """
        if not float(wrench.dot(wrench)) > self._harmless:
            if self.exceeded:
                self.reset()
            return None
        force, moment = self._parts
        twist = np.concatenate((force.velocity(wrench[:3]), moment.velocity(wrench[3:])))
        self.exceeded = force.exceeded or moment.exceeded
        return twist if twist.any() else None


class _Part:
    """Force or moment."""

    def __init__(self, limit: float, speed: float) -> None:
        self.exceeded = False
        self._limit = limit
        self._yield_at = YIELD * limit
        self._speed = speed
        self._slope = speed / ((FULL_SPEED_AT - YIELD) * limit)

    def velocity(self, push: np.ndarray) -> np.ndarray:
        """Velocity ``(3,)`` along ``push (3,)``."""
        size = float(push.dot(push)) ** 0.5
        if not size > self._yield_at:
            self.exceeded = False
            return np.zeros(3)
        self.exceeded = self.exceeded or size > self._limit
        speed = self._slope * (size - self._yield_at)
        velocity: np.ndarray = push * (min(self._speed, max(SLOWEST * self._speed, speed)) / size)
        return velocity
