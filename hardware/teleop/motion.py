"""Conventions that every teleoperation device shares: speeds, dead zone, and who is driving."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LINEAR_SPEED = 0.1  # [m/s] at full deflection: one centimetre per action at 10 Hz
ANGULAR_SPEED = 0.5  # [rad/s] at full deflection
SLOW = 0.2  # share of these in the slow mode, for fine work


@dataclass(frozen=True)
class Speeds:
    """TCP speed at full deflection: ``linear`` [m/s], ``angular`` [rad/s]."""

    linear: float = LINEAR_SPEED
    angular: float = ANGULAR_SPEED

    def __post_init__(self) -> None:
        if self.linear <= 0.0 or self.angular <= 0.0:
            raise ValueError(f"speeds at full deflection must be positive, not {self.linear} m/s, {self.angular} rad/s")

    def twist(self, deflection: np.ndarray, slow: bool = False) -> np.ndarray:
        """Twist ``(6,)`` [m/s, rad/s] of a deflection ``(6,)`` in [−1, 1]; ``slow``: for fine work."""
        share = SLOW if slow else 1.0
        return share * np.concatenate((self.linear * deflection[:3], self.angular * deflection[3:]))


def apply_deadzone(deflection: np.ndarray, deadzone: float) -> np.ndarray:
    """Zero within ``deadzone``, ±1 at ±1, and linear between, so that nothing jumps at the edge. Axis by axis."""
    beyond = np.clip(np.abs(deflection) - deadzone, 0.0, None) / (1.0 - deadzone)
    shares: np.ndarray = np.sign(deflection) * np.clip(beyond, 0.0, 1.0)
    return shares
