"""One tick of the controller: watchdog → interpolate → limit → law → passivity → torque.

Everything that moves the arm passes through here, 1000 times a second. There is no clock, thread or I/O: time is the
robot's own, decisions come back as events. In here `ndarray.dot` stands for ``@``: half the time at this size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from controllers.impedance import CartesianImpedance, ImpedanceGains
from controllers.interpolation import Interpolator, PoseSegment
from controllers.limits import MAX_TORQUE_STEP, JointRepulsion, TorqueLimiter
from controllers.model import ArmModel
from controllers.passivity import EnergyTank, TankConfig, affordable_fraction
from controllers.state import JOINTS, AnySetpoint, ArmState, Event, EventKind, Mode, Setpoint, Tick
from controllers.workspace import Workspace


class ControlError(ValueError):
    """A configuration of the controller that makes no sense."""


@dataclass(frozen=True)
class ControllerConfig:
    """What a controller is made of. Values only, so that it can be sent to another process.

    Raises:
        ControlError: at construction, naming the field.
    """

    gains: ImpedanceGains = field(default_factory=ImpedanceGains)
    tank: TankConfig = field(default_factory=TankConfig)
    workspace: Workspace | None = None  # where targets are clipped to; None leaves them alone
    max_jump: float = 0.5  # a target further than this from the measured TCP is rejected [m]
    hold_after: float = 0.25  # without a fresh setpoint: hold the measured pose [s of robot time]
    damp_after: float = 1.0  # still none: damp out and finish [s]
    ramp_up: float = 0.1  # stiffness from 0 to full after the start [s]
    ramp_down: float = 0.5  # stiffness from full to 0 when damping out [s]
    rest_speed: float = 0.02  # damping out ends when no joint is faster [rad/s] …
    rest_timeout: float = 0.5  # … or this long after the stiffness is gone [s]
    max_torque_step: float = MAX_TORQUE_STEP  # per tick, against the torque the robot accepted last [N·m]
    repulsion_margin: float = 0.2  # distance to a joint limit where the push away from it begins [rad]
    repulsion_peak: float = 5.0  # torque at the limit [N·m]

    def __post_init__(self) -> None:
        for name in ("max_jump", "hold_after", "damp_after", "ramp_up", "ramp_down", "rest_speed", "rest_timeout"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise ControlError(f"{name} must be finite and positive, not {value}")
        if self.damp_after <= self.hold_after:
            raise ControlError(f"damp_after ({self.damp_after} s) must be later than hold_after ({self.hold_after} s)")


class Controller:
    """The controller of one arm.

    Call `start` once per motion, then `tick` with every measurement and `command` whenever a setpoint arrives. A motion
    starts in HOLD, at the measured pose; the first setpoint makes it TRACK. Setpoints must keep coming, even unchanged:
    their arrival is the sign of life of whoever sends them.

    Attributes:
        model: the arm, as of the last tick.
        mode: see `Mode`.
        target_translation, target_rotation: the reference the spring pulls to, ``(3,)`` [m] and ``(3, 3)``, base frame.
        tank: the energy tank.
        activity: see `Tick`.
    """

    def __init__(self, model: ArmModel, config: ControllerConfig) -> None:
        self.model = model
        self.config = config
        self.mode = Mode.IDLE
        self.tank = EnergyTank(config.tank)
        self._law = CartesianImpedance(config.gains)
        self._limiter = TorqueLimiter(model.effort, config.max_torque_step)
        self._repulsion = JointRepulsion(model.lower, model.upper, config.repulsion_margin, config.repulsion_peak)
        self._path = Interpolator()
        self.target_translation = model.translation
        self.target_rotation = model.rotation
        self._posture = model.q.copy()
        self._time = 0.0
        self._share = 1.0
        self.activity = 0.0

    def start(self, state: ArmState) -> tuple[Event, ...]:
        """Begin a motion without a bump: target and posture are what is measured, the tank is full.

        Setpoint numbers start afresh: do not hand over one that was made before.

        Raises:
            ControlError: the measured state is not finite.
        """
        if not _finite(state):
            raise ControlError(f"cannot start from a state that is not finite: q {state.q}, dq {state.dq}")
        self.model.update(state.q, state.dq)
        self._posture = state.q.copy()
        self.tank.reset(state.q)
        self._freeze()
        self._time = self._fresh = state.time
        self._seq = -1
        self._stiffness = 0.0
        self._gone = 0.0
        self.activity = 0.0
        self._stop = self._clipped = self._saturated = self._empty = self._curbed = False
        self.mode = Mode.HOLD
        return (Event(state.time, EventKind.STARTED, "holding the measured pose"),)

    def stop(self) -> None:
        """Damp the motion out; the tick that ends it has ``finished`` set."""
        self._stop = True

    def begin_episode(self) -> tuple[Event, ...]:
        """Grant the energy budget of a new episode; the tank itself is not filled."""
        self.tank.begin_episode()
        detail = f"{self.tank.budget:.0f} J for this episode, the tank holds {self.tank.level:.2f} J"
        return (Event(self._time, EventKind.BUDGET_GRANTED, detail),)

    def change_gains(self, gains: ImpedanceGains, time: float) -> tuple[Event, ...]:
        """Go over to ``gains``, asked for at robot time ``time`` [s]."""
        return (Event(time, EventKind.SETPOINT_REJECTED, "gains: not taken yet"),)

    def command(self, setpoint: AnySetpoint, time: float) -> tuple[Event, ...]:
        """The gate. Take ``setpoint``, received at robot time ``time`` [s], or say why not."""
        if not isinstance(setpoint, Setpoint):
            return (self._rejected(setpoint, time, "this kind is not taken yet"),)
        if self.mode not in (Mode.TRACK, Mode.HOLD) or self._stop:
            return (self._rejected(setpoint, time, f"not taking setpoints in mode {self.mode.name}"),)
        if setpoint.seq <= self._seq:
            return (self._rejected(setpoint, time, f"stale: number {self._seq} was taken before"),)
        if not (math.isfinite(setpoint.duration) and setpoint.duration >= 0.0):
            return (self._rejected(setpoint, time, f"duration {setpoint.duration} s is not a time to move in"),)
        jump = float(np.linalg.norm(setpoint.pose.translation - self.model.translation))
        if jump > self.config.max_jump:
            reason = f"target is {jump:.3f} m away, more than {self.config.max_jump} m"
            return (self._rejected(setpoint, time, reason),)

        pose = setpoint.pose if self.config.workspace is None else self.config.workspace.clip(setpoint.pose)
        newly_clipped = pose is not setpoint.pose and not self._clipped
        self._clipped = pose is not setpoint.pose
        self._path.move(
            self.target_translation, self.target_rotation, pose.translation, pose.rotation, time, setpoint.duration
        )
        self._seq, self._fresh = setpoint.seq, time
        self.mode = Mode.TRACK
        if not newly_clipped:
            return ()
        detail = f"target {setpoint.pose.translation} m is outside the workspace; going to {pose.translation} m"
        return (Event(time, EventKind.SETPOINT_CLIPPED, detail),)

    def tick(self, state: ArmState) -> Tick:
        """The torque for one measurement."""
        if self.mode in (Mode.IDLE, Mode.FAULT):
            return Tick(np.zeros(JOINTS), self.mode, self.tank.level, self.tank.budget, self.activity, (), True)
        if not _finite(state):
            self.mode = Mode.FAULT
            event = Event(self._time, EventKind.FINISHED, f"measured state is not finite: q {state.q}, dq {state.dq}")
            return Tick(np.zeros(JOINTS), self.mode, self.tank.level, self.tank.budget, self.activity, (event,), True)
        events: list[Event] = []
        dt = max(0.0, state.time - self._time)
        self._time = state.time
        self.model.update(state.q, state.dq)

        self._watch(state.time, events)
        self._ramp(dt)

        # What the robot did since the last tick is paid for before anything new is asked of it.
        self.tank.book(state.q, state.tau_J_d, dt)
        repulsion, held = self._repulsion.evaluate(state.q)
        spring, potential = self._follow(*self._path.at(state.time), self.tank.allowance(held))
        valve = self.tank.settle(self._stiffness * potential, held)
        held_back = 1.0 - valve * self._share
        if not self.tank.config.filter:
            valve = 1.0

        scale = valve * self._stiffness
        wrench = self._law.damping(self.model)
        wrench += scale * spring
        torque = self.model.jacobian.T.dot(wrench)
        torque += self._law.nullspace(self.model, state.q, state.dq, self._posture, scale)
        torque += valve * self.model.coriolis
        torque += repulsion

        limited, saturated = self._limiter.limit(torque, state.tau_J_d)
        self._report(torque, saturated, events)
        finished = self._finish(state, dt, events)
        self.activity += held_back * dt
        tank = self.tank
        return Tick(limited, self.mode, tank.level, tank.budget, self.activity, tuple(events), finished)

    def _follow(self, translation: np.ndarray, rotation: np.ndarray, allowance: float) -> tuple[np.ndarray, float]:
        """Move the target to the reference, or as far as the tank can pay; the spring's wrench and potential.

        Both are at full stiffness, so that a spring still being ramped up does not start beyond what it can hold.
        """
        spring, potential = self._law.spring(self.model, translation, rotation)
        self._curbed = potential > allowance
        self._share = 1.0
        if self._curbed:
            move = PoseSegment(self.target_translation, self.target_rotation, translation, rotation)
            share = affordable_fraction(lambda s: self._law.spring(self.model, *move.at(s))[1], allowance)
            self._curbed, self._share = share < 1.0, share
            if not self.tank.config.filter:
                share = 1.0
            translation, rotation = move.at(share)
            spring, potential = self._law.spring(self.model, translation, rotation)
        self.target_translation, self.target_rotation = translation, rotation
        return spring, potential

    def _watch(self, time: float, events: list[Event]) -> None:
        """The watchdog on setpoints: TRACK → HOLD → DAMP."""
        if self.mode is Mode.DAMP:
            return
        age = time - self._fresh
        if self._stop or age > self.config.damp_after:
            reason = "asked to stop" if self._stop else f"no setpoint for {age:.3f} s"
            self.mode = Mode.DAMP
            self._freeze()
            events.append(Event(time, EventKind.DAMPING, reason))
        elif self.mode is Mode.TRACK and age > self.config.hold_after:
            self.mode = Mode.HOLD
            self._freeze()
            events.append(Event(time, EventKind.SETPOINT_STALE, f"no setpoint for {age:.3f} s; holding"))

    def _freeze(self) -> None:
        """Make the measured pose the target."""
        self.target_translation, self.target_rotation = self.model.translation, self.model.rotation
        self._path.hold(self.target_translation, self.target_rotation)

    def _ramp(self, dt: float) -> None:
        if self.mode is Mode.DAMP:
            self._stiffness = max(0.0, self._stiffness - dt / self.config.ramp_down)
        elif self._stiffness < 1.0:
            self._stiffness = min(1.0, self._stiffness + dt / self.config.ramp_up)

    def _report(self, torque: np.ndarray, saturated: bool, events: list[Event]) -> None:
        """Events of a saturated torque and an empty tank, once when each begins."""
        if saturated and not self._saturated:
            events.append(Event(self._time, EventKind.TORQUE_SATURATED, f"law asks for {torque} N·m"))
        self._saturated = saturated
        tank = self.tank
        if not self._empty and (self._curbed or tank.valve < 1.0):
            detail = f"{tank.level:.3f} J left: the target waits, the spring is at {tank.valve:.0%}"
            events.append(Event(self._time, EventKind.TANK_EMPTY, detail))
            self._empty = True
        elif self._empty and tank.recovered:
            self._empty = False

    def _finish(self, state: ArmState, dt: float, events: list[Event]) -> bool:
        """Whether damping out is over: the stiffness is gone, and so is the motion, or the time allowed for it."""
        if self.mode is not Mode.DAMP or self._stiffness > 0.0:
            return False
        self._gone += dt
        if float(np.abs(state.dq).max()) > self.config.rest_speed and self._gone < self.config.rest_timeout:
            return False
        self.mode = Mode.IDLE
        events.append(Event(state.time, EventKind.FINISHED, "motion damped out"))
        return True

    def _rejected(self, setpoint: AnySetpoint, time: float, reason: str) -> Event:
        return Event(time, EventKind.SETPOINT_REJECTED, f"setpoint {setpoint.seq}: {reason}")


def _finite(state: ArmState) -> bool:
    """Whether joints and torques are finite: their squares add up to a number."""
    q, dq, torque = state.q, state.dq, state.tau_J_d
    return math.isfinite(q.dot(q) + dq.dot(dq) + torque.dot(torque))
