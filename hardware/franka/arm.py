"""The driver of a Franka Research 3: the other end of the real-time process's mailbox."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from controllers.core import ControllerConfig
from controllers.impedance import ImpedanceGains
from controllers.state import AnySetpoint, Event
from hardware.device import Device
from hardware.franka.collision import CollisionThresholds
from hardware.franka.mailbox import Mailbox, Request
from hardware.franka.process import ROBOT_PORT, ChildProcess, probe
from hardware.franka.realtime import RealtimeSettings
from hardware.franka.shared_memory import MailboxError
from hardware.franka.telemetry import Telemetry, save_fault, save_telemetry, tell
from hardware.interfaces import ArmConnectionError, ArmFault, ArmReading, TelemetryError

CONNECT_TIMEOUT = 20.0  # [s]; the child's start, the connection and the warm-up
REQUEST_TIMEOUT = 5.0  # [s]; the longest regular answer is the damped end of a motion, about half a second
POLL_PERIOD = 0.001  # [s]


class FrankaArm(Device):
    """`hardware.interfaces.Arm` of the FR3 (or simulated FR3) at ``address``, torque-controlled at 1 kHz.

    Args:
        address: IP address or host name of the robot.
        controller: configuration of the control law, defaults when left out.
        collision: where the robot's own reflex stops the motion.
        cpu: core for the real-time process; None takes the last one, where there are two or more.
        dump_directory: where the last ten seconds of telemetry go on every fault (``fault-<time>.npz``) and at the end
            (``telemetry.npz``); see `hardware.franka.telemetry`. None: nowhere.

    After `connect`, ``realtime_report`` names in words what the system did not grant to the real-time process.
    """

    def __init__(
        self,
        address: str,
        controller: ControllerConfig | None = None,
        *,
        collision: CollisionThresholds | None = None,
        cpu: int | None = None,
        dump_directory: str | os.PathLike[str] | None = None,
    ) -> None:
        self.address = address
        self.realtime_report: tuple[str, ...] = ()
        self._settings = RealtimeSettings(
            address=address,
            controller=controller if controller is not None else ControllerConfig(),
            collision=collision if collision is not None else CollisionThresholds(),
            cpu=cpu,
            dump_directory=os.fspath(dump_directory) if dump_directory is not None else None,
        )
        self._mailbox: Mailbox | None = None
        self._child: ChildProcess | None = None
        self._death_recorded = False

    @property
    def process_id(self) -> int:
        """Process id of the real-time process. Raises `ArmFault` when not connected."""
        return self._running()[1].pid

    def connect(self) -> None:
        """Start the real-time process and wait for its first state.

        Raises:
            ArmConnectionError: nothing at the address, FCI not activated, control refused, bindings missing.
        """
        self.disconnect()
        probe(self.address, ROBOT_PORT, "Franka robot")
        self._death_recorded = False
        self._mailbox = Mailbox.create()
        self._child = ChildProcess("hardware.franka.realtime", self._settings, (self._mailbox.descriptor,))
        try:
            self.realtime_report = tuple(self._child.wait_ready(CONNECT_TIMEOUT, f"the arm at {self.address}"))
        except ArmConnectionError:
            self._child.end(patience=0.5)
            self._child = None
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """End any motion with damping, then the real-time process; safe to call twice.

        Telemetry that cannot be written is told of on stderr: whoever disconnects because of an error shall see that.
        """
        child, mailbox = self._child, self._mailbox
        self._child = self._mailbox = None
        if child is not None and mailbox is not None:
            mailbox.request(Request.QUIT)
            child.end(patience=REQUEST_TIMEOUT)
        if mailbox is not None:
            try:
                if self._settings.dump_directory is not None and len(mailbox.telemetry()) > 0:
                    save_telemetry(Path(self._settings.dump_directory) / "telemetry.npz", self._recorded(mailbox, ""))
            except TelemetryError as error:
                tell(error)
            finally:
                mailbox.close()

    def start(self) -> None:
        """Begin torque control, holding the measured pose. Setpoints given before are void.

        Raises:
            ArmFault: the arm needs recovery first, is being stopped, or refuses to move; the message says why. None
                begins later when it did not within `REQUEST_TIMEOUT`.
        """
        self._ask(Request.START)

    def stop(self) -> None:
        """End the motion with damping; returns when the arm is idle. Raises `ArmFault` when it does not."""
        self._ask(Request.STOP)

    def request_stop(self, reason: str = "") -> None:
        """Begin what `stop` does, and with a ``reason`` write the last ten seconds down.

        Raises:
            ArmFault: not connected.
            TelemetryError: the file cannot be written; the arm stops nevertheless.
        """
        self._running()[0].request(Request.STOP)
        if reason:
            self.dump(reason)

    def recover(self) -> None:
        """Clear a reflex, and reconnect when the connection was lost. Raises `ArmFault` when the arm refuses."""
        self._ask(Request.RECOVER)

    def begin_episode(self) -> None:
        """Grant the energy budget of a new episode. Never blocks. Raises `ArmFault` when not connected."""
        self._running()[0].request(Request.EPISODE)

    def change_gains(self, gains: ImpedanceGains) -> None:
        """Go over to other gains, ramped by the controller, for the present motion. Never blocks.

        Each motion begins with the configured gains; while none is active others are rejected, which `events` says.
        Raises `ArmFault` when not connected.
        """
        self._running()[0].write_gains(gains)

    def command(self, setpoint: AnySetpoint) -> None:
        """Hand over a setpoint; it replaces one of its kind not yet taken. Never blocks.

        Raises:
            ArmFault: not connected.
            MailboxError: an array of the wrong shape.
        """
        self._running()[0].write_setpoint(setpoint)

    def read(self) -> ArmReading:
        """The latest reading. Raises `ArmFault` when the real-time process has died."""
        mailbox, child = self._running()
        if child.exit_code is not None:
            raise self._died(child)
        try:
            reading = mailbox.read_state()
        except MailboxError as error:
            raise self._died(child) if child.exit_code is not None else ArmFault(str(error)) from error
        if reading is None:
            raise ArmFault(f"the arm at {self.address} has not sent a state yet; connect() again")
        return reading

    def events(self) -> tuple[Event, ...]:
        """Events since the last call, oldest first."""
        return self._running()[0].take_events()

    def telemetry(self) -> np.ndarray:
        """The last ten seconds of ticks, oldest first: a structured array of `hardware.franka.telemetry.TELEMETRY`."""
        return self._running()[0].telemetry()

    def dump(self, reason: str) -> Path | None:
        """Write the last ten seconds down, with the ``reason``; returns the file, None without a dump directory.

        Faults of the arm are written down without this; it is for those that only the caller knows of.

        Raises:
            ArmFault: not connected.
            TelemetryError: the file cannot be written.
        """
        mailbox, _ = self._running()
        if self._settings.dump_directory is None:
            return None
        return save_fault(self._settings.dump_directory, self._recorded(mailbox, reason))

    def _running(self) -> tuple[Mailbox, ChildProcess]:
        if self._mailbox is None or self._child is None:
            raise ArmFault(f"the arm at {self.address} is not connected; call connect() first")
        return self._mailbox, self._child

    def _recorded(self, mailbox: Mailbox, reason: str) -> Telemetry:
        return Telemetry(mailbox.telemetry(), mailbox.recent_events(), reason, tuple(self.realtime_report))

    def _died(self, child: ChildProcess) -> ArmFault:
        """The fault to raise; the telemetry, which has outlived its writer, is written down once."""
        reason = f"the real-time process of the arm at {self.address} {child.describe_exit()}"
        if not self._death_recorded:
            self._death_recorded = True
            try:
                self.dump(reason)
            except TelemetryError as error:
                tell(error)
        return ArmFault(f"{reason}; disconnect, see that the arm is at rest, and connect again")

    def _ask(self, request: Request) -> None:
        """Have the real-time process serve ``request``. Raises `ArmFault` when it refuses, dies or takes too long."""
        mailbox, child = self._running()
        number = mailbox.request(request)
        deadline = time.monotonic() + REQUEST_TIMEOUT
        while True:
            with suppress(MailboxError):  # of a process that died, or sleeps, in the middle of a write
                served, refusal = mailbox.served(request)
                if served == number:
                    break
            if child.exit_code is not None:
                raise self._died(child)
            if time.monotonic() > deadline:
                if request is Request.START:
                    mailbox.request(Request.STOP)  # voids it: no motion may begin that was given up
                raise ArmFault(
                    f"the arm at {self.address} did not {request.name.lower()} within {REQUEST_TIMEOUT:.0f} s"
                )
            time.sleep(POLL_PERIOD)
        if refusal:
            raise ArmFault(f"the arm at {self.address} did not {request.name.lower()}: {refusal}")
