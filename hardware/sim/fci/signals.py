"""Demands of an FR3 on the commands of its motion generators, as far as it is cheap to check every tick.

Ranges, start values, velocities and steps of the velocity ("velocity discontinuity": an acceleration above its limit)
are checked; jerk is not. Where a command is missing, the arm goes on at constant acceleration, and the next command is
compared with that: at the time of the state that it answers, whenever it comes. After n missing ones the step may be
n² times as large as otherwise, since nobody can know the jerk in between.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from controllers.spatial import exp3, log3
from controllers.state import JOINTS, TICK
from hardware.sim.fci.conformance import ConformanceLimits, Violation

START_POSITION = 0.01  # the first command may be this far from where the arm was last commanded to [rad, m] …
START_ROTATION = 0.02  # … [rad]
RIGID = 1e-5  # how far a commanded rotation matrix may be from orthonormal

# Limits of franka/rate_limiting.h, in libfranka 0.21.
JOINT_ACCELERATION = 10.0  # [rad/s²]
TRANSLATION_SPEED, TRANSLATION_ACCELERATION = 3.0, 9.0  # [m/s, m/s²]
ROTATION_SPEED, ROTATION_ACCELERATION = 2.5, 17.0  # [rad/s, rad/s²]
# Allowance for differences of single-precision readings: clients begin where the state says the last command was.
SPEED_NOISE = 1e-3  # [rad/s, m/s]
ACCELERATION_NOISE = 1.0  # [rad/s², m/s²]

# v_max(q) = min(velocity, max(0, sqrt(2 d (q_max − q)) − v₀)), and alike at the lower end: the URDF's numbers.
DECELERATION = (6.0, 2.585, 3.5, 4.0, 17.0, 5.5, 17.0)  # d [rad/s²]
OFFSET = (0.652, 0.25, 0.2005, 0.3542, 0.5738, 0.4885, 0.4592)  # v₀ [rad/s]


@dataclass
class _Course:
    """Values ``(n,)`` that change at constant acceleration, by ticks: the last command and how it came about."""

    position: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray

    @staticmethod
    def at_rest(position: np.ndarray) -> _Course:
        return _Course(position, np.zeros_like(position), np.zeros_like(position))

    def after(self, ticks: int) -> _Course:
        """Where it is ``ticks`` later: vₙ = v + n a h, xₙ = x + h (v₁ + … + vₙ)."""
        gain = TICK * ticks * self.acceleration
        way = TICK * (ticks * self.velocity + 0.5 * TICK * ticks * (ticks + 1) * self.acceleration)
        return _Course(self.position + way, self.velocity + gain, self.acceleration)


@dataclass
class JointPositionSignal:
    """Joint positions ``(7,)`` [rad], beginning at ``start``.

    ``streamed`` is False for libfranka's asynchronous targets: they come when they come, at any distance.
    """

    limits: ConformanceLimits
    start: Sequence[float]
    streamed: bool = True
    _course: _Course | None = None

    def check(self, values: Sequence[float], ticks: int, q: Sequence[float]) -> Violation | None:
        limits = self.limits
        for joint, (x, low, high) in enumerate(zip(values, limits.position_lower, limits.position_upper, strict=True)):
            if not low <= x <= high:
                detail = f"{x:.4f} rad for joint {joint + 1}, limits {low} and {high}"
                return Violation("joint_motion_generator_position_limits_violation", detail)
        if not self.streamed:
            return None
        position = np.array(values)
        if self._course is None:
            for joint, (x, now) in enumerate(zip(values, self.start, strict=True)):
                if abs(x - now) > START_POSITION:
                    detail = f"begins with {x:.4f} rad for joint {joint + 1}, last commanded to {now:.4f}"
                    return Violation("joint_position_motion_generator_start_pose_invalid", detail)
            self._course = _Course.at_rest(position)
            return None
        before = self._course.after(ticks - 1)
        velocity = (position - before.position) / TICK
        violation = _check_joint_velocity(limits, velocity, before.velocity, ticks, before.position)
        if violation is None:
            self._course = _Course(position, velocity, (velocity - before.velocity) / TICK)
        return violation

    def without(self, ticks: int) -> Sequence[float] | None:
        if self._course is None or not self.streamed:
            return None
        position = self._course.after(ticks).position
        held: list[float] = position.clip(self.limits.position_lower, self.limits.position_upper).tolist()
        return held


@dataclass
class JointVelocitySignal:
    """Joint velocities ``(7,)`` [rad/s]."""

    limits: ConformanceLimits
    streamed: bool = True
    _course: _Course = field(default_factory=lambda: _Course.at_rest(np.zeros(JOINTS)))

    def check(self, values: Sequence[float], ticks: int, q: Sequence[float]) -> Violation | None:
        velocity = np.array(values)
        before = _velocity_after(self._course, ticks - 1)
        violation = _check_joint_velocity(self.limits, velocity, before, ticks, q)
        if violation is None:
            self._course = _Course(velocity, (velocity - before) / TICK, np.zeros(JOINTS))
        return violation

    def without(self, ticks: int) -> Sequence[float] | None:
        return _coasting(self._course, ticks)


@dataclass
class CartesianPoseSignal:
    """Poses of the end effector in the base frame, from ``start`` on: ``(16,)``, a homogeneous matrix by columns."""

    start: Sequence[float]
    streamed: bool = True
    _last: np.ndarray | None = None  # (4, 4)
    _twist: _Course = field(default_factory=lambda: _Course.at_rest(np.zeros(6)))

    def check(self, values: Sequence[float], ticks: int, q: Sequence[float]) -> Violation | None:
        matrix = np.array(values).reshape(4, 4, order="F")
        rotation = matrix[:3, :3]
        off = np.abs(rotation @ rotation.T - np.eye(3)).max()
        if not (off <= RIGID and np.isfinite(matrix).all() and np.array_equal(matrix[3], (0.0, 0.0, 0.0, 1.0))):
            return Violation("cartesian_position_motion_generator_invalid_frame", f"no rigid transform: {matrix}")
        if self._last is None:
            away = _difference(matrix, np.array(self.start).reshape(4, 4, order="F"))
            if np.linalg.norm(away[:3]) > START_POSITION or np.linalg.norm(away[3:]) > START_ROTATION:
                detail = f"begins {away} m and rad away from where the end effector was last commanded to"
                return Violation("cartesian_position_motion_generator_start_pose_invalid", detail)
            self._last = matrix
            return None
        twist = _difference(matrix, self._after(ticks - 1)) / TICK
        before = _velocity_after(self._twist, ticks - 1)
        violation = _check_twist(twist, before, ticks)
        if violation is None:
            self._last = matrix
            self._twist = _Course(twist, (twist - before) / TICK, np.zeros(6))
        return violation

    def without(self, ticks: int) -> Sequence[float] | None:
        return None if self._last is None else self._after(ticks).flatten(order="F").tolist()

    def _after(self, ticks: int) -> np.ndarray:
        """The pose ``ticks`` after the last one, ``(4, 4)``."""
        if self._last is None or ticks == 0:
            return self._last if self._last is not None else np.eye(4)
        twist, change = self._twist.position, self._twist.velocity
        moved = _Course(np.zeros(6), twist, change).after(ticks).position
        matrix = self._last.copy()
        matrix[:3, 3] += moved[:3]
        matrix[:3, :3] = exp3(moved[3:]) @ matrix[:3, :3]
        return matrix


@dataclass
class CartesianVelocitySignal:
    """Twists of the end effector ``(6,)`` [m/s, rad/s], base axes."""

    streamed: bool = True
    _course: _Course = field(default_factory=lambda: _Course.at_rest(np.zeros(6)))

    def check(self, values: Sequence[float], ticks: int, q: Sequence[float]) -> Violation | None:
        twist = np.array(values)
        before = _velocity_after(self._course, ticks - 1)
        violation = _check_twist(twist, before, ticks)
        if violation is None:
            self._course = _Course(twist, (twist - before) / TICK, np.zeros(6))
        return violation

    def without(self, ticks: int) -> Sequence[float] | None:
        return _coasting(self._course, ticks)


def _coasting(course: _Course, ticks: int) -> list[float]:
    values: list[float] = _velocity_after(course, ticks).tolist()
    return values


def _velocity_after(course: _Course, ticks: int) -> np.ndarray:
    """A velocity that is commanded itself: the course's position is that velocity, its velocity the acceleration."""
    return course.position + ticks * TICK * course.velocity


def _check_joint_velocity(
    limits: ConformanceLimits, velocity: np.ndarray, before: np.ndarray, ticks: int, q: Sequence[float] | np.ndarray
) -> Violation | None:
    """``velocity`` at joint positions ``q``; ``before``: the velocity one tick earlier, ``ticks`` after a command."""
    step = (JOINT_ACCELERATION + ACCELERATION_NOISE) * TICK * ticks**2
    for i, (v, last) in enumerate(zip(velocity.tolist(), before.tolist(), strict=True)):
        way = limits.position_upper[i] - q[i] if v > 0.0 else q[i] - limits.position_lower[i]
        slowed = math.sqrt(2.0 * DECELERATION[i] * max(0.0, way)) - OFFSET[i]
        most = min(limits.velocity[i], max(0.0, slowed)) + SPEED_NOISE
        if not abs(v) <= most:
            detail = f"{v:.3f} rad/s for joint {i + 1}, limit {most:.3f}"
            return Violation("joint_motion_generator_velocity_limits_violation", detail)
        if abs(v - last) > step:
            detail = f"joint {i + 1} from {last:.3f} to {v:.3f} rad/s in a tick"
            return Violation("joint_motion_generator_velocity_discontinuity", detail)
    return None


def _check_twist(twist: np.ndarray, before: np.ndarray, ticks: int) -> Violation | None:
    """``twist`` commanded; ``before``: the twist one tick earlier, ``ticks`` after the last command."""
    for part, unit, speed, acceleration in (
        (slice(0, 3), "m", TRANSLATION_SPEED, TRANSLATION_ACCELERATION),
        (slice(3, 6), "rad", ROTATION_SPEED, ROTATION_ACCELERATION),
    ):
        value = float(np.linalg.norm(twist[part]))
        if not value <= speed + SPEED_NOISE:
            detail = f"{value:.3f} {unit}/s, limit {speed:g}"
            return Violation("cartesian_motion_generator_velocity_limits_violation", detail)
        change = float(np.linalg.norm(twist[part] - before[part])) / TICK
        if change > (acceleration + ACCELERATION_NOISE) * ticks**2:
            detail = f"{change:.1f} {unit}/s², limit {acceleration:g}"
            return Violation("cartesian_motion_generator_velocity_discontinuity", detail)
    return None


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``(6,)`` [m, rad]: homogeneous matrix ``a`` minus ``b``, base axes."""
    return np.concatenate((a[:3, 3] - b[:3, 3], log3(a[:3, :3] @ b[:3, :3].T)))
