"""Drift of a sensor's bias: while nothing touches the tool, what is left after compensation should be nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

WINDOW = 0.5  # [s] over which unloaded readings are averaged
FORCE, TORQUE = 1.0, 0.05  # [N], [N·m] of a mean that is drift
REARM = 0.5  # times the bounds: a mean below is well again


class DriftWatch:
    """Averages what an unloaded sensor shows. Owns no clock: ``now`` [s] is any time that rises with the readings.

    Args:
        force, torque: bounds of the mean's norm [N], [N·m].
        window: [s] over which a mean is taken; it begins anew whenever the sensor is loaded.

    Raises ValueError unless all are positive.
    """

    def __init__(self, force: float = FORCE, torque: float = TORQUE, window: float = WINDOW) -> None:
        for name, value in (("force", force), ("torque", torque), ("window", window)):
            if not value > 0.0:
                raise ValueError(f"{name}={value} of a drift watch must be positive")
        self._bounds = (force, torque)
        self._window = window
        self._sum = np.zeros(6)
        self._count, self._began = 0, 0.0
        self._drifted = False

    def feed(self, wrench: np.ndarray, unloaded: bool, now: float) -> str:
        """Take in a compensated ``wrench (6,)`` [N, N·m]. Returns what has drifted, once in words; "" otherwise."""
        if not unloaded:
            self._count = 0
            return ""
        if not self._count:
            self._sum, self._began = np.zeros(6), now
        self._sum = self._sum + wrench
        self._count += 1
        if now - self._began < self._window:
            return ""
        mean = self._sum / self._count
        self._count = 0
        return self._judge((float(np.linalg.norm(mean[:3])), float(np.linalg.norm(mean[3:]))))

    def _judge(self, norms: Sequence[float]) -> str:
        shares = [norm / bound for norm, bound in zip(norms, self._bounds, strict=True)]
        if self._drifted:
            self._drifted = max(shares) > REARM
            return ""
        if max(shares) <= 1.0:
            return ""
        self._drifted = True
        force, torque = norms
        return f"the unloaded sensor shows {force:.2f} N and {torque:.3f} N·m; identify the tool again"
