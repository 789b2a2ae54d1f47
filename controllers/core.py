"""One tick of the controller: watchdog → interpolate → limit → passivity → law → brake → torque.

Everything that moves the arm passes through here, 1000 times a second. There is no clock, thread or I/O: time is the
robot's own, decisions come back as events. In here `ndarray.dot` stands for ``@``: half the time at this size.
"""

from __future__ import annotations

import math

import numpy as np

from controllers.config import ControlError, ControllerConfig
from controllers.friction import FrictionCompensation
from controllers.gains import ImpedanceGains, describe_change, interpolate
from controllers.gate import Gate, Refused, check_gains
from controllers.impact import ImpactBound
from controllers.limits import JointRepulsion, TorqueLimiter
from controllers.model import ArmModel
from controllers.passivity import EnergyTank, affordable_fraction
from controllers.retreat import Retreat
from controllers.state import (
    JOINTS,
    TICK,
    AnySetpoint,
    ArmState,
    Event,
    EventKind,
    JointSetpoint,
    Mode,
    Setpoint,
    Tick,
    WrenchSetpoint,
)
from controllers.tracking import JointTracking, PoseTracking, Tracking
from controllers.watchdog import FadingWrench, Watchdog

ROUNDING = 1e-9  # [J] of the account, after hours
TINY = 1e-12  # [N·m]

__all__ = ["ControlError", "Controller", "ControllerConfig"]


class Controller:
    """The controller of one arm.

    Call `start` once per motion, then `tick` with every measurement and `command` whenever a setpoint arrives. A motion
    starts in HOLD, at the measured pose, for ``first_after`` at most; the first setpoint makes it TRACK. Setpoints must
    keep coming, even unchanged: their arrival is the sign of life of whoever sends them.

    Attributes:
        model: the arm, as of the last tick.
        mode: see `Mode`.
        tank: the energy tank.
        activity: see `Tick`.
    """

    def __init__(self, model: ArmModel, config: ControllerConfig) -> None:
        self.model = model
        self.config = config
        self.mode = Mode.IDLE
        self.tank = EnergyTank(config.tank, config.max_torque_step, TICK)
        self.activity = 0.0
        self._gate = Gate(model, config)
        self._limiter = TorqueLimiter(model.effort, config.max_torque_step)
        self._repulsion = JointRepulsion(model.lower, model.upper, config.repulsion_margin, config.repulsion_peak)
        self._watchdog = Watchdog(config.hold_after, config.damp_after, config.first_after)
        self._wrench = FadingWrench(config.hold_after, config.wrench_ramp)
        self._retreat = Retreat(config.force_limit, config.moment_limit)
        self._impact = ImpactBound(config.impact_energy)
        self._poses = PoseTracking(model, config.gains, config.max_speed, config.max_turn_speed, self._impact)
        self._joints = JointTracking(model, config.joint_gains)
        self._tracking: Tracking = self._poses
        self._friction = FrictionCompensation(config.friction) if config.friction.active else None
        self._time = 0.0

    @property
    def target_translation(self) -> np.ndarray:
        """Where the spring pulls the TCP, ``(3,)`` [m], base frame."""
        return self._tracking.target[0]

    @property
    def target_rotation(self) -> np.ndarray:
        """How the spring turns the TCP, ``(3, 3)``, base frame."""
        return self._tracking.target[1]

    @property
    def gains(self) -> ImpedanceGains:
        """The gains in use, on their way while they are being changed."""
        return self._poses.gains

    def start(self, state: ArmState) -> tuple[Event, ...]:
        """Begin a motion without a bump: the target is what is measured, the gains are the configured ones, the tank is
        full and an episode begins.

        Setpoint numbers start afresh: do not hand over one that was made before.

        Raises:
            ControlError: the measured state is not finite.
        """
        if not _finite(state):
            raise ControlError(f"cannot start from a state that is not finite: {_measured(state)}")
        self.model.update(state.q, state.dq)
        self.tank.reset(state.q, state.tau_J_d)
        self._poses.set_gains(self.config.gains)
        self._gains_from = self._gains_to = self.config.gains
        self._gains_share = 1.0
        self._poses.hold_posture()
        self._tracking = self._poses
        self._freeze()
        self._retreat.reset()
        self._time = state.time
        self._watchdog.start(state.time)
        self._wrench.start()
        self._stiffness = 0.0
        self._gone = 0.0
        self.activity = 0.0
        self._stop = self._clipped = self._slowed = self._softened = False
        self._saturated = self._empty = self._overdrawn = False
        self.mode = Mode.HOLD
        detail = f"holding the measured pose; the tank is full with {self.tank.level:.2f} J, {self._budget_left}"
        return (Event(state.time, EventKind.STARTED, detail),)

    def stop(self) -> None:
        """Damp the motion out; the tick that ends it has ``finished`` set."""
        self._stop = True

    def begin_episode(self) -> tuple[Event, ...]:
        """Grant the energy budget of a new episode; the tank itself is not filled."""
        self.tank.begin_episode()
        detail = f"{self._budget_left}; the tank holds {self.tank.level:.2f} J"
        return (Event(self._time, EventKind.BUDGET_GRANTED, detail),)

    @property
    def _budget_left(self) -> str:
        left = self.tank.budget
        return f"{left:.0f} J for this episode" if math.isfinite(left) else "a budget without a limit for this episode"

    def change_gains(self, gains: ImpedanceGains, time: float) -> tuple[Event, ...]:
        """Go over to ``gains``, asked for at robot time ``time`` [s], or say why not.

        They are ramped; what a stiffer spring holds at the present target is taken from the tank before it acts, and
        the ramp waits where the tank cannot pay.
        """
        try:
            self._require_motion()
            check_gains(gains)
        except Refused as refused:
            return (Event(time, EventKind.SETPOINT_REJECTED, f"gains: {refused}"),)
        detail = f"{describe_change(self.gains, gains)} within {self.config.gain_ramp:g} s"
        self._gains_from, self._gains_to, self._gains_share = self.gains, gains, 0.0
        return (Event(time, EventKind.GAINS_CHANGED, detail),)

    def command(self, setpoint: AnySetpoint, time: float) -> tuple[Event, ...]:
        """The gate. Take ``setpoint``, received at robot time ``time`` [s], or say why not."""
        try:
            self._require_motion()
            if isinstance(setpoint, WrenchSetpoint):
                self._wrench.require_newer(setpoint.seq)
                self._wrench.feed(self._gate.wrench(setpoint), setpoint.seq, time)
                return ()
            self._watchdog.require_newer(setpoint.seq)
            note, slow, gentle = (
                self._follow_joints(setpoint, time)
                if isinstance(setpoint, JointSetpoint)
                else self._follow_pose(setpoint, time)
            )
        except Refused as refused:
            return (Event(time, EventKind.SETPOINT_REJECTED, f"setpoint {setpoint.seq}: {refused}"),)
        self._watchdog.feed(setpoint.seq, time)
        self.mode = Mode.TRACK
        return self._adjusted(note, slow, gentle, time)

    def _follow_pose(self, setpoint: Setpoint, time: float) -> tuple[str, str, str]:
        """Make a pose the goal; in what it was adjusted, slowed down, and slowed down to hit no harder than allowed."""
        start = self._poses.target if self._tracking is self._poses else (self.model.translation, self.model.rotation)
        goal = self._gate.pose(setpoint, *start)
        if self._tracking is not self._poses:
            self._poses.hold_posture()
            self._switch(self._poses)
        self._poses.move(goal.pose.translation, goal.pose.rotation, time, setpoint.duration)
        return goal.note, goal.slow, goal.gentle

    def _follow_joints(self, setpoint: JointSetpoint, time: float) -> tuple[str, str, str]:
        """Make joint positions the goal; in what they were adjusted, and in what slowed down."""
        start = self._joints.q if self._tracking is self._joints else self.model.q
        goal = self._gate.joints(setpoint, start)
        if self._tracking is not self._joints:
            self._switch(self._joints)
        self._joints.move(goal.q, time, goal.duration)
        return goal.note, goal.slow, ""

    def _switch(self, tracking: Tracking) -> None:
        """Let another law follow, from what is measured: no bump, and its spring holds nothing yet."""
        tracking.hold()
        self._tracking = tracking

    def _adjusted(self, note: str, slow: str, gentle: str, time: float) -> tuple[Event, ...]:
        """The event of a setpoint that had to be clipped or slowed down, once when either begins; ``gentle`` once."""
        reasons = (note, self._clipped), (slow, self._slowed), (gentle, self._softened)
        new = [text for text, known in reasons if text and not known]
        self._clipped, self._slowed, self._softened = bool(note), bool(slow), self._softened or bool(gentle)
        return (Event(time, EventKind.SETPOINT_CLIPPED, "; ".join(new)),) if new else ()

    def _require_motion(self) -> None:
        if self.mode not in (Mode.TRACK, Mode.HOLD) or self._stop:
            raise Refused(f"not taking setpoints in mode {self.mode.name}")

    def tick(self, state: ArmState) -> Tick:
        """The torque for one measurement."""
        tank = self.tank
        if self.mode in (Mode.IDLE, Mode.FAULT):
            return Tick(np.zeros(JOINTS), self.mode, tank.level, tank.budget, self.activity, (), True)
        if not _finite(state):
            self.mode = Mode.FAULT
            event = Event(self._time, EventKind.FINISHED, f"measured state is not finite: {_measured(state)}")
            return Tick(np.zeros(JOINTS), self.mode, tank.level, tank.budget, self.activity, (event,), True)
        events: list[Event] = []
        # A state that comes twice, or was overtaken by a newer one, is no new time: nothing is granted for it again.
        dt = max(0.0, state.time - self._time)
        self._time += dt
        self.model.update(state.q, state.dq)

        self._watch(self._time, events)
        self._ramp(dt)
        self._give_way(state.wrench, dt, events)

        # The robot's work since the last tick is paid for before anything new is asked of it.
        tank.book(state.q, state.tau_J_d, dt)
        repulsion, held = self._repulsion.evaluate(state.q)
        potential = self._follow(dt, held)
        valve = tank.settle(self._stiffness * potential, held)
        self.activity += (1.0 - tank.valve * self._share) * dt

        torque = self._tracking.torque(state, valve * self._stiffness, self._feed_forward(valve))
        torque += valve * self.model.coriolis
        if self._friction is not None:
            torque += valve * self._stiffness * self._friction.torque(state.dq)
        braking = self._impact.brake(self.model, torque)
        if braking is not None:
            torque += braking
        if tank.damping < 1.0:  # the valve is closed: this is damping alone
            torque *= max(tank.damping, min(1.0, self.config.max_torque_step / (float(np.abs(torque).max()) + TINY)))
        torque += repulsion

        limited, saturated = self._limiter.limit(torque, state.tau_J_d)
        self._report(torque, saturated, events)
        finished = self._finish(state, dt, events)
        return Tick(limited, self.mode, tank.level, tank.budget, self.activity, tuple(events), finished)

    def _follow(self, dt: float, held: float) -> float:
        """Move gains and target to where they shall be, or as far as the tank can pay; the spring's potential [J].

        The potential is the one at full stiffness, so that a spring still being ramped up does not start beyond what it
        can hold.
        """
        tank, tracking = self.tank, self._tracking
        affordable = tank.allowance(held)
        allowance = min(affordable, tracking.potential + tank.config.outflow * dt)
        share = 1.0
        if self._gains_share < 1.0:
            share = self._ramp_gains(dt, allowance)
        potential = tracking.follow(self._time, allowance, tank.config.filter)
        # A move that waits for the cap on the outflow is slowed down by choice, not for want of energy.
        self._share = min(share, tracking.share) if allowance == affordable else 1.0
        return potential

    def _ramp_gains(self, dt: float, allowance: float) -> float:
        """One step from the old gains to the new ones, and the share of it that the tank can pay."""
        begin = self._gains_share
        step = min(1.0 - begin, dt / self.config.gain_ramp)

        def energy(share: float) -> float:
            return self._poses.energy(interpolate(self._gains_from, self._gains_to, begin + share * step))

        # The Cartesian spring holds nothing while the joints' acts, and starts anew when it follows again.
        following = self._tracking is self._poses
        share = affordable_fraction(energy, allowance, iterations=2) if following else 1.0
        self._gains_share = begin + (share if self.tank.config.filter else 1.0) * step
        self._poses.set_gains(interpolate(self._gains_from, self._gains_to, self._gains_share))
        return share

    def _feed_forward(self, valve: float) -> np.ndarray | None:
        """The commanded wrench ``(6,)`` [N, N·m], faded out once it is stale; None when there is none."""
        share = self._wrench.share(self._time)
        return valve * self._stiffness * share * self._wrench.value if share > 0.0 else None

    def _give_way(self, wrench: np.ndarray, dt: float, events: list[Event]) -> None:
        """Retreat from a push above the limits."""
        before = self._retreat.exceeded
        twist = self._retreat.evaluate(wrench)
        if twist is None or self.mode is Mode.DAMP:
            return
        self._tracking.give_way(twist, self._time, dt)
        if self._retreat.exceeded and not before:
            force, moment = np.linalg.norm(wrench[:3]), np.linalg.norm(wrench[3:])
            detail = f"{force:.1f} N and {moment:.1f} N·m on the TCP; giving way"
            events.append(Event(self._time, EventKind.FORCE_LIMIT, detail))

    def _watch(self, time: float, events: list[Event]) -> None:
        """The watchdog on setpoints: TRACK → HOLD → DAMP."""
        if self.mode is Mode.DAMP:
            return
        due = Mode.DAMP if self._stop else self._watchdog.due(self.mode, time)
        if due is self.mode:
            return
        self.mode = due
        self._freeze()
        if due is Mode.DAMP:
            reason = "asked to stop" if self._stop else self._watchdog.silence(time)
            events.append(Event(time, EventKind.DAMPING, reason))
        else:
            events.append(Event(time, EventKind.SETPOINT_STALE, f"{self._watchdog.silence(time)}; holding"))

    def _freeze(self) -> None:
        """Make what is measured the target."""
        self._tracking.hold()

    def _ramp(self, dt: float) -> None:
        if self.mode is Mode.DAMP:
            self._stiffness = max(0.0, self._stiffness - dt / self.config.ramp_down)
        elif self._stiffness < 1.0:
            self._stiffness = min(1.0, self._stiffness + dt / self.config.ramp_up)

    def _report(self, torque: np.ndarray, saturated: bool, events: list[Event]) -> None:
        """Events of a saturated torque and an empty tank, once when each begins, and of an overdraft, once a motion."""
        if saturated and not self._saturated:
            events.append(Event(self._time, EventKind.TORQUE_SATURATED, f"law asks for {torque} N·m"))
        self._saturated = saturated
        tank = self.tank
        curbed = self._share < 1.0
        if not self._empty and (curbed or tank.valve < 1.0):
            consequence = "the target waits" if tank.config.filter else "the filter, switched off, would close"
            detail = f"{tank.level:.3f} J left, {tank.budget:.1f} J of budget: {consequence}, valve at {tank.valve:.0%}"
            events.append(Event(self._time, EventKind.TANK_EMPTY, detail))
            self._empty = True
        elif self._empty and not curbed and tank.recovered:
            self._empty = False
        if not self._overdrawn and tank.overdraft > ROUNDING:
            detail = f"more energy was delivered than the tank held, by {tank.overdraft:.3f} J so far"
            events.append(Event(self._time, EventKind.OVERDRAFT, detail))
            self._overdrawn = True

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


def _finite(state: ArmState) -> bool:
    """Whether joints, torques and wrench are finite: they add up to a number."""
    values = state.q, state.dq, state.tau_J_d, state.wrench
    return math.isfinite(sum([sum(part.tolist()) for part in values]))


def _measured(state: ArmState) -> str:
    """The values that have to be finite, in words."""
    return f"q {state.q}, dq {state.dq}, tau_J_d {state.tau_J_d}, wrench {state.wrench}"
