"""The real-time process: one thread, one loop, pylibfranka on one side and the mailbox on the other.

Started by `hardware.franka.arm`. While idle it publishes the arm's state; on a start request it runs
`controllers.core` at the robot's own pace, until it is asked to stop, the watchdog ends the motion, or the robot does.
It outlives its parent only until the arm is at rest.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from controllers.config import ControlError
from controllers.core import Controller, ControllerConfig
from controllers.state import TICK, ArmState, Event, EventKind, Mode, Setpoint
from hardware.franka.collision import CollisionThresholds
from hardware.franka.mailbox import NOTHING, Mailbox, Orders, Outlook, Request
from hardware.franka.model import fr3_model
from hardware.franka.process import CORES, FAILED, READY, ROBOT_PORT, child_pipe, import_pylibfranka, probe
from hardware.franka.rehearsal import Rehearsal
from hardware.franka.telemetry import TICK_FIELDS, Telemetry, save_fault, tell
from hardware.interfaces import HardwareError, TelemetryError

WARM_UP_TICKS = 3000  # covers tracking, holding and damping out
WARM_UP_TRACKING = 500
IDLE_PERIOD = 0.004  # pause between two states while idle [s]
PARENT_CHECK_TICKS = 50
USER_STOP = "the user stop is pressed; release it, and start again"
ASKED_TO_STOP = "it was asked to stop before it began"
ENDING = "its motion is being ended; start again when it is idle"
GAINS_WITHOUT_MOTION = "gains: no motion is active, and each begins with the configured ones; change them once it has"
MCL_CURRENT, MCL_FUTURE = 1, 2  # <sys/mman.h>
CLAIMS: list[socket.socket] = []  # on cores, by names that only one process of the computer can have


@dataclass(frozen=True)
class RealtimeSettings:
    """Settings that the process is given at its start.

    Attributes:
        address: of the robot.
        controller: configuration of the control law.
        collision: thresholds of the robot's reflex.
        cpu: core to run on; None takes the last one that no other arm's loop has, where there are two or more.
        priority: SCHED_FIFO priority to ask for.
        dump_directory: where the telemetry goes on a fault, as .npz; None: nowhere.
        rehearse: practise each tick just before it is due (`hardware.franka.rehearsal`), where the process runs as soon
            as it wakes up, and others have `CORES` − 1 cores.
    """

    address: str
    controller: ControllerConfig
    collision: CollisionThresholds = field(default_factory=CollisionThresholds)
    cpu: int | None = None
    priority: int = 80
    dump_directory: str | None = None
    rehearse: bool = True


class RealtimeProcess:
    """The loop and what it needs; all of it preallocated before control begins."""

    def __init__(self, settings: RealtimeSettings, mailbox: Mailbox) -> None:
        self._settings = settings
        self._mailbox = mailbox
        self._franka = import_pylibfranka()
        self._errors = (self._franka.FrankaException, RuntimeError)  # most of Franka's derive from the latter alone
        self._model = fr3_model()
        self._controller = Controller(self._model, settings.controller)
        self._rehearsal = Rehearsal(self._model, settings.controller)
        self._parent = os.getppid()
        self._has_core = len(os.sched_getaffinity(0)) >= CORES  # asked before the loop is bound to one
        self._refused: tuple[str, ...] = ()
        self._robot: Any = None
        self._connected = False
        self._mode = Mode.IDLE
        self._tank = self._budget = self._activity = 0.0
        self._seq = 0
        self._time = 0.0
        self._quit = False
        self._began = self._stopping = False
        self._incident = self._fault_text = ""
        self._scalars = np.zeros(TICK_FIELDS)

    def connect(self) -> None:
        """Open the connection. Raises pylibfranka's exceptions, `HardwareError`."""
        franka, collision = self._franka, self._settings.collision
        self._robot = franka.Robot(self._settings.address, franka.RealtimeConfig.kIgnore)
        self._robot.set_collision_behavior(
            list(collision.torque), list(collision.torque), list(collision.force), list(collision.force)
        )
        self._connected = True

    def warm_up(self) -> None:
        """Run the control law on the measured state until caches and allocators have settled."""
        state, success = self._measure(self._robot.read_once())
        controller = Controller(self._model, self._settings.controller)
        controller.start(state)
        for cycle in range(WARM_UP_TICKS):
            moment = state._replace(time=state.time + cycle * TICK)
            if cycle < WARM_UP_TRACKING and cycle % 50 == 0:
                controller.command(Setpoint(self._model.pose, cycle), moment.time)
            tick = controller.tick(moment)
            self._franka.Torques(tick.torque.tolist())
            self._publish(state, success, time.monotonic())
            if tick.finished:
                break
        self._idle_tick()  # so that the first reading has the arm as it is, with its faults

    def run(self, refused: tuple[str, ...]) -> None:
        """Serve requests until asked to quit or the parent is gone; ``refused`` goes into the telemetry."""
        self._refused = refused
        while not self._quit and os.getppid() == self._parent:
            if self._connected:
                self._idle_tick()
            time.sleep(IDLE_PERIOD)
            self._serve_orders()

    def stop_and_quit(self, *_: object) -> None:
        """End the motion, then the process; also the handler of SIGTERM."""
        self._quit = self._stopping = True
        self._controller.stop()

    # Idle.

    def _idle_tick(self) -> None:
        try:
            received = self._robot.read_once()
        except self._errors as error:
            self._connected = False
            self._enter(Mode.FAULT, f"connection lost: {error}")
            return
        state, success = self._measure(received)
        self._model.update(state.q, state.dq)
        self._publish(state, success, time.monotonic())
        self._follow_robot(received)

    def _follow_robot(self, received: Any) -> None:
        """Take over what the robot says of itself while no motion is active: reflex, user stop, and its release."""
        modes = self._franka.RobotMode
        if received.robot_mode == modes.UserStopped:
            self._enter(Mode.STOPPED, USER_STOP)
        elif received.robot_mode == modes.Reflex:
            self._enter(Mode.FAULT, f"reflex {_errors_of(received)}")
        elif self._mode is Mode.STOPPED:
            self._leave("the user stop was released")

    def _serve_orders(self) -> None:
        """Orders while no motion is active."""
        # Whatever setpoint came while no motion was active is void.
        orders = self._mailbox.take_orders()
        self._begin_episode(orders)
        if orders.gains is not None:
            self._mailbox.push_event(Event(self._time, EventKind.SETPOINT_REJECTED, GAINS_WITHOUT_MOTION))
        self._quit = self._quit or Request.QUIT in orders.requests
        for request in orders.requests:
            number = self._mailbox.requested(request)
            if request is Request.START:
                if self._quit or Request.STOP in orders.requests:  # which of the two came first is not known
                    self._mailbox.serve(request, number, ASKED_TO_STOP)
                else:
                    self._start(number)
            elif request is Request.RECOVER:
                self._mailbox.serve(request, number, self._recover())
            elif request is Request.STOP:
                self._mailbox.serve(request, number)

    def _start(self, number: int) -> None:
        if self._mode in (Mode.FAULT, Mode.STOPPED):
            reason = self._fault_text if self._mode is Mode.STOPPED else f"{self._fault_text}; recover it first"
            self._mailbox.serve(Request.START, number, reason)
            return
        self._began, self._stopping, self._incident = False, False, ""
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            reason = self._motion(number)
        finally:
            gc.enable()
            gc.unfreeze()
        # The motion is over, however it ended.
        if not self._began:
            self._mailbox.serve(Request.START, number, reason)
        if reason:
            self._settle(reason)
        else:
            self._set_mode(Mode.IDLE)
            if self._incident:
                self._dump(self._incident)
        stop = self._mailbox.requested(Request.STOP)
        if self._mailbox.served(Request.STOP)[0] != stop:
            self._mailbox.serve(Request.STOP, stop)

    def _motion(self, number: int) -> str:
        """One motion; why the robot refused or ended it, "" when it went as it should.

        The robot takes no other command until the error, and with it the motion it refers to, is let go of.
        """
        try:
            self._control(number)
        except (*self._errors, ControlError) as error:
            self._connected = not isinstance(error, self._franka.NetworkException)
            return str(error)
        return "the robot reported a state that is not finite" if self._controller.mode is Mode.FAULT else ""

    def _settle(self, reason: str) -> None:
        """Enter the mode that a motion's end for ``reason`` leaves the arm in."""
        self._mode = Mode.IDLE  # what the controller's was does not count as told
        received = None
        if self._connected:
            try:
                received = self._robot.read_once()
            except self._errors as error:
                self._connected = False
                reason = f"{reason}; then the connection was lost: {error}"
        modes = self._franka.RobotMode
        if received is not None and received.robot_mode == modes.UserStopped:
            self._enter(Mode.STOPPED, USER_STOP)
        elif received is not None and not self._began and received.robot_mode != modes.Reflex:
            self._set_mode(Mode.IDLE)  # nothing has moved, so there is nothing to recover from
        else:
            names = _errors_of(received) if received is not None else ""
            self._enter(Mode.FAULT, reason if names in reason else f"{reason} {names}")

    def _recover(self) -> str:
        """Clear the fault; why not, when it cannot be cleared."""
        if self._mode is Mode.STOPPED:
            return self._fault_text
        try:
            if not self._connected:
                probe(self._settings.address, ROBOT_PORT, "Franka robot")
                self._robot = None
                self.connect()
            self._robot.automatic_error_recovery()
        except self._errors as error:
            return str(error)
        if self._mode is Mode.FAULT:
            self._leave("the fault was cleared")
        return ""

    def _enter(self, mode: Mode, reason: str) -> None:
        """Go to FAULT or STOPPED for ``reason``, tell, and write the telemetry down; once for each fault."""
        if self._mode is mode:
            return
        kind = EventKind.STOPPED if mode is Mode.STOPPED else EventKind.REFLEX
        self._set_mode(mode, reason)
        self._mailbox.push_event(Event(self._time, kind, reason))
        self._dump(reason)

    def _leave(self, how: str) -> None:
        self._set_mode(Mode.IDLE)
        self._mailbox.push_event(Event(self._time, EventKind.RECOVERED, how))

    def _set_mode(self, mode: Mode, fault: str = "") -> None:
        self._mode, self._fault_text = mode, fault
        self._mailbox.write_mode(mode, fault)

    def _dump(self, reason: str) -> None:
        if self._settings.dump_directory is None:
            return
        mailbox = self._mailbox
        telemetry = Telemetry(mailbox.telemetry(), mailbox.recent_events(), reason, self._refused)
        try:
            save_fault(self._settings.dump_directory, telemetry)
        except TelemetryError as error:
            tell(error)

    # Control.

    def _control(self, number: int) -> None:
        """One motion, from start to finish; served as START once it runs. Raises pylibfranka's exceptions."""
        control = self._robot.start_torque_control()
        received, _ = control.readOnce()
        arrival = time.perf_counter()
        last_arrival = arrival
        state, success = self._measure(received)
        controller, mailbox, torques_type = self._controller, self._mailbox, self._franka.Torques
        for event in controller.start(state):
            mailbox.push_event(event)
        if self._quit:  # said while it began, which the controller has forgotten
            self.stop_and_quit()
        rehearse = self._settings.rehearse and runs_at_once() and self._has_core
        ticks = 0
        while True:
            self._take_orders(state.time)
            ticks += 1
            if ticks % PARENT_CHECK_TICKS == 0 and os.getppid() != self._parent and not self._quit:
                self.stop_and_quit()
                self._incident = "the program that drives the arm has ended"
            tick = controller.tick(state)
            torques = torques_type(tick.torque.tolist())
            torques.motion_finished = tick.finished
            ready = time.perf_counter()
            control.writeOnce(torques)
            # The last one returns only when the robot has confirmed the end.
            dispatched = ready if tick.finished else time.perf_counter()
            self._mode, self._tank, self._budget, self._activity = tick.mode, tick.tank, tick.budget, tick.activity
            for event in tick.events:
                mailbox.push_event(event)
                if event.kind is EventKind.DAMPING and not self._stopping:
                    self._incident = f"watchdog: {event.detail}"
            self._publish(state, success, time.monotonic())
            self._record(state, success, tick.torque, arrival - last_arrival, dispatched - arrival)
            if not self._began:
                mailbox.serve(Request.START, number)
                self._began = True
            if tick.finished:
                break
            if rehearse:
                self._rehearse(received, arrival)
            received, _ = control.readOnce()
            last_arrival, arrival = arrival, time.perf_counter()
            state, success = self._measure(received)

    def _rehearse(self, received: Any, arrival: float) -> None:
        """Practise for the next state with ``received``, which came at ``arrival``, if there is time."""
        if self._rehearsal.wait(arrival):
            practised, _ = self._measure(received)
            self._franka.Torques(self._rehearsal.tick(practised).torque.tolist())

    def _take_orders(self, now: float) -> None:
        """Take in what the driver has written since the last tick."""
        orders = self._mailbox.take_orders()
        if orders is NOTHING:
            return
        if Request.STOP in orders.requests or Request.QUIT in orders.requests:
            self._quit = self._quit or Request.QUIT in orders.requests
            self._stopping = True
            self._controller.stop()
        ending = self._stopping or self._controller.mode is Mode.DAMP
        for request in orders.requests:
            if request is Request.START:
                self._mailbox.serve(request, self._mailbox.requested(request), ENDING if ending else "")
            elif request is Request.RECOVER:  # it is healthy
                self._mailbox.serve(request, self._mailbox.requested(request))
        self._begin_episode(orders)
        if orders.gains is not None:
            for event in self._controller.change_gains(orders.gains, now):
                self._mailbox.push_event(event)
        for reason in orders.refused:
            self._mailbox.push_event(Event(now, EventKind.SETPOINT_REJECTED, reason))
        for setpoint in orders.setpoints:
            for event in self._controller.command(setpoint, now):
                self._mailbox.push_event(event)

    # Both.

    def _begin_episode(self, orders: Orders) -> None:
        """Grant an episode's budget if asked to; a motion that starts later begins an episode anyway."""
        if Request.EPISODE in orders.requests:
            for event in self._controller.begin_episode():
                self._mailbox.push_event(event)

    def _measure(self, received: Any) -> tuple[ArmState, float]:
        """The measured state and the robot's success rate."""
        self._time = received.time.to_sec()
        state = ArmState(
            self._time,
            np.array(received.q),
            np.array(received.dq),
            np.array(received.tau_J),
            np.array(received.tau_J_d),
            np.array(received.O_F_ext_hat_K),
        )
        return state, received.control_command_success_rate

    def _publish(self, state: ArmState, success: float, received: float) -> None:
        """Publish ``state``, with the kinematics the model was last updated to."""
        model, controller = self._model, self._controller
        self._seq += 1
        pose = (model.translation, model.rotation)
        moving = self._mode in (Mode.TRACK, Mode.HOLD, Mode.DAMP)
        target = (controller.target_translation, controller.target_rotation) if moving else pose
        outlook = Outlook(target, self._mode, self._tank, self._budget, self._activity, success)
        self._mailbox.write_state(self._seq, state, received, (*pose, model.twist), outlook)

    def _record(self, state: ArmState, success: float, torque: np.ndarray, period: float, compute: float) -> None:
        """Append one tick to the telemetry."""
        self._scalars[:] = (state.time, period, compute, success, self._tank, self._budget, self._activity, self._mode)
        self._mailbox.push_telemetry(
            (
                self._scalars,
                torque,
                state.tau_J_d,
                state.q,
                state.dq,
                state.wrench,
                self._model.translation,
                self._controller.target_translation,
            )
        )


def _errors_of(received: Any) -> str:
    """The robot's own names for what is wrong, e.g. ``["joint_reflex"]``."""
    return str(received.current_errors if received.current_errors else received.last_motion_errors)


def runs_at_once() -> bool:
    """Whether this process runs as soon as it wakes up, whatever others compute."""
    return os.sched_getscheduler(0) == os.SCHED_FIFO


def claim_core(cores: Sequence[int]) -> int | None:
    """The last of ``cores`` that no other arm's loop has claimed, for this process's life; None: there is none.

    Loops of two arms on one core would have to wait for each other. A single core is nobody's.
    """
    for core in reversed(cores if len(cores) >= 2 else ()):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0robot_rl-loop-on-core-{core}")
        except OSError:
            claim.close()
            continue
        CLAIMS.append(claim)
        return core
    return None


def prefer_realtime(settings: RealtimeSettings) -> tuple[str, ...]:
    """Ask the system for what a 1 kHz loop likes to have; returns what it did not grant, in words."""
    refused = []
    cores = sorted(os.sched_getaffinity(0))
    cpu = settings.cpu if settings.cpu is not None else claim_core(cores)
    if cpu is None:
        refused.append(f"no core of its own: the machine has {len(cores)}, and other arms have theirs")
    else:
        try:
            os.sched_setaffinity(0, {cpu})
        except OSError as error:
            refused.append(f"pinning to core {cpu}: {error.strerror}")
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(settings.priority))
    except OSError as error:
        refused.append(f"SCHED_FIFO priority {settings.priority}: {error.strerror}")
    # Locking future pages under a finite limit would turn a later allocation into a crash.
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY and os.geteuid() != 0:
        refused.append("mlockall: RLIMIT_MEMLOCK is finite")
    elif ctypes.CDLL(None, use_errno=True).mlockall(MCL_CURRENT | MCL_FUTURE) != 0:
        refused.append(f"mlockall: {os.strerror(ctypes.get_errno())}")
    return tuple(refused)


def main() -> None:
    pipe, (descriptor,) = child_pipe()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = pipe.receive_settings(RealtimeSettings)
    try:
        process = RealtimeProcess(settings, Mailbox(descriptor))
        refused = prefer_realtime(settings)
        process.connect()
        process.warm_up()
    except HardwareError as error:
        pipe.send((FAILED, str(error)))
        sys.exit(1)
    except Exception as error:  # whatever it is, the driver must hear of it: pylibfranka's share no base class
        pipe.send((FAILED, f"the arm at {settings.address} refused control: {error}. {_advice(str(error))}"))
        sys.exit(1)
    signal.signal(signal.SIGTERM, process.stop_and_quit)
    pipe.send((READY, refused))
    process.run(refused)


def _advice(reason: str) -> str:
    if "version" in reason.lower():
        return "libfranka 0.18 and later need an FR3 with system version 5.9 or later."
    return "Unlock the joints and activate FCI in Desk, and end other programs that control the arm."


if __name__ == "__main__":
    main()
