"""The reference pose of an arm whose torques somebody else computes: gate, interpolation and watchdog.

The same that `controllers.core.Controller` does to setpoints before its law, for drivers that only hand over poses.
"""

from __future__ import annotations

import numpy as np

from controllers.config import ControllerConfig
from controllers.gate import Refused, check_pose, check_wrench
from controllers.interpolation import Interpolator, limited_duration
from controllers.spatial import Pose
from controllers.state import Event, EventKind, JointSetpoint, Mode, Setpoint, WrenchSetpoint
from controllers.watchdog import FadingWrench, Watchdog

NO_JOINTS = (
    "joint targets are only a posture to this arm's controller, and would not be reached; send poses, or use arm=fr3"
)


class PoseReference:
    """Pose that the arm is asked for. No clock, thread or I/O: ``now`` [s] is any steady clock.

    Modes are those of the controller: a motion starts in HOLD, a setpoint makes it TRACK, none for ``hold_after`` HOLD
    again, none for ``damp_after`` (``first_after`` before the first one) ends it. While it ends, or is stopped, it is
    DAMP until the arm is at rest, and the target stays where the arm was.

    Attributes:
        mode: see `Mode`.
    """

    def __init__(self, config: ControllerConfig) -> None:
        self.config = config
        self.mode = Mode.IDLE
        self._path = Interpolator()
        self._translation, self._rotation = np.zeros(3), np.eye(3)
        self._watchdog = Watchdog(config.hold_after, config.damp_after, config.first_after)
        self._wrench = FadingWrench(config.hold_after, config.wrench_ramp)
        self._clipped = False
        self._stopped = 0.0  # when it was asked to end

    @property
    def pose(self) -> Pose:
        """The pose asked for last."""
        return Pose.from_rotation(self._translation, self._rotation)

    def start(self, measured: Pose, now: float) -> tuple[Event, ...]:
        """Begin a motion at the ``measured`` pose; setpoint numbers start afresh."""
        self.mode = Mode.HOLD
        self._freeze(measured)
        self._clipped = False
        self._watchdog.start(now)
        self._wrench.start()
        return (Event(now, EventKind.STARTED, "holding the measured pose"),)

    def command(self, setpoint: Setpoint | JointSetpoint, measured: Pose, now: float) -> tuple[Event, ...]:
        """Take a setpoint, or say why not."""
        try:
            self._require_motion()
            if isinstance(setpoint, JointSetpoint):
                raise Refused(NO_JOINTS)
            self._watchdog.require_newer(setpoint.seq)
            goal = check_pose(setpoint, measured.translation, self.config)
        except Refused as refusal:
            return (Event(now, EventKind.SETPOINT_REJECTED, f"setpoint {setpoint.seq}: {refusal}"),)
        way = (self._translation, self._rotation, goal.pose.translation, goal.pose.rotation)
        duration = limited_duration(*way, setpoint.duration, self.config.max_speed, self.config.max_turn_speed)
        self._path.move(*way, now, duration)
        newly_clipped = bool(goal.note) and not self._clipped
        self._clipped = bool(goal.note)
        self._watchdog.feed(setpoint.seq, now)
        self.mode = Mode.TRACK
        return (Event(now, EventKind.SETPOINT_CLIPPED, goal.note),) if newly_clipped else ()

    def push(self, setpoint: WrenchSetpoint, now: float) -> tuple[Event, ...]:
        """Take a wrench, or say why not; `wrench_at` lets it fade when it is not renewed."""
        try:
            self._require_motion()
            self._wrench.require_newer(setpoint.seq)
            self._wrench.feed(check_wrench(setpoint, self.config), setpoint.seq, now)
        except Refused as refusal:
            return (Event(now, EventKind.SETPOINT_REJECTED, f"wrench {setpoint.seq}: {refusal}"),)
        return ()

    def wrench_at(self, now: float) -> np.ndarray:
        """The wrench ``(6,)`` [N, N·m] to exert on top, base axes; fading when it is stale, gone after a stop."""
        moving = self.mode in (Mode.TRACK, Mode.HOLD)
        return self._wrench.share(now) * moving * self._wrench.value

    def stop(self, measured: Pose, reason: str, now: float) -> tuple[Event, ...]:
        """Freeze the target where the arm is; `tick` ends the motion when it is at rest."""
        self.mode = Mode.DAMP
        self._freeze(measured)
        self._stopped = now
        return (Event(now, EventKind.DAMPING, reason),)

    def tick(self, measured: Pose, dq: np.ndarray, now: float) -> tuple[Event, ...]:
        """Move the reference on to ``now`` and look whether setpoints still come. ``dq (7,)`` [rad/s] is measured."""
        if self.mode in (Mode.IDLE, Mode.FAULT):
            return ()
        events: tuple[Event, ...] = ()
        if self.mode is Mode.DAMP:
            at_rest = float(np.abs(dq).max()) < self.config.rest_speed
            if at_rest or now - self._stopped > self.config.rest_timeout + self.config.ramp_down:
                self.mode = Mode.IDLE
                events = (Event(now, EventKind.FINISHED, "CRISP holds where the arm came to rest"),)
        else:
            events = self._watch(measured, now)
        self._translation, self._rotation = self._path.at(now)
        return events

    def _watch(self, measured: Pose, now: float) -> tuple[Event, ...]:
        """Whether setpoints still come; hold or end the motion when they do not."""
        due = self._watchdog.due(self.mode, now)
        if due is self.mode:
            return ()
        silence = self._watchdog.silence(now)
        if due is Mode.DAMP:
            return self.stop(measured, silence, now)
        self.mode = due
        self._freeze(measured)
        return (Event(now, EventKind.SETPOINT_STALE, f"{silence}; holding"),)

    def _require_motion(self) -> None:
        if self.mode not in (Mode.TRACK, Mode.HOLD):
            raise Refused(f"not taking setpoints in mode {self.mode.name}")

    def _freeze(self, measured: Pose) -> None:
        self._translation, self._rotation = measured.translation, measured.rotation
        self._path.hold(self._translation, self._rotation)
