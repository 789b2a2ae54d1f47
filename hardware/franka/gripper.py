"""The driver of the Franka Hand: a child process that talks to it, because every one of its commands blocks.

While a command blocks, only its own answer is awaited; the hand's states arrive all the same, on a socket of their own.
So the child forks after connecting: the *reader* takes states and nothing else, the *mover* carries out commands and
nothing else, on one connection. The driver's wishes and the reader's measurements are in shared memory, so that the
driver never waits for either.

libfranka closes the connection when no state has come for 1 s. That the hand is lost does not follow: the computer, or
the simulator, may have stood still. So the reader ends, and the mover connects again and goes on with what it was at.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from hardware.device import Device
from hardware.franka.hand import MAX_WIDTH
from hardware.franka.messages import MessagePipe
from hardware.franka.process import FAILED, GRIPPER_PORT, READY, ChildProcess, child_pipe, import_pylibfranka, probe
from hardware.franka.shared_memory import SequencedRecord
from hardware.interfaces import GripperReading, HardwareError

CONNECT_TIMEOUT = 20.0  # [s]
LOST_AFTER = 5.0  # [s] of connecting again in vain after which the hand counts as lost
READ_PERIOD = 0.01  # [s] between two readings
POLL_PERIOD = 0.01  # [s] between two looks at what the driver wishes, and whether it is still there
ARRIVED = 0.0005  # [m] a command this close to the present width needs no motion
HELD = 0.002  # [m] fingers this much wider than their target hold something

HAND = np.dtype([("width", "f8"), ("is_grasped", "u1")])  # [m]
# 0 at rest [s], [m], at the last rest, whether the hand gave up, 0 while connected [s].
MOTION = np.dtype([("since", "f8"), ("target", "f8"), ("grasped", "u1"), ("failed", "u1"), ("lost", "f8")])
WISH = np.dtype([("width", "f8")])  # [m]
MEMORY = mmap.PAGESIZE


@dataclass(frozen=True)
class GripperSettings:
    """Settings that the process is given at its start.

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
    the fingers move is carried out afterwards; of several, the latest. The width that `read` gives is at most a few
    hundredths of a second old, also while they move; whether they hold something is known once they rest.

    Args:
        address: of the robot.
        speed: of the fingers [m/s].
        force: to grasp with [N].
        patience: how much longer a motion may take than its stroke at that speed [s]; then it counts as stuck.
    """

    def __init__(self, address: str, *, speed: float = 0.1, force: float = 40.0, patience: float = 5.0) -> None:
        if not (0.0 < speed <= 0.2 and 0.0 < force <= 70.0):
            raise ValueError(f"gripper speed {speed} m/s and force {force} N; the hand takes up to 0.2 m/s and 70 N")
        if not patience > 0.0:
            raise ValueError(f"a gripper needs patience of more than 0 s, not {patience}")
        self._settings = GripperSettings(address, speed, force)
        self._timeout = MAX_WIDTH / speed + patience
        self._child: ChildProcess | None = None
        self._memory: _HandMemory | None = None

    @property
    def process_id(self) -> int:
        """Process id of the child. Raises `HardwareError` when not connected."""
        return self._running()[0].pid

    def connect(self) -> None:
        """Raises `ArmConnectionError`: nothing at the address, or no hand mounted."""
        self.disconnect()
        address = self._settings.address
        probe(address, GRIPPER_PORT, "Franka Hand")
        descriptor = os.memfd_create("robot_rl.gripper", os.MFD_CLOEXEC)
        try:
            os.ftruncate(descriptor, MEMORY)
            self._memory = _HandMemory(descriptor)
            self._child = ChildProcess("hardware.franka.gripper", self._settings, (descriptor,))
        finally:
            os.close(descriptor)
        try:
            self._child.wait_ready(CONNECT_TIMEOUT, f"the gripper at {address}")
            self._memory.begin()
        except HardwareError:
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
        """Go to ``width``, 0 closed – 1 open; never blocks.

        Raises:
            HardwareError: ``width`` is outside, the process has died, or the motion before is stuck.
        """
        if not 0.0 <= width <= 1.0:
            raise HardwareError(f"gripper width {width} is outside 0 (closed) – 1 (open)")
        child, memory = self._running()
        self._check(child, memory)
        memory.write_wish(width * MAX_WIDTH)

    def read(self) -> GripperReading:
        """The latest reading; never blocks.

        Raises:
            HardwareError: the process has died, the hand fell silent, or a motion does not come to its end, or not to
                its target.
        """
        child, memory = self._running()
        hand, motion = self._check(child, memory)
        if motion["failed"]:
            target, rest = float(motion["target"]) / MAX_WIDTH, float(hand["width"]) / MAX_WIDTH
            raise HardwareError(
                f"the gripper at {self._settings.address} gave up on its way to {target:.0%} and rests at {rest:.0%}: "
                f"see what is in its way, and command it again"
            )
        grasped = bool(motion["grasped"])
        if motion["since"] == 0.0:
            grasped = bool(hand["is_grasped"]) and hand["width"] > motion["target"] + HELD
        return GripperReading(min(max(float(hand["width"]) / MAX_WIDTH, 0.0), 1.0), grasped)

    def _check(self, child: ChildProcess, memory: _HandMemory) -> tuple[np.void, np.void]:
        """The hand's state and motion, or raise what is wrong with it."""
        address = self._settings.address
        if child.exit_code is not None or child.pipe.poll():
            raise self._failed(child)
        hand, motion = memory.look()
        now = time.monotonic()
        if 0.0 < float(motion["lost"]) < now - LOST_AFTER:
            raise HardwareError(
                f"the gripper at {address} fell silent and could not be reached again within {LOST_AFTER:.0f} s: see "
                f"that the hand is plugged in and the robot on, then connect again"
            )
        if 0.0 < float(motion["since"]) < now - self._timeout:
            raise HardwareError(
                f"the gripper at {address} has not reached {float(motion['target']) / MAX_WIDTH:.0%} within "
                f"{self._timeout:.1f} s: see whether it is stuck, home it in Desk, and connect again"
            )
        return hand, motion

    def _running(self) -> tuple[ChildProcess, _HandMemory]:
        if self._child is None or self._memory is None:
            raise HardwareError(f"the gripper at {self._settings.address} is not connected; call connect() first")
        return self._child, self._memory

    def _failed(self, child: ChildProcess) -> HardwareError:
        """The error that the process reported before it ended, or how it ended."""
        try:
            if child.pipe.poll():
                return HardwareError(child.pipe.receive()[1])
        except (EOFError, OSError):
            pass
        return HardwareError(
            f"the process of the gripper at {self._settings.address} {child.describe_exit()}; connect again"
        )


class _HandMemory:
    """The hand's latest state and the motion that is under way, for the driver; where it shall go, for the child."""

    def __init__(self, descriptor: int) -> None:
        buffer = mmap.mmap(descriptor, MEMORY)
        self.hand = SequencedRecord(buffer, 0, HAND)
        self.motion = SequencedRecord(buffer, MEMORY // 4, MOTION)
        self._wish = SequencedRecord(buffer, MEMORY // 2, WISH)
        self._wish_taken = 0
        self._hand, self._motion = np.zeros(1, HAND)[0], np.zeros(1, MOTION)[0]

    def begin(self) -> None:
        """Wait for the first state. Raises `MailboxError` when its writer stopped."""
        self._hand = self.hand.read(CONNECT_TIMEOUT)

    def look(self) -> tuple[np.void, np.void]:
        """The state and the motion, or what they were before when they are being written just now; never waits."""
        if (hand := self.hand.try_read()) is not None:
            _, self._hand = hand
        if (motion := self.motion.try_read()) is not None:
            _, self._motion = motion
        return self._hand, self._motion

    def write_lost(self, since: float) -> None:
        """The mover's: the connection is lost ``since`` [s], if it was not before; 0: it is there again."""
        motion = self.motion
        if since == 0.0 or motion.view("lost")[0] == 0.0:
            motion.begin()
            motion.view("lost")[0] = since
            motion.end()

    def write_wish(self, width: float) -> None:
        """The driver's: go to ``width`` [m], instead of what was wished for before and not yet begun."""
        self._wish.begin()
        self._wish.view("width")[0] = width
        self._wish.end()

    def take_wish(self) -> float | None:
        """The mover's: the newest wish [m], once."""
        found = self._wish.try_read() if self._wish.version != self._wish_taken else None
        if found is None:
            return None
        self._wish_taken, wish = found
        return float(wish["width"])


# The child process.


class ReaderEnded(Exception):
    """The reader gave the connection up, and with it the mover's."""


def report(memory: _HandMemory, state: Any) -> None:
    """Publish what the hand said."""
    hand = memory.hand
    hand.begin()
    hand.view("width")[0] = state.width
    hand.view("is_grasped")[0] = state.is_grasped
    hand.end()


def read_forever(hand: Any, memory: _HandMemory, mover: int) -> None:
    """The reader: publish states until process ``mover`` has ended. Raises pylibfranka's exceptions."""
    while os.getppid() == mover:
        report(memory, hand.read_once())
        time.sleep(READ_PERIOD)


@contextmanager
def reading(pipe: MessagePipe, hand: Any, memory: _HandMemory) -> Iterator[int]:
    """A reader while inside; its process id."""
    mover = os.getpid()
    reader = os.fork()
    if reader == 0:
        pipe.close()  # or the driver would not see that the mover has ended
        try:
            read_forever(hand, memory, mover)
        finally:
            os._exit(0)
    try:
        yield reader
    finally:
        os.kill(reader, signal.SIGKILL)
        os.waitpid(reader, 0)


def serve(pipe: MessagePipe, hand: Any, memory: _HandMemory, settings: GripperSettings, reader: int) -> None:
    """The mover: go on with a motion that was interrupted, then carry out the newest wish, until told to end.

    Raises pylibfranka's exceptions, and `ReaderEnded`.
    """
    motion = memory.motion
    if motion.view("since")[0] > 0.0:
        move(hand, memory, float(motion.view("target")[0]), settings)
    while not told_to_end(pipe):
        if os.waitid(os.P_PID, reader, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            raise ReaderEnded
        target = memory.take_wish()
        if target is not None:
            move(hand, memory, target, settings)


def told_to_end(pipe: MessagePipe) -> bool:
    """Whether the driver has said anything, or is gone; waits for it for `POLL_PERIOD`."""
    return pipe.poll(POLL_PERIOD)


def move(hand: Any, memory: _HandMemory, target: float, settings: GripperSettings) -> None:
    """Bring the fingers to ``target`` [m]; blocks until they rest. A grasp that meets nothing is no error."""
    latest, last = memory.look()
    width, held = float(latest["width"]), bool(latest["is_grasped"])
    again = held and abs(target - float(last["target"])) < ARRIVED  # it holds on by itself
    note = memory.motion
    note.begin()
    note.view("grasped")[0] = held and width > float(note.view("target")[0]) + HELD
    note.view("target")[0] = target
    note.view("since")[0] = 0.0 if again else time.monotonic()
    note.view("failed")[0] = False
    note.end()
    if again:
        return
    succeeded = True
    if target > width + ARRIVED:
        succeeded = hand.move(target, settings.speed)
    elif target < width - ARRIVED:
        hand.grasp(target, settings.speed, settings.force, epsilon_inner=MAX_WIDTH, epsilon_outer=MAX_WIDTH)
    rest, _ = memory.look()
    note.begin()
    note.view("since")[0] = 0.0
    note.view("failed")[0] = not succeeded and abs(float(rest["width"]) - target) > ARRIVED
    note.end()


def run(pipe: MessagePipe, memory: _HandMemory, settings: GripperSettings) -> None:
    """Connect, say so, and serve until told to end; connect again when the connection is lost.

    Raises pylibfranka's exceptions, `HardwareError`.
    """
    franka = import_pylibfranka()
    ready = False
    while True:
        try:
            hand = franka.Gripper(settings.address)
            report(memory, hand.read_once())
            memory.write_lost(0.0)
            with reading(pipe, hand, memory) as reader:
                if not ready:
                    pipe.send((READY, None))
                    ready = True
                serve(pipe, hand, memory, settings, reader)
            return
        except (franka.NetworkException, ReaderEnded):
            if not ready:
                raise
        memory.write_lost(time.monotonic())
        if told_to_end(pipe):
            return


def main() -> None:
    pipe, (descriptor,) = child_pipe()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = pipe.receive_settings(GripperSettings)
    try:
        run(pipe, _HandMemory(descriptor), settings)
    except (EOFError, OSError):
        pass  # the driver is gone
    except HardwareError as error:
        pipe.send((FAILED, str(error)))
        sys.exit(1)
    except Exception as error:  # pylibfranka's exceptions share no base class
        pipe.send((FAILED, f"the gripper at {settings.address} failed: {error}; is the hand mounted and homed?"))
        sys.exit(1)


if __name__ == "__main__":
    main()
