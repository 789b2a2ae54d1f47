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
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from controllers.core import Controller, ControllerConfig
from controllers.spatial import Pose, SpatialError
from controllers.state import ArmState, Event, EventKind, Mode, Setpoint
from hardware.franka.collision import CollisionThresholds
from hardware.franka.mailbox import Mailbox, Request
from hardware.franka.model import fr3_model
from hardware.franka.process import FAILED, READY, ROBOT_PORT, child_pipe, import_pylibfranka, probe
from hardware.interfaces import HardwareError

WARM_UP_TICKS = 3000  # covers tracking, holding and damping out
WARM_UP_TRACKING = 500
IDLE_PERIOD = 0.004  # pause between two states while idle [s]
PARENT_CHECK_TICKS = 50
MCL_CURRENT, MCL_FUTURE = 1, 2  # <sys/mman.h>


@dataclass(frozen=True)
class RealtimeSettings:
    """What the process is told at its start.

    Attributes:
        address: of the robot.
        controller: configuration of the control law.
        collision: thresholds of the robot's reflex.
        cpu: core to run on; None leaves the choice to the system, or takes the last one of four or more.
        priority: SCHED_FIFO priority to ask for.
        dump_directory: where the telemetry goes on a fault, as .npz; None: nowhere.
    """

    address: str
    controller: ControllerConfig
    collision: CollisionThresholds = field(default_factory=CollisionThresholds)
    cpu: int | None = None
    priority: int = 80
    dump_directory: str | None = None


class RealtimeProcess:
    """The loop and what it needs; all of it preallocated before control begins."""

    def __init__(self, settings: RealtimeSettings, mailbox: Mailbox) -> None:
        self._settings = settings
        self._mailbox = mailbox
        self._franka = import_pylibfranka()
        self._errors = (self._franka.FrankaException, RuntimeError)  # most of Franka's derive from the latter alone
        self._model = fr3_model()
        self._controller = Controller(self._model, settings.controller)
        self._parent = os.getppid()
        self._robot: Any = None
        self._connected = False
        self._mode = Mode.IDLE
        self._tank = 0.0
        self._seq = 0
        self._time = 0.0
        self._version = -1
        self._setpoints = 0
        self._requested = np.zeros(len(Request), dtype=np.uint32)
        self._quit = False

    def connect(self) -> None:
        """Open the connection and warm every code path. Raises pylibfranka's exceptions, `HardwareError`."""
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
            moment = state._replace(time=state.time + cycle * 1e-3)
            if cycle < WARM_UP_TRACKING and cycle % 50 == 0:
                controller.command(Setpoint(self._model.pose, cycle), moment.time)
            tick = controller.tick(moment)
            self._franka.Torques(tick.torque.tolist())
            self._publish(state, success, time.monotonic())
            if tick.finished:
                return

    def run(self) -> None:
        """Serve requests until asked to quit or the parent is gone."""
        while not self._quit and os.getppid() == self._parent:
            if self._mode is not Mode.FAULT or self._connected:
                self._idle_tick()
            time.sleep(IDLE_PERIOD)
            self._serve_requests()

    def stop_and_quit(self, *_: object) -> None:
        """End the motion, then the process; also the handler of SIGTERM."""
        self._quit = True
        self._controller.stop()

    # Idle.

    def _idle_tick(self) -> None:
        try:
            received = self._robot.read_once()
        except self._errors as error:
            self._connected = False
            self._fault(f"connection lost: {error}")
            return
        state, success = self._measure(received)
        self._model.update(state.q, state.dq)
        self._publish(state, success, time.monotonic())

    def _serve_requests(self) -> None:
        """Requests while no motion is active."""
        command = self._changed_command()
        if command is None:
            return
        # Whatever was commanded while no motion was active is void.
        self._setpoints = int(command["setpoints"])
        for request in self._new_requests(command):
            number = int(self._requested[request])
            if request is Request.START:
                self._start(number)
            elif request is Request.RECOVER:
                self._mailbox.serve(request, number, self._recover())
            elif request is Request.STOP:
                self._mailbox.serve(request, number)
            else:
                self._quit = True

    def _start(self, number: int) -> None:
        if self._mode is Mode.FAULT:
            self._mailbox.serve(Request.START, number, "the arm has stopped by itself; recover it first")
            return
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            self._control(number)
            if self._controller.mode is Mode.FAULT:
                self._fault("the robot reported a state that is not finite")
            else:
                self._set_idle()
        except self._errors as error:
            self._connected = not isinstance(error, self._franka.NetworkException)
            if self._mailbox.served(Request.START)[0] != number:
                self._mailbox.serve(Request.START, number, str(error))
            self._fault(str(error))
        finally:
            gc.enable()
            gc.unfreeze()
        # The motion is over, however it ended.
        if self._mailbox.served(Request.STOP)[0] != self._requested[Request.STOP]:
            self._mailbox.serve(Request.STOP, int(self._requested[Request.STOP]))

    def _recover(self) -> str:
        """Clear the fault; why not, when it cannot be cleared."""
        try:
            if not self._connected:
                probe(self._settings.address, ROBOT_PORT, "Franka robot")
                self._robot = None
                self.connect()
            self._robot.automatic_error_recovery()
        except self._errors as error:
            return str(error)
        self._set_idle()
        return ""

    def _set_idle(self) -> None:
        self._mode = Mode.IDLE
        self._mailbox.write_mode(Mode.IDLE)

    def _fault(self, reason: str) -> None:
        if self._mode is Mode.FAULT:
            return
        self._mode = Mode.FAULT
        self._mailbox.write_mode(Mode.FAULT)
        self._mailbox.push_event(Event(self._time, EventKind.REFLEX, reason))
        if self._settings.dump_directory is not None:
            directory = Path(self._settings.dump_directory)
            directory.mkdir(parents=True, exist_ok=True)
            name = time.strftime("fault-%Y%m%d-%H%M%S.npz")
            np.savez(directory / name, telemetry=self._mailbox.telemetry(), reason=np.array(reason))

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
        started = False
        ticks = 0
        while True:
            for event in self._take_command(state.time):
                mailbox.push_event(event)
            ticks += 1
            if ticks % PARENT_CHECK_TICKS == 0 and os.getppid() != self._parent:
                self._quit = True  # the watchdog brings the arm to rest
            tick = controller.tick(state)
            torques = torques_type(tick.torque.tolist())
            torques.motion_finished = tick.finished
            control.writeOnce(torques)
            dispatched = time.perf_counter()
            self._mode, self._tank = tick.mode, tick.tank
            for event in tick.events:
                mailbox.push_event(event)
            self._publish(state, success, time.monotonic())
            mailbox.push_telemetry(
                (
                    state.time,
                    arrival - last_arrival,
                    dispatched - arrival,
                    success,
                    tick.tank,
                    float(tick.mode),
                    tuple(tick.torque),
                )
            )
            if not started:
                mailbox.serve(Request.START, number)
                started = True
            if tick.finished:
                break
            received, _ = control.readOnce()
            last_arrival, arrival = arrival, time.perf_counter()
            state, success = self._measure(received)

    def _take_command(self, now: float) -> tuple[Event, ...]:
        """Take in what the driver has written since the last tick."""
        command = self._changed_command()
        if command is None:
            return ()
        for request in self._new_requests(command):
            if request in (Request.STOP, Request.QUIT):
                self._quit = self._quit or request is Request.QUIT
                self._controller.stop()
            else:  # already running, and healthy
                self._mailbox.serve(request, int(self._requested[request]))
        if command["setpoints"] == self._setpoints:
            return ()
        self._setpoints = int(command["setpoints"])
        try:
            pose = Pose(command["translation"], command["quat_xyzw"])
        except SpatialError as error:
            return (Event(now, EventKind.SETPOINT_REJECTED, str(error)),)
        return self._controller.command(Setpoint(pose, int(command["seq"]), float(command["duration"])), now)

    # Both.

    def _changed_command(self) -> np.void | None:
        version = self._mailbox.command_version
        if version == self._version:
            return None
        command = self._mailbox.try_read_command()
        if command is not None:
            self._version = version
        return command

    def _new_requests(self, command: np.void) -> list[Request]:
        requests = [request for request in Request if command["requests"][request] != self._requested[request]]
        self._requested[:] = command["requests"]
        return requests

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
        self._mailbox.write_state(
            seq=self._seq,
            state=state,
            received=received,
            kinematics=(*pose, model.twist),
            target=(controller.target_translation, controller.target_rotation) if moving else pose,
            mode=self._mode,
            tank=self._tank,
            success_rate=success,
        )


def prefer_realtime(settings: RealtimeSettings) -> tuple[str, ...]:
    """Ask the system for what a 1 kHz loop likes to have; returns what it did not grant, in words."""
    refused = []
    cores = sorted(os.sched_getaffinity(0))
    cpu = settings.cpu if settings.cpu is not None else cores[-1] if len(cores) >= 4 else None
    if cpu is None:
        refused.append(f"no core of its own: the machine has {len(cores)}")
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
    settings: RealtimeSettings = pipe.recv()
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
    process.run()


def _advice(reason: str) -> str:
    if "version" in reason.lower():
        return "libfranka 0.18 and later need an FR3 with system version 5.9 or later."
    return "Unlock the joints and activate FCI in Desk, and end other programs that control the arm."


if __name__ == "__main__":
    main()
