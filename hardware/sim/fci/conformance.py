"""Rules that a real FR3 enforces on its client: limits, deadlines, reflexes, and recovery before the next motion.

Pure decisions: no clock, socket or physics. The FCI server and the in-process world feed it one tick at a time, and
stop the arm when it says so. Error names, modes and statuses are libfranka's.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from controllers.state import JOINTS

RATE_WINDOW = 100  # commands that the success rate looks back on
START_TICKS = 500  # after the start of a motion, the first command may take this long
SLACK = 0.01  # a motion that begins outside the position limits may go no further out than this [rad]

# Every error flag of libfranka 0.18 to 0.21, in the order of the robot's state message.
ERRORS = (
    "joint_position_limits_violation",
    "cartesian_position_limits_violation",
    "self_collision_avoidance_violation",
    "joint_velocity_violation",
    "cartesian_velocity_violation",
    "force_control_safety_violation",
    "joint_reflex",
    "cartesian_reflex",
    "max_goal_pose_deviation_violation",
    "max_path_pose_deviation_violation",
    "cartesian_velocity_profile_safety_violation",
    "joint_position_motion_generator_start_pose_invalid",
    "joint_motion_generator_position_limits_violation",
    "joint_motion_generator_velocity_limits_violation",
    "joint_motion_generator_velocity_discontinuity",
    "joint_motion_generator_acceleration_discontinuity",
    "cartesian_position_motion_generator_start_pose_invalid",
    "cartesian_motion_generator_elbow_limit_violation",
    "cartesian_motion_generator_velocity_limits_violation",
    "cartesian_motion_generator_velocity_discontinuity",
    "cartesian_motion_generator_acceleration_discontinuity",
    "cartesian_motion_generator_elbow_sign_inconsistent",
    "cartesian_motion_generator_start_elbow_invalid",
    "force_controller_desired_force_tolerance_violation",
    "start_elbow_sign_inconsistent",
    "communication_constraints_violation",
    "power_limit_violation",
    "cartesian_motion_generator_joint_position_limits_violation",
    "cartesian_motion_generator_joint_velocity_limits_violation",
    "cartesian_motion_generator_joint_velocity_discontinuity",
    "cartesian_motion_generator_joint_acceleration_discontinuity",
    "cartesian_position_motion_generator_invalid_frame",
    "controller_torque_discontinuity",
    "joint_p2p_insufficient_torque_for_planning",
    "tau_j_range_violation",
    "instability_detected",
    "joint_move_in_wrong_direction",
    "cartesian_spline_motion_generator_violation",
    "joint_via_motion_generator_planning_joint_limit_violation",
    "base_acceleration_initialization_timeout",
    "base_acceleration_invalid_reading",
)


class RobotMode(enum.IntEnum):
    """The modes of `franka::RobotMode` that occur here."""

    IDLE = 1
    MOVE = 2
    REFLEX = 4
    USER_STOPPED = 5


class Violation(NamedTuple):
    """``error``: one of `ERRORS`; ``detail``: what was measured or commanded, and the limit, in words."""

    error: str
    detail: str


@dataclass(frozen=True)
class ConformanceLimits:
    """Limits of an FR3 of system version 5.9 or later (the numbers of the URDF that it sends to its clients).

    Velocities are the constant limits. The robot lowers them near the ends of a joint's range; that is done for the
    commands of motion generators only (`hardware.sim.fci.signals`).

    Attributes:
        position_lower, position_upper: ``(7,)`` [rad].
        velocity: ``(7,)`` [rad/s].
        torque: ``(7,)`` [N·m], without gravity.
        torque_step: greatest change of a torque command from one tick to the next [N·m]: 1000 N·m/s. The last digit
            is left to the single precision in which clients read back their last command.
        missed_commands: as many in a row stop the motion.
    """

    position_lower: tuple[float, ...] = (-2.9007, -1.8361, -2.9007, -3.0770, -2.8763, 0.4398, -3.0508)
    position_upper: tuple[float, ...] = (2.9007, 1.8361, 2.9007, -0.1169, 2.8763, 4.6216, 3.0508)
    velocity: tuple[float, ...] = (2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26)
    torque: tuple[float, ...] = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)
    torque_step: float = 1.0001
    missed_commands: int = 20


@dataclass(frozen=True)
class CollisionLevels:
    """Levels at which an external load counts as a contact, or as a collision, which stops the motion.

    The robot knows one set for constant velocity and one for accelerations; here, one serves both.

    Attributes:
        contact_torque, collision_torque: of each joint, ``(7,)`` [N·m].
        contact_force, collision_force: on the TCP, ``(6,)`` [N, N·m].
    """

    contact_torque: tuple[float, ...]
    collision_torque: tuple[float, ...]
    contact_force: tuple[float, ...]
    collision_force: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, count in (
            ("contact_torque", 7),
            ("collision_torque", 7),
            ("contact_force", 6),
            ("collision_force", 6),
        ):
            values = getattr(self, name)
            if len(values) != count or not all(math.isfinite(value) and value >= 0.0 for value in values):
                raise ValueError(f"{name} needs {count} finite thresholds that are not negative, not {values}")


class Signal(Protocol):
    """The kind of command a motion takes; remembers the last one accepted.

    Attributes:
        streamed: a command is due in every tick.
    """

    streamed: bool

    def check(self, values: Sequence[float], ticks: int, q: Sequence[float]) -> Violation | None:
        """Accept the command ``values``, given ``ticks`` ms after the last one at joint positions ``q``, or not."""

    def without(self, ticks: int) -> Sequence[float] | None:
        """The robot's own command ``ticks`` ms after the last one, if none has come since; None: the last one again."""


@dataclass
class TorqueSignal:
    """Joint torques ``(7,)`` [N·m] without gravity: in range, and no faster than the rate limit.

    A missing command repeats the last one, so that the step counts from the last one accepted however long ago.
    """

    limits: ConformanceLimits = field(default_factory=ConformanceLimits)
    streamed: bool = True
    last: Sequence[float] = (0.0,) * JOINTS

    def check(self, values: Sequence[float], ticks: int, q: Sequence[float]) -> Violation | None:
        step = self.limits.torque_step
        for joint, (value, before, most) in enumerate(zip(values, self.last, self.limits.torque, strict=True), 1):
            if not abs(value) <= most:  # so that NaN fails
                return Violation("tau_j_range_violation", f"{value:.2f} N·m for joint {joint}, limit {most:g}")
            if abs(value - before) > step:
                detail = f"joint {joint} from {before:.2f} to {value:.2f} N·m in a tick, limit 1"
                return Violation("controller_torque_discontinuity", detail)
        self.last = values
        return None

    def without(self, ticks: int) -> Sequence[float] | None:
        return None


class Conformance:
    """The robot's side of the contract, for one arm.

    Per tick of a motion: `command` with what came in, then `check` with what was measured. Both return the errors that
    end the motion now; whoever calls then makes the arm hold by itself. After that, `start_motion` refuses until
    `recover`.

    Attributes:
        mode: see `RobotMode`.
        errors: what stopped the arm and has not been recovered from.
        last_motion_errors: what ended the last motion.
        reason: the same in words; "" while nothing is wrong.
        joint_contact, joint_collision: 1.0 for each joint in contact, or collided since the last recovery, ``(7,)``.
        cartesian_contact, cartesian_collision: the same for the directions of the wrench, ``(6,)``.
        missed: ticks of all motions so far in which a command was due and none came.
    """

    def __init__(self, levels: CollisionLevels, limits: ConformanceLimits | None = None) -> None:
        self.levels = levels
        self.limits = limits if limits is not None else ConformanceLimits()
        self.mode = RobotMode.IDLE
        self.errors: tuple[str, ...] = ()
        self.last_motion_errors: tuple[str, ...] = ()
        self.reason = ""
        self.missed = 0
        self._signal: Signal = TorqueSignal(self.limits)
        self._lower, self._upper = self.limits.position_lower, self.limits.position_upper
        self._clear_contacts()
        self._begin_window()

    @property
    def success_rate(self) -> float:
        """Share of the last 100 commands of this motion that came in time; 0 while no motion is active."""
        if self.mode is not RobotMode.MOVE or self._due == 0:
            return 0.0
        return self._window.bit_count() / self._due

    def start_motion(self, q: Sequence[float], signal: Signal | None = None) -> bool:
        """Begin a motion at joint positions ``q``, by torques unless told otherwise; False: not in this mode.

        A joint found outside its limits may be driven back (a real arm wants this done by hand, from Desk).
        """
        if self.mode is not RobotMode.IDLE:
            return False
        self.mode = RobotMode.MOVE
        self.last_motion_errors = ()
        self._signal = signal if signal is not None else TorqueSignal(self.limits)
        self._q: Sequence[float] = q
        self._lower = tuple(min(low, x - SLACK) for low, x in zip(self.limits.position_lower, q, strict=True))
        self._upper = tuple(max(high, x + SLACK) for high, x in zip(self.limits.position_upper, q, strict=True))
        self._begin_window()
        return True

    def end_motion(self) -> None:
        """The client has ended its motion regularly."""
        if self.mode is RobotMode.MOVE:
            self.mode = RobotMode.IDLE

    def command(self, values: Sequence[float] | None, ticks: int = 1) -> tuple[str, ...]:
        """The command of this tick, ``ticks`` ms after the one before, or None when none came.

        A command that is not accepted must not be executed. A missing one is no error yet: the last one goes on.
        """
        if self.mode is not RobotMode.MOVE:
            return ()
        if values is None:
            return self._miss()
        self._waiting = self._missing = 0
        self._count(arrived=True)
        violation = self._signal.check(values, ticks, self._q)
        return () if violation is None else self._abort([violation])

    def check(
        self,
        q: Sequence[float],
        dq: Sequence[float],
        torque: Sequence[float] | None = None,
        wrench: Sequence[float] | None = None,
    ) -> tuple[str, ...]:
        """Take in a reading: joints [rad, rad/s] and, when renewed, external joint torques and wrench at the TCP."""
        violations: list[Violation] = []
        if torque is not None and wrench is not None:
            self._feel(torque, wrench, violations)
        if self.mode is not RobotMode.MOVE:
            return ()
        self._q = q
        for joint, (x, low, high) in enumerate(zip(q, self._lower, self._upper, strict=True), 1):
            if not low <= x <= high:
                detail = f"joint {joint} at {x:.4f} rad, limits {low:.4f} and {high:.4f}"
                violations.append(Violation("joint_position_limits_violation", detail))
                break
        for joint, (speed, most) in enumerate(zip(dq, self.limits.velocity, strict=True), 1):
            if not abs(speed) <= most:
                detail = f"joint {joint} at {speed:.2f} rad/s, limit {most:g}"
                violations.append(Violation("joint_velocity_violation", detail))
                break
        return self._abort(violations) if violations else ()

    def recover(self) -> bool:
        """Automatic error recovery; False: not possible while moving or while the user stop is pressed."""
        if self.mode in (RobotMode.MOVE, RobotMode.USER_STOPPED):
            return False
        self._reset()
        return True

    def user_stop(self, pressed: bool) -> None:
        """The button. Pressed, it ends any motion; released, the arm is idle, and its errors are cleared."""
        if pressed:
            self.mode = RobotMode.USER_STOPPED
            self.reason = "the user stop is pressed"
        elif self.mode is RobotMode.USER_STOPPED:
            self._reset()

    def lose_connection(self) -> tuple[str, ...]:
        """The client has gone. In the middle of a motion, that is an error like any other silence."""
        if self.mode is not RobotMode.MOVE:
            return ()
        return self._abort([Violation("communication_constraints_violation", "the client went away")])

    def _miss(self) -> tuple[str, ...]:
        if not self._signal.streamed:
            return ()
        if self._waiting > 0:
            self._waiting -= 1
            return ()
        self._count(arrived=False)
        self.missed += 1
        self._missing += 1
        if self._missing < self.limits.missed_commands:
            return ()
        detail = f"{self._missing} commands in a row did not arrive"
        return self._abort([Violation("communication_constraints_violation", detail)])

    def _feel(self, torque: Sequence[float], wrench: Sequence[float], violations: list[Violation]) -> None:
        """Contacts and collisions; a collision found in a motion goes to ``violations``."""
        levels = self.levels
        self.joint_contact = _exceeding(torque, levels.contact_torque)
        self.cartesian_contact = _exceeding(wrench, levels.contact_force)
        if self.mode is not RobotMode.MOVE:
            return
        hit = _exceeding(torque, levels.collision_torque)
        if any(hit):
            joint = hit.index(1.0)
            self.joint_collision = hit
            detail = f"{torque[joint]:.1f} N·m at joint {joint + 1}, threshold {levels.collision_torque[joint]:g}"
            violations.append(Violation("joint_reflex", detail))
        hit = _exceeding(wrench, levels.collision_force)
        if any(hit):
            axis = hit.index(1.0)
            self.cartesian_collision = hit
            value, unit = wrench[axis], "N" if axis < 3 else "N·m"
            detail = f"{value:.1f} {unit} along {'xyzxyz'[axis]}, threshold {levels.collision_force[axis]:g}"
            violations.append(Violation("cartesian_reflex", detail))

    def _abort(self, violations: list[Violation]) -> tuple[str, ...]:
        self.mode = RobotMode.REFLEX
        self.errors = self.last_motion_errors = tuple(violation.error for violation in violations)
        self.reason = "; ".join(f"{error} ({detail})" for error, detail in violations)
        return self.errors

    def _reset(self) -> None:
        self.mode = RobotMode.IDLE
        self.errors = ()
        self.reason = ""
        self._clear_contacts()

    def _clear_contacts(self) -> None:
        self.joint_contact = self.joint_collision = (0.0,) * 7
        self.cartesian_contact = self.cartesian_collision = (0.0,) * 6

    def _begin_window(self) -> None:
        self._window = 0  # one bit for each command that was due, the newest last
        self._due = self._missing = 0
        self._waiting = START_TICKS

    def _count(self, arrived: bool) -> None:
        self._window = (self._window << 1 | arrived) & ((1 << RATE_WINDOW) - 1)
        self._due = min(self._due + 1, RATE_WINDOW)


def _exceeding(values: Sequence[float], levels: Sequence[float]) -> tuple[float, ...]:
    return tuple([1.0 if abs(value) > level else 0.0 for value, level in zip(values, levels, strict=True)])
