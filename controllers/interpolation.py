"""A reference that moves at 1 kHz between setpoints that arrive at 10–20 Hz, and no faster than it may."""

from __future__ import annotations

import math

import numpy as np

from controllers.spatial import exp3, log3


class PoseSegment:
    """The path from one pose to another: translation along the line, rotation along the geodesic.

    ``x(s) = x0 + s (x1 − x0)`` and ``R(s) = exp(s log(R1 R0ᵀ)) R0`` with s from 0 to 1, both in the base frame.
    """

    def __init__(self, x0: np.ndarray, R0: np.ndarray, x1: np.ndarray, R1: np.ndarray) -> None:
        """``x0, x1 (3,)`` [m] and ``R0, R1 (3, 3)``; kept, not copied."""
        self._x0, self._R0, self._x1, self._R1 = x0, R0, x1, R1
        self._translation = x1 - x0
        self._rotvec = log3(R1 @ R0.T)
        self._turns = bool(self._rotvec.any())

    def at(self, s: float) -> tuple[np.ndarray, np.ndarray]:
        """Translation ``(3,)`` [m] and rotation ``(3, 3)`` at the share ``s`` of the way, held at the ends."""
        if s >= 1.0:
            return self._x1, self._R1
        if s <= 0.0:
            return self._x0, self._R0
        rotation = exp3(s * self._rotvec).dot(self._R0) if self._turns else self._R0
        return self._x0 + s * self._translation, rotation


class JointSegment:
    """The straight path from one set of joint positions to another: ``q(s) = q0 + s (q1 − q0)``, s from 0 to 1."""

    def __init__(self, q0: np.ndarray, q1: np.ndarray) -> None:
        """``q0, q1 (7,)`` [rad]; kept, not copied."""
        self._q0, self._q1 = q0, q1
        self._change = q1 - q0

    def at(self, s: float) -> np.ndarray:
        """Joint positions ``(7,)`` [rad] at the share ``s`` of the way, held at the ends; not to be written to."""
        if s >= 1.0:
            return self._q1
        if s <= 0.0:
            return self._q0
        q: np.ndarray = self._q0 + s * self._change
        return q


def limited_duration(
    x0: np.ndarray,
    R0: np.ndarray,
    x1: np.ndarray,
    R1: np.ndarray,
    duration: float,
    max_speed: float,
    max_turn_speed: float,
) -> float:
    """``duration`` [s], or as much longer as a `PoseSegment` needs to keep to both speeds.

    From ``x0 (3,)`` [m], ``R0 (3, 3)`` to ``x1, R1``, at most ``max_speed`` [m/s] and ``max_turn_speed`` [rad/s], both
    positive.
    """
    way, turn = x1 - x0, log3(R1.dot(R0.T))
    return max(duration, math.sqrt(way.dot(way)) / max_speed, math.sqrt(turn.dot(turn)) / max_turn_speed)


def limited_joint_duration(q0: np.ndarray, q1: np.ndarray, duration: float, max_speed: np.ndarray) -> float:
    """``duration`` [s], or as much longer as a `JointSegment` needs to keep each joint to its speed.

    From ``q0 (7,)`` to ``q1 (7,)`` [rad], at most ``max_speed (7,)`` [rad/s], positive: a share of the arm's own
    limits, `ArmModel.velocity`, that leaves room for following errors.
    """
    return max(duration, float(np.max(np.abs(q1 - q0) / max_speed)))


class Interpolator:
    """The reference of one motion: a segment with a start time [s] and a duration [s] on the robot's clock."""

    def __init__(self) -> None:
        self.hold(np.zeros(3), np.eye(3))

    def hold(self, translation: np.ndarray, rotation: np.ndarray) -> None:
        """Stay at ``translation (3,)`` [m], ``rotation (3, 3)`` from now on."""
        self.move(translation, rotation, translation, rotation, 0.0, 0.0)

    def move(
        self, x0: np.ndarray, R0: np.ndarray, x1: np.ndarray, R1: np.ndarray, start: float, duration: float
    ) -> None:
        """Go from ``(x0, R0)`` at time ``start`` to ``(x1, R1)`` within ``duration``; 0 jumps."""
        self._segment = PoseSegment(x0, R0, x1, R1)
        self._start = start
        self._duration = duration

    def at(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """The reference at ``time`` [s]: translation ``(3,)`` [m] and rotation ``(3, 3)``, not to be written to."""
        elapsed = time - self._start
        return self._segment.at(1.0 if elapsed >= self._duration else elapsed / self._duration)
