"""A child process that measures what the real-time process would meet: how regularly it would run, and hear the arm."""

from __future__ import annotations

import gc
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from controllers.core import Controller
from controllers.state import JOINTS, TICK, ArmState, Setpoint
from hardware.franka.mailbox import Mailbox, Outlook
from hardware.franka.model import fr3_model
from hardware.franka.process import FAILED, READY, child_pipe, import_pylibfranka
from hardware.franka.realtime import RealtimeSettings, prefer_realtime
from hardware.franka.telemetry import TELEMETRY
from hardware.interfaces import HardwareError

WARM_UP = 1000  # ticks
SETPOINT_TICKS = 100  # between two setpoints
LEAD = 0.1  # [s] until the first tick
REST = np.array([0.0, -0.78, 0.0, -2.36, 0.0, 1.57, 0.78])  # joint positions to compute at [rad]


@dataclass(frozen=True)
class ProbeSettings:
    """The subject of a measurement.

    Attributes:
        realtime: of the process to stand in for; its ``address`` is listened to.
        listen: for how long to listen to the arm, without moving it [s]; 0: not at all.
        loop: for how long to run the control law on a timer [s]; 0: not at all.
    """

    realtime: RealtimeSettings
    listen: float
    loop: float


class ProbeReport(NamedTuple):
    """Result of a measurement.

    Attributes:
        refused: what the system did not grant to the process, in words.
        arrivals: wall time between two states of the arm ``(n,)`` [s].
        robot_steps: robot time between the same states ``(n,)`` [s].
        ticks: of the timer loop, of `hardware.franka.telemetry.TELEMETRY`; ``time`` counts the milliseconds that were
            due.
    """

    refused: tuple[str, ...]
    arrivals: np.ndarray
    robot_steps: np.ndarray
    ticks: np.ndarray


def listen(robot: Any, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Wall time and robot time between two consecutive states, for ``seconds``."""
    robot.read_once()
    moments: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while not moments or moments[-1][0] < end:
        state = robot.read_once()
        moments.append((time.perf_counter(), state.time.to_sec()))
    steps = np.diff(np.array(moments), axis=0)
    return steps[:, 0], steps[:, 1]


def timer_loop(settings: RealtimeSettings, seconds: float) -> np.ndarray:
    """The control law on a state at rest, with all that is read and written in a tick, a thousand times a second."""
    model = fr3_model()
    controller = Controller(model, settings.controller)
    mailbox = Mailbox.create()
    zeros = np.zeros(JOINTS)
    state = ArmState(0.0, REST, zeros, zeros, zeros, np.zeros(6))
    controller.start(state)
    count = round(seconds / TICK)
    records = np.zeros(WARM_UP + count, dtype=TELEMETRY)
    gc.collect()
    gc.freeze()
    gc.disable()
    due = before = time.perf_counter() + LEAD
    for number in range(WARM_UP + count):
        # A tick that is overrun is missed, as the robot does not wait either.
        late = int((time.perf_counter() - due) / TICK)
        due += max(late, 0) * TICK
        time.sleep(max(0.0, due - time.perf_counter()))
        arrival = time.perf_counter()
        state = state._replace(time=state.time + (1 + max(late, 0)) * TICK, q=REST + 0.0)
        mailbox.take_orders()
        if number % SETPOINT_TICKS == 0:
            controller.command(Setpoint(model.pose, number), state.time)
        tick = controller.tick(state)
        dispatched = time.perf_counter()
        target = (controller.target_translation, controller.target_rotation)
        outlook = Outlook(target, tick.mode, tick.tank, tick.budget, tick.activity, 1.0)
        mailbox.write_state(number, state, arrival, (model.translation, model.rotation, model.twist), outlook)
        record = records[number]
        record["time"], record["period"], record["compute"] = state.time, arrival - before, dispatched - arrival
        record["mode"], record["tank"] = tick.mode, tick.tank
        before = arrival
        due += TICK
    mailbox.close()
    return records[WARM_UP:]


def measure(settings: ProbeSettings) -> ProbeReport:
    """Raises `HardwareError` and pylibfranka's exceptions."""
    robot = None
    if settings.listen > 0.0:
        franka = import_pylibfranka()
        robot = franka.Robot(settings.realtime.address, franka.RealtimeConfig.kIgnore)
    refused = prefer_realtime(settings.realtime)
    arrivals, steps = listen(robot, settings.listen) if robot is not None else (np.zeros(0), np.zeros(0))
    ticks = timer_loop(settings.realtime, settings.loop) if settings.loop > 0.0 else np.zeros(0, dtype=TELEMETRY)
    return ProbeReport(refused, arrivals, steps, ticks)


def main() -> None:
    pipe, _ = child_pipe()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = pipe.receive_settings(ProbeSettings)
    try:
        report = measure(settings)
        pipe.send((READY, report.refused))
        pipe.send_arrays({"arrivals": report.arrivals, "robot_steps": report.robot_steps, "ticks": report.ticks})
    except HardwareError as error:
        pipe.send((FAILED, str(error)))
        sys.exit(1)
    except Exception as error:  # pylibfranka's exceptions share no base class
        pipe.send((FAILED, f"the arm at {settings.realtime.address} cannot be listened to: {error}"))
        sys.exit(1)


if __name__ == "__main__":
    main()
