"""The reference pose of an arm whose torques somebody else computes: gate, interpolation and watchdog.

What `controllers.core.Controller` does to setpoints before its law, for drivers that only hand over poses.
"""

from __future__ import annotations

import numpy as np

from controllers.core import ControllerConfig
from controllers.interpolation import Interpolator
from controllers.spatial import Pose, log3
from controllers.state import Event, EventKind, JointSetpoint, Mode, Setpoint

MAX_SPEED = 0.5  # [m/s]
MAX_TURN_SPEED = 1.5  # [rad/s]


class PoseReference:
    """Which pose the arm is asked for. No clock, thread or I/O: ``now`` [s] is any steady clock.

    Modes are those of the controller: a motion starts in HOLD, a setpoint makes it TRACK, none for ``hold_after`` HOLD
    again, none for ``damp_after`` ends it. While it ends, or is stopped, it is DAMP until the arm is at rest, and the
    target stays where the arm was.

    Attributes:
        mode: see `Mode`.
    """

    def __init__(self, config: ControllerConfig) -> None:
        self.config = config
        self.mode = Mode.IDLE
        self._path = Interpolator()
        self._translation, self._rotation = np.zeros(3), np.eye(3)

    @property
    def pose(self) -> Pose:
        """The pose asked for last."""
        return Pose.from_rotation(self._translation, self._rotation)

    def start(self, measured: Pose, now: float) -> tuple[Event, ...]:
        """Begin a motion at the ``measured`` pose; setpoint numbers start afresh."""
        self.mode = Mode.HOLD
        self._freeze(measured)
        self._fresh, self._seq = now, -1
        self._clipped = False
        return (Event(now, EventKind.STARTED, "holding the measured pose"),)

    def command(self, setpoint: Setpoint | JointSetpoint, measured: Pose, now: float) -> tuple[Event, ...]:
        """Take a setpoint, or say why not."""
        if refusal := self._refusal(setpoint, measured):
            return (Event(now, EventKind.SETPOINT_REJECTED, f"setpoint {setpoint.seq}: {refusal}"),)
        wanted = setpoint.pose  # type: ignore[union-attr]  # the gate lets no joint setpoint through
        pose = wanted if self.config.workspace is None else self.config.workspace.clip(wanted)
        newly_clipped = pose is not wanted and not self._clipped
        self._clipped = pose is not wanted
        self._path.move(
            self._translation, self._rotation, pose.translation, pose.rotation, now, self._duration(pose, setpoint)
        )
        self._seq, self._fresh, self.mode = setpoint.seq, now, Mode.TRACK
        if not newly_clipped:
            return ()
        detail = f"target {wanted.translation} m is outside the workspace; going to {pose.translation} m"
        return (Event(now, EventKind.SETPOINT_CLIPPED, detail),)

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
        age = now - self._fresh
        if self.mode is Mode.DAMP:
            at_rest = float(np.abs(dq).max()) < self.config.rest_speed
            if at_rest or now - self._stopped > self.config.rest_timeout + self.config.ramp_down:
                self.mode = Mode.IDLE
                events = (Event(now, EventKind.FINISHED, "CRISP holds where the arm came to rest"),)
        elif age > self.config.damp_after:
            events = self.stop(measured, f"no setpoint for {age:.3f} s", now)
        elif self.mode is Mode.TRACK and age > self.config.hold_after:
            self.mode = Mode.HOLD
            self._freeze(measured)
            events = (Event(now, EventKind.SETPOINT_STALE, f"no setpoint for {age:.3f} s; holding"),)
        self._translation, self._rotation = self._path.at(now)
        return events

    def _refusal(self, setpoint: Setpoint | JointSetpoint, measured: Pose) -> str:
        if self.mode not in (Mode.TRACK, Mode.HOLD):
            return f"not taking setpoints in mode {self.mode.name}"
        if isinstance(setpoint, JointSetpoint):
            return (
                "joint targets are only the posture of CRISP's Cartesian controller, and would not be reached; "
                "send poses, or use arm=fr3"
            )
        if setpoint.seq <= self._seq:
            return f"stale: number {self._seq} was taken before"
        if not (np.isfinite(setpoint.duration) and setpoint.duration >= 0.0):
            return f"duration {setpoint.duration} s is not a time to move in"
        jump = float(np.linalg.norm(setpoint.pose.translation - measured.translation))
        if jump > self.config.max_jump:
            return f"target is {jump:.3f} m away, more than {self.config.max_jump} m"
        return ""

    def _duration(self, pose: Pose, setpoint: Setpoint | JointSetpoint) -> float:
        """The setpoint's duration, or longer where that would be faster than the limits allow."""
        way = float(np.linalg.norm(pose.translation - self._translation))
        turn = float(np.linalg.norm(log3(pose.rotation @ self._rotation.T)))
        return max(setpoint.duration, way / MAX_SPEED, turn / MAX_TURN_SPEED)

    def _freeze(self, measured: Pose) -> None:
        self._translation, self._rotation = measured.translation, measured.rotation
        self._path.hold(self._translation, self._rotation)
