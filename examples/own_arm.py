"""An arm of one's own: seven joints that take torques, behind whatever its maker calls them by.

    python -m examples.own_arm

drives `FreeArm`, a frictionless FR3 that stands in for it, through the square of drive_the_arm.py. `OwnArm` is the
driver: `controllers.core` in the maker's 1 kHz loop, and `hardware.interfaces.Arm` around it (docs/YOUR_ARM.md).

One Python thread holds 1 kHz only while nothing else runs in the process. `hardware.franka` has the loop in a process
of its own, behind shared memory: where cameras, ROS or a learner are beside it, do as it does.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
import pinocchio as pin

from controllers.config import ControllerConfig
from controllers.core import Controller
from controllers.gains import ImpedanceGains
from controllers.model import ArmModel
from controllers.spatial import Pose
from controllers.state import JOINTS, TICK, AnySetpoint, ArmState, Event, EventKind, Mode, Tick
from examples.drive_the_arm import run
from hardware.device import Device
from hardware.franka.model import fr3_model
from hardware.interfaces import ArmConnectionError, ArmFault, ArmReading, HardwareError

CONNECT_TIMEOUT, STOP_TIMEOUT = 2.0, 3.0  # [s]
READY_Q = np.array([0.0, -0.785398, 0.0, -2.356194, 0.0, 1.570796, 0.785398])

Each = Callable[[ArmState], "np.ndarray | None"]


class Bus(Protocol):
    """The maker's side.

    Attributes:
        fault: why the arm has stopped by itself, in words; "" while it has not.
    """

    fault: str

    def open(self, each: Each) -> None:
        """Call ``each`` every millisecond with what was measured, perhaps from another thread. It returns the torques
        ``(7,)`` [N·m] to be realised on top of gravity, or None: the arm holds itself. Raises OSError."""

    def close(self) -> None:
        """Hold the arm, and call no more."""

    def clear(self) -> None:
        """Try to clear the fault."""

    def wait(self) -> None:
        """Let a millisecond pass."""


class OwnArm(Device):
    """`hardware.interfaces.Arm` of the arm behind ``bus``, which ``model`` describes."""

    def __init__(self, bus: Bus, model: ArmModel, controller: ControllerConfig) -> None:
        self._bus, self._model = bus, model
        self._controller = Controller(model, controller)
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._state: ArmState | None = None
        self._received = 0.0
        self._seq = 0
        self._running = False
        self._fault = ""  # of the last measurement
        self._tick: Tick | None = None

    def connect(self) -> None:
        """Raises `ArmConnectionError` when the arm says nothing."""
        self.disconnect()
        try:
            self._bus.open(self._each)
        except OSError as error:
            raise ArmConnectionError(f"the arm's bus cannot be opened: {error}; is the arm switched on?") from error
        for _ in range(round(CONNECT_TIMEOUT / TICK)):
            if self._state is not None:
                return
            self._bus.wait()
        self._bus.close()
        raise ArmConnectionError(f"the arm said nothing within {CONNECT_TIMEOUT:g} s; check its cable and power")

    def disconnect(self) -> None:
        if self._state is not None:
            self.stop()
            self._bus.close()
            self._state = None

    def start(self) -> None:
        """Hold the measured pose. Raises `ArmFault` for an arm that needs `recover` first."""
        with self._lock:
            state = self._measured()
            if self._fault:
                raise ArmFault(f"{self._fault}; call recover() first")
            if not self._running:
                self._events.extend(self._controller.start(state))
                self._running = True

    def stop(self) -> None:
        self.request_stop()
        for _ in range(round(STOP_TIMEOUT / TICK)):
            if not self._running:
                return
            self._bus.wait()
        raise ArmFault(f"the arm did not come to rest within {STOP_TIMEOUT:g} s; press its own stop button")

    def request_stop(self, reason: str = "") -> None:
        with self._lock:
            if self._running:
                self._controller.stop()

    def recover(self) -> None:
        """Clear a fault. Raises `ArmFault` when it stays."""
        with self._lock:
            state = self._measured()
            self._bus.clear()
            if self._bus.fault:
                raise ArmFault(f"{self._bus.fault}; look at the arm, and recover() again")
            if self._fault:
                self._events.append(Event(state.time, EventKind.RECOVERED, f"cleared: {self._fault}"))
                self._fault = ""

    def begin_episode(self) -> None:
        with self._lock:
            self._events.extend(self._controller.begin_episode())

    def command(self, setpoint: AnySetpoint) -> None:
        with self._lock:
            self._events.extend(self._controller.command(setpoint, self._measured().time))

    def change_gains(self, gains: ImpedanceGains) -> None:
        with self._lock:
            self._events.extend(self._controller.change_gains(gains, self._measured().time))

    def read(self) -> ArmReading:
        with self._lock:
            state, tick = self._measured(), self._tick
            self._model.update(state.q, state.dq)
            pose, controller = self._model.pose, self._controller
            moving = Pose.from_rotation(controller.target_translation, controller.target_rotation)
            mode = controller.mode if self._running else Mode.IDLE
            return ArmReading(
                seq=self._seq,
                state=state,
                pose=pose,
                twist=self._model.twist.copy(),
                target=moving if self._running else pose,
                mode=Mode.FAULT if self._fault else mode,
                tank=controller.tank.level,
                success_rate=1.0,  # the share of ticks that came in time, if the bus tells
                received=self._received,
                budget=tick.budget if tick else 0.0,
                activity=tick.activity if tick else 0.0,
                fault=self._fault,
            )

    def events(self) -> tuple[Event, ...]:
        with self._lock:
            events, self._events = tuple(self._events), []
        return events

    def _each(self, state: ArmState) -> np.ndarray | None:
        """One millisecond of the arm."""
        with self._lock:
            self._state, self._received, self._seq = state, time.monotonic(), self._seq + 1
            if self._bus.fault and not self._fault:
                self._fault, self._running = self._bus.fault, False
                self._events.append(Event(state.time, EventKind.REFLEX, self._fault))
            if not self._running:
                return None
            self._tick = tick = self._controller.tick(state)
            self._events.extend(tick.events)
            self._running = not tick.finished
            return tick.torque if self._running else None

    def _measured(self) -> ArmState:
        if self._state is None:
            raise ArmFault("the arm is not connected; call connect() first")
        return self._state


class FreeArm:
    """A `Bus` with a rigid body model without friction as its arm; a millisecond passes when somebody waits for one."""

    def __init__(self, model: ArmModel) -> None:
        self.fault = ""
        self._model, self._data = model.pinocchio, model.pinocchio.createData()
        self._q, self._dq, self._torque = READY_Q.copy(), np.zeros(JOINTS), np.zeros(JOINTS)
        self._time = 0.0
        self._each: Each | None = None

    def open(self, each: Each) -> None:
        self._each = each

    def close(self) -> None:
        self._each = None

    def clear(self) -> None:
        self.fault = ""

    def wait(self) -> None:
        if self._each is None:
            return
        self._time += TICK
        state = ArmState(self._time, self._q.copy(), self._dq.copy(), self._torque, self._torque, np.zeros(6))
        torque = self._each(state)
        self._torque = np.zeros(JOINTS) if torque is None else torque
        if torque is None:  # brakes
            self._dq[:] = 0.0
            return
        gravity = pin.computeGeneralizedGravity(self._model, self._data, self._q)
        self._dq += TICK * pin.aba(self._model, self._data, self._q, self._dq, torque + gravity)
        self._q += TICK * self._dq

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.wait()


def main() -> None:
    try:
        bus = FreeArm(fr3_model())
        with OwnArm(bus, fr3_model(), ControllerConfig()) as arm:
            run(arm, bus.advance)
    except HardwareError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
