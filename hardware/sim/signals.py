"""What an FR3 demands of the commands of its motion generators, as far as it is cheap to check every tick.

Ranges, start values, velocities and steps of the velocity ("velocity discontinuity": an acceleration above its limit)
are checked; jerk is not. A command's velocity is its distance from the last one over the time between the two states
that they answer, so that a command that was lost on the way is not taken for a jump.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controllers.spatial import log3
from hardware.sim.conformance import JOINTS, ConformanceLimits, Violation

TICK = 0.001  # [s]
START_POSITION = 0.01  # the first command may be this far from where the arm is [rad, m] …
START_ROTATION = 0.02  # … [rad]
RIGID = 1e-5  # how far a commanded rotation matrix may be from orthonormal

# Limits of franka/rate_limiting.h, in libfranka 0.21.
JOINT_ACCELERATION = 10.0  # [rad/s²]
TRANSLATION_SPEED, TRANSLATION_ACCELERATION = 3.0, 9.0  # [m/s, m/s²]
ROTATION_SPEED, ROTATION_ACCELERATION = 2.5, 17.0  # [rad/s, rad/s²]
# What differences of single-precision readings may add: clients begin where the state says the last command was.
SPEED_NOISE = 1e-3  # [rad/s, m/s]
ACCELERATION_NOISE = 1.0  # [rad/s², m/s²]

# v_max(q) = min(velocity, max(0, sqrt(2 d (q_max − q)) − v₀)), and alike at the lower end: the URDF's numbers.
DECELERATION = (6.0, 2.585, 3.5, 4.0, 17.0, 5.5, 17.0)  # d [rad/s²]
OFFSET = (0.652, 0.25, 0.2005, 0.3542, 0.5738, 0.4885, 0.4592)  # v₀ [rad/s]


@dataclass
class JointPositionSignal:
    """Joint positions ``(7,)`` [rad]. ``streamed`` is False for libfranka's asynchronous targets: any distance goes."""

    limits: ConformanceLimits
    streamed: bool = True
    last: Sequence[float] | None = None
    velocity: Sequence[float] = (0.0,) * JOINTS

    def check(self, values: Sequence[float], ticks: int, q: Sequence[float]) -> Violation | None:
        limits = self.limits
        for joint, (x, low, high) in enumerate(zip(values, limits.position_lower, limits.position_upper, strict=True)):
            if not low <= x <= high:
                detail = f"{x:.4f} rad for joint {joint + 1}, limits {low} and {high}"
                return Violation("joint_motion_generator_position_limits_violation", detail)
        if not self.streamed:
            return None
        if self.last is None:
            for joint, (x, now) in enumerate(zip(values, q, strict=True)):
                if abs(x - now) > START_POSITION:
                    detail = f"begins with {x:.4f} rad for joint {joint + 1}, which is at {now:.4f}"
                    return Violation("joint_position_motion_generator_start_pose_invalid", detail)
            self.last = values
            return None
        velocity = [(x - before) / (ticks * TICK) for x, before in zip(values, self.last, strict=True)]
        violation = _check_joint_velocity(limits, velocity, self.velocity, ticks, self.last)
        if violation is None:
            self.last, self.velocity = values, velocity
        return violation


@dataclass
class JointVelocitySignal:
    """Joint velocities ``(7,)`` [rad/s]."""

    limits: ConformanceLimits
    streamed: bool = True
    velocity: Sequence[float] = (0.0,) * JOINTS

    def check(self, values: Sequence[float], ticks: int, q: Sequence[float]) -> Violation | None:
        violation = _check_joint_velocity(self.limits, values, self.velocity, ticks, q)
        if violation is None:
            self.velocity = values
        return violation


@dataclass
class CartesianPoseSignal:
    """Poses of the end effector in the base frame: ``(16,)``, a homogeneous matrix by columns."""

    start: Sequence[float]
    streamed: bool = True
    _last: np.ndarray | None = None
    _twist: np.ndarray | None = None

    def check(self, values: Sequence[float], ticks: int, q: Sequence[float]) -> Violation | None:
        matrix = np.array(values).reshape(4, 4, order="F")
        rotation = matrix[:3, :3]
        off = np.abs(rotation @ rotation.T - np.eye(3)).max()
        if not (off <= RIGID and np.isfinite(matrix).all() and np.array_equal(matrix[3], (0.0, 0.0, 0.0, 1.0))):
            return Violation("cartesian_position_motion_generator_invalid_frame", f"no rigid transform: {matrix}")
        if self._last is None or self._twist is None:
            away = _difference(matrix, np.array(self.start).reshape(4, 4, order="F"))
            if np.linalg.norm(away[:3]) > START_POSITION or np.linalg.norm(away[3:]) > START_ROTATION:
                detail = f"begins {away} m and rad away from where the end effector is"
                return Violation("cartesian_position_motion_generator_start_pose_invalid", detail)
            self._last, self._twist = matrix, np.zeros(6)
            return None
        twist = _difference(matrix, self._last) / (ticks * TICK)
        violation = _check_twist(twist, self._twist, ticks)
        if violation is None:
            self._last, self._twist = matrix, twist
        return violation


@dataclass
class CartesianVelocitySignal:
    """Twists of the end effector ``(6,)`` [m/s, rad/s], base axes."""

    streamed: bool = True
    _twist: np.ndarray | None = None

    def check(self, values: Sequence[float], ticks: int, q: Sequence[float]) -> Violation | None:
        twist = np.array(values)
        violation = _check_twist(twist, np.zeros(6) if self._twist is None else self._twist, ticks)
        if violation is None:
            self._twist = twist
        return violation


def _check_joint_velocity(
    limits: ConformanceLimits, velocity: Sequence[float], before: Sequence[float], ticks: int, q: Sequence[float]
) -> Violation | None:
    step = (JOINT_ACCELERATION + ACCELERATION_NOISE) * ticks * TICK
    for i, v in enumerate(velocity):
        way = limits.position_upper[i] - q[i] if v > 0.0 else q[i] - limits.position_lower[i]
        slowed = math.sqrt(2.0 * DECELERATION[i] * max(0.0, way)) - OFFSET[i]
        most = min(limits.velocity[i], max(0.0, slowed)) + SPEED_NOISE
        if not abs(v) <= most:
            detail = f"{v:.3f} rad/s for joint {i + 1}, limit {most:.3f}"
            return Violation("joint_motion_generator_velocity_limits_violation", detail)
        if abs(v - before[i]) > step:
            detail = f"joint {i + 1} from {before[i]:.3f} to {v:.3f} rad/s in {ticks} ms"
            return Violation("joint_motion_generator_velocity_discontinuity", detail)
    return None


def _check_twist(twist: np.ndarray, before: np.ndarray, ticks: int) -> Violation | None:
    change = (twist - before) / (ticks * TICK)
    for part, unit, speed, acceleration in (
        (slice(0, 3), "m", TRANSLATION_SPEED, TRANSLATION_ACCELERATION),
        (slice(3, 6), "rad", ROTATION_SPEED, ROTATION_ACCELERATION),
    ):
        value = float(np.linalg.norm(twist[part]))
        if not value <= speed + SPEED_NOISE:
            detail = f"{value:.3f} {unit}/s, limit {speed:g}"
            return Violation("cartesian_motion_generator_velocity_limits_violation", detail)
        value = float(np.linalg.norm(change[part]))
        if value > acceleration + ACCELERATION_NOISE:
            detail = f"{value:.1f} {unit}/s², limit {acceleration:g}"
            return Violation("cartesian_motion_generator_velocity_discontinuity", detail)
    return None


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``(6,)`` [m, rad]: homogeneous matrix ``a`` minus ``b``, base axes."""
    return np.concatenate((a[:3, 3] - b[:3, 3], log3(a[:3, :3] @ b[:3, :3].T)))
