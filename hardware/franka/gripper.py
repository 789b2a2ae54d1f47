"""The driver of the Franka Hand: a child process that talks to it, because every one of its commands blocks."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from hardware.device import Device
from hardware.franka.process import FAILED, READY, ChildProcess, child_pipe, import_pylibfranka, probe
from hardware.interfaces import ArmConnectionError, GripperReading, HardwareError

GRIPPER_PORT = 1338
STROKE = 0.08  # [m] between the fingers when open
CONNECT_TIMEOUT = 10.0  # [s]
IDLE_PERIOD = 0.02  # [s] between two readings at rest
ARRIVED = 0.0005  # [m] a command this close to the present width needs no motion
HELD = 0.002  # [m] fingers this much wider than their target hold something


@dataclass(frozen=True)
class GripperSettings:
    """What the process is told at its start.

    Attributes:
        address: of the robot.
        speed: of the fingers [m/s].
        force: to grasp with [N].
    """

    address: str
    speed: float = 0.1
    force: float = 40.0


class FrankaGripper(Device):
    """`hardware.interfaces.Gripper` of the Franka Hand at ``address``.

    Closing grasps with ``force`` [N]: the fingers stop at whatever they meet and hold it. A command that comes while
    the fingers move is carried out afterwards; of several, the latest. While they move, `read` gives the width at
    which they started.
    """

    def __init__(self, address: str, *, speed: float = 0.1, force: float = 40.0) -> None:
        if not (0.0 < speed <= 0.2 and 0.0 < force <= 70.0):
            raise ValueError(f"gripper speed {speed} m/s and force {force} N; the hand takes up to 0.2 m/s and 70 N")
        self._settings = GripperSettings(address, speed, force)
        self._child: ChildProcess | None = None
        self._reading: GripperReading | None = None

    def connect(self) -> None:
        """Raises `ArmConnectionError`: nothing at the address, or no hand mounted."""
        self.disconnect()
        address = self._settings.address
        probe(address, GRIPPER_PORT, "Franka Hand")
        self._child = ChildProcess("hardware.franka.gripper", self._settings)
        try:
            self._reading = self._child.wait_ready(CONNECT_TIMEOUT, f"the gripper at {address}")
        except ArmConnectionError:
            self._child.end(patience=0.5)
            self._child = None
            raise

    def disconnect(self) -> None:
        """Leave the fingers where they are; safe to call twice."""
        child, self._child = self._child, None
        if child is not None:
            try:
                child.pipe.send(None)
                patience = 3.0
            except OSError:
                patience = 0.0
            child.end(patience)

    def command(self, width: float) -> None:
        """Go to ``width``, 0 closed – 1 open. Raises `HardwareError` when outside, or when the process has died."""
        if not 0.0 <= width <= 1.0:
            raise HardwareError(f"gripper width {width} is outside 0 (closed) – 1 (open)")
        child = self._running()
        try:
            child.pipe.send(float(width))
        except OSError as error:
            raise self._died(child) from error

    def read(self) -> GripperReading:
        """The latest reading. Raises `HardwareError` when the gripper's process has died or lost the hand."""
        child = self._running()
        try:
            while child.pipe.poll():
                verdict, report = child.pipe.recv()
                if verdict == FAILED:
                    raise HardwareError(report)
                self._reading = report
        except (EOFError, OSError) as error:
            raise self._died(child) from error
        if self._reading is None:
            raise HardwareError(
                f"the gripper at {self._settings.address} has reported nothing yet; call connect() first"
            )
        return self._reading

    def _running(self) -> ChildProcess:
        if self._child is None:
            raise HardwareError(f"the gripper at {self._settings.address} is not connected; call connect() first")
        return self._child

    def _died(self, child: ChildProcess) -> HardwareError:
        return HardwareError(
            f"the process of the gripper at {self._settings.address} {child.describe_exit()}; connect again"
        )


# The child process.


def serve(pipe: Connection, hand: Any, settings: GripperSettings) -> None:
    """Carry out the newest command and report readings until the pipe says ``None`` or closes."""
    holding_from = 0.0  # [m] the last target: fingers that stopped wider than that hold something
    while True:
        target: float | None = None
        if pipe.poll(IDLE_PERIOD):
            # Commands that piled up during a motion: only the newest counts.
            while pipe.poll():
                message = pipe.recv()
                if message is None:
                    return
                target = message * STROKE
        if target is not None:
            move(hand, target, settings)
            holding_from = target
        pipe.send((READY, reading(hand, holding_from)))


def move(hand: Any, target: float, settings: GripperSettings) -> None:
    """Bring the fingers to ``target`` [m]; blocks until they rest. A grasp that meets nothing is no error."""
    width = hand.read_once().width
    if target > width + ARRIVED:
        hand.move(target, settings.speed)
    elif target < width - ARRIVED:
        hand.grasp(target, settings.speed, settings.force, epsilon_inner=STROKE, epsilon_outer=STROKE)


def reading(hand: Any, target: float = 0.0) -> GripperReading:
    """What the hand reports; its grasp tolerance is the whole stroke, so that the width decides whether it holds."""
    state = hand.read_once()
    holds = bool(state.is_grasped) and state.width > target + HELD
    return GripperReading(min(max(state.width / STROKE, 0.0), 1.0), holds)


def main() -> None:
    pipe, _ = child_pipe()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings: GripperSettings = pipe.recv()
    try:
        hand = import_pylibfranka().Gripper(settings.address)
        pipe.send((READY, reading(hand)))
        serve(pipe, hand, settings)
    except (EOFError, OSError):
        return  # the driver is gone
    except HardwareError as error:
        pipe.send((FAILED, str(error)))
        sys.exit(1)
    except Exception as error:  # pylibfranka's exceptions share no base class
        pipe.send((FAILED, f"the gripper at {settings.address} failed: {error}; is the hand mounted and homed?"))
        sys.exit(1)


if __name__ == "__main__":
    main()
