"""The shared memory between the arm driver and its real-time process: commands in, state, events and telemetry out.

Everything has a fixed layout and exactly one writer, so that neither side ever waits for the other:

- the command and the state are one record each under a *sequence lock*: the writer makes the version odd, writes, makes
  it even; a reader copies, and tries again when the version was odd or changed meanwhile. (This relies on stores
  becoming visible in order, as they do on x86.)
- events and telemetry are rings with a count of all records ever written; a reader that falls behind loses the oldest.

The memory is an anonymous file handed to the child as a descriptor. It has no name, so nothing is left behind however
either process ends.
"""

from __future__ import annotations

import enum
import mmap
import os
import time

import numpy as np

from controllers.spatial import Pose
from controllers.state import ArmState, Event, EventKind, Mode, Setpoint
from hardware.interfaces import ArmReading, HardwareError

EVENT_CAPACITY = 256
TELEMETRY_CAPACITY = 10_000  # 10 s at 1 kHz
DETAIL_BYTES = 240  # longest reason in utf-8


class MailboxError(HardwareError):
    """A record stayed half-written: its writer ended, or was stopped, in the middle of a write."""


class Request(enum.IntEnum):
    """What the driver asks of the real-time process; each counts up, and is served once per count."""

    START = 0
    STOP = 1
    RECOVER = 2
    QUIT = 3


COMMAND = np.dtype(
    [
        ("setpoints", "u8"),  # how many have been written; 0: none yet
        ("seq", "i8"),
        ("translation", "f8", 3),
        ("quat_xyzw", "f8", 4),
        ("duration", "f8"),
        ("requests", "u4", len(Request)),
    ]
)
STATE = np.dtype(
    [
        ("seq", "u8"),
        ("time", "f8"),
        ("received", "f8"),
        ("q", "f8", 7),
        ("dq", "f8", 7),
        ("tau_J", "f8", 7),
        ("tau_J_d", "f8", 7),
        ("wrench", "f8", 6),
        ("translation", "f8", 3),
        ("rotation", "f8", (3, 3)),
        ("twist", "f8", 6),
        ("target_translation", "f8", 3),
        ("target_rotation", "f8", (3, 3)),
        ("mode", "u1"),
        ("tank", "f8"),
        ("success_rate", "f8"),
        ("served", "u4", len(Request)),
        ("refusal", f"S{DETAIL_BYTES}"),  # why the last request was refused; empty when it was not
    ]
)
EVENT = np.dtype([("time", "f8"), ("kind", "u1"), ("detail", f"S{DETAIL_BYTES}")])
TELEMETRY = np.dtype(
    [
        ("time", "f8"),  # robot time [s]
        ("period", "f8"),  # wall time since the tick before [s]
        ("compute", "f8"),  # wall time from the state's arrival to the command's dispatch [s]
        ("success_rate", "f8"),
        ("tank", "f8"),  # [J]
        ("mode", "f8"),
        ("torque", "f8", 7),  # [N·m]
    ]
)


class SequencedRecord:
    """One record of ``dtype`` under a sequence lock, at ``offset`` in ``buffer``. One writer, any number of readers."""

    HEADER = 64  # the version on a cache line of its own

    def __init__(self, buffer: mmap.mmap, offset: int, dtype: np.dtype) -> None:
        self._version = memoryview(buffer)[offset : offset + 8].cast("Q")
        self._record = np.frombuffer(buffer, dtype, 1, offset + self.HEADER)

    @staticmethod
    def size(dtype: np.dtype) -> int:
        return SequencedRecord.HEADER + dtype.itemsize

    @property
    def version(self) -> int:
        """Changes with every write; odd while one is under way."""
        return self._version[0]

    def view(self, field: str) -> np.ndarray:
        """Writable view of one field, for the writer to fill between `begin` and `end`; scalars have shape ``(1,)``."""
        values = self._record[field]
        return values[0] if values.ndim > 1 else values

    def begin(self) -> None:
        self._version[0] = self._version[0] | 1

    def end(self) -> None:
        self._version[0] = (self._version[0] | 1) + 1

    def try_read(self) -> np.void | None:
        """A consistent copy of the record, or None when a write got in the way."""
        before = self._version[0]
        if before & 1:
            return None
        record = self._record.copy()
        return record[0] if self._version[0] == before else None

    def read(self, timeout: float = 0.2) -> np.void:
        """A consistent copy, trying again for at most ``timeout`` [s]. Raises `MailboxError`."""
        record = self.try_read()
        if record is not None:
            return record
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            time.sleep(20e-6)
            record = self.try_read()
            if record is not None:
                return record
        raise MailboxError("the real-time process stopped in the middle of a write; disconnect and connect again")


class Ring:
    """The last ``capacity`` records of ``dtype``, at ``offset`` in ``buffer``. One writer, any number of readers."""

    HEADER = 64

    def __init__(self, buffer: mmap.mmap, offset: int, dtype: np.dtype, capacity: int) -> None:
        self._capacity = capacity
        self._written = memoryview(buffer)[offset : offset + 8].cast("Q")
        self._records = np.frombuffer(buffer, dtype, capacity, offset + self.HEADER)

    @staticmethod
    def size(dtype: np.dtype, capacity: int) -> int:
        return Ring.HEADER + dtype.itemsize * capacity

    @property
    def written(self) -> int:
        """How many records were ever appended."""
        return self._written[0]

    def append(self, record: tuple) -> None:
        written = self._written[0]
        self._records[written % self._capacity] = record
        self._written[0] = written + 1

    def since(self, position: int) -> tuple[np.ndarray, int]:
        """Records from number ``position`` on, oldest first, and the position to go on from.

        What was overwritten, also while copying, is left out: a record is either returned whole or not at all.
        """
        end = self._written[0]
        start = max(position, end - self._capacity)
        records = self._records[np.arange(start, end) % self._capacity]
        # The writer may be filling the slot of number `written` now, which is that of `written - capacity`.
        lost = max(0, self._written[0] - self._capacity + 1 - start) if end > start else 0
        return records[lost:], end


def _aligned(size: int) -> int:
    return -(-size // 64) * 64


class Mailbox:
    """Both ends of the shared memory. Create it in the driver, attach to its ``descriptor`` in the child."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        buffer = mmap.mmap(descriptor, self._size())
        offset = 0
        self._command = SequencedRecord(buffer, offset, COMMAND)
        offset += _aligned(SequencedRecord.size(COMMAND))
        self._state = SequencedRecord(buffer, offset, STATE)
        offset += _aligned(SequencedRecord.size(STATE))
        self._events = Ring(buffer, offset, EVENT, EVENT_CAPACITY)
        offset += _aligned(Ring.size(EVENT, EVENT_CAPACITY))
        self._telemetry = Ring(buffer, offset, TELEMETRY, TELEMETRY_CAPACITY)
        self._events_read = 0
        self._state_views = {name: self._state.view(name) for name in STATE.names or ()}

    @staticmethod
    def create() -> Mailbox:
        descriptor = os.memfd_create("robot_rl.mailbox", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, Mailbox._size())
        return Mailbox(descriptor)

    @staticmethod
    def _size() -> int:
        return sum(
            _aligned(size)
            for size in (
                SequencedRecord.size(COMMAND),
                SequencedRecord.size(STATE),
                Ring.size(EVENT, EVENT_CAPACITY),
                Ring.size(TELEMETRY, TELEMETRY_CAPACITY),
            )
        )

    def close(self) -> None:
        """Give the descriptor back; safe to call twice. The memory goes when both sides have."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    # The driver's side.

    def write_setpoint(self, setpoint: Setpoint) -> None:
        command = self._command
        command.begin()
        command.view("seq")[0] = setpoint.seq
        command.view("translation")[:] = setpoint.pose.translation
        command.view("quat_xyzw")[:] = setpoint.pose.quat_xyzw
        command.view("duration")[0] = setpoint.duration
        command.view("setpoints")[0] += 1
        command.end()

    def request(self, request: Request) -> int:
        """Ask for ``request``; returns its number, which `served` reaches when it has been dealt with."""
        requests = self._command.view("requests")
        self._command.begin()
        requests[request] += 1
        self._command.end()
        return int(requests[request])

    def served(self, request: Request) -> tuple[int, str]:
        """How many of these requests have been dealt with, and why the latest was refused ("" when it was not)."""
        record = self._state.read()
        return int(record["served"][request]), bytes(record["refusal"]).decode("utf-8", "ignore")

    def read_state(self) -> ArmReading | None:
        """The latest reading, None before the first. Raises `MailboxError`."""
        if self._state.version == 0:
            return None
        record = self._state.read()
        if record["seq"] == 0:
            return None
        # Fields of a copied record are views into the copy, which nobody else holds.
        state = ArmState(
            float(record["time"]), record["q"], record["dq"], record["tau_J"], record["tau_J_d"], record["wrench"]
        )
        return ArmReading(
            seq=int(record["seq"]),
            state=state,
            pose=Pose.from_rotation(record["translation"], record["rotation"]),
            twist=record["twist"],
            target=Pose.from_rotation(record["target_translation"], record["target_rotation"]),
            mode=Mode(int(record["mode"])),
            tank=float(record["tank"]),
            success_rate=float(record["success_rate"]),
            received=float(record["received"]),
        )

    def take_events(self) -> tuple[Event, ...]:
        """Events since the last call, oldest first."""
        records, self._events_read = self._events.since(self._events_read)
        return tuple(
            Event(float(r["time"]), EventKind(int(r["kind"])), bytes(r["detail"]).decode("utf-8", "ignore"))
            for r in records
        )

    def telemetry(self) -> np.ndarray:
        """The last ticks as a structured array of `TELEMETRY`, oldest first."""
        return self._telemetry.since(0)[0]

    # The real-time process's side.

    @property
    def command_version(self) -> int:
        """Changes whenever the driver wrote something: cheap enough to look at in every tick."""
        return self._command.version

    def try_read_command(self) -> np.void | None:
        """The command block, None when the driver is writing just now: look again in the next tick."""
        return self._command.try_read()

    def write_state(
        self,
        seq: int,
        state: ArmState,
        received: float,
        kinematics: tuple[np.ndarray, np.ndarray, np.ndarray],
        target: tuple[np.ndarray, np.ndarray],
        mode: Mode,
        tank: float,
        success_rate: float,
    ) -> None:
        """Publish one measurement; ``kinematics`` is translation, rotation, twist; ``target`` translation, rotation."""
        views = self._state_views
        self._state.begin()
        views["seq"][0] = seq
        views["time"][0] = state.time
        views["received"][0] = received
        views["q"][:] = state.q
        views["dq"][:] = state.dq
        views["tau_J"][:] = state.tau_J
        views["tau_J_d"][:] = state.tau_J_d
        views["wrench"][:] = state.wrench
        views["translation"][:], views["rotation"][:], views["twist"][:] = kinematics
        views["target_translation"][:], views["target_rotation"][:] = target
        views["mode"][0] = mode
        views["tank"][0] = tank
        views["success_rate"][0] = success_rate
        self._state.end()

    def write_mode(self, mode: Mode) -> None:
        """Publish a change of mode when there is no new measurement to go with it."""
        self._state.begin()
        self._state_views["mode"][0] = mode
        self._state.end()

    def serve(self, request: Request, number: int, refusal: str = "") -> None:
        """Report that ``request`` has been dealt with up to ``number``."""
        self._state.begin()
        self._state_views["served"][request] = number
        self._state_views["refusal"][0] = _detail(refusal)
        self._state.end()

    def push_event(self, event: Event) -> None:
        self._events.append((event.time, int(event.kind), _detail(event.detail)))

    def push_telemetry(self, record: tuple) -> None:
        """Append one tick: a tuple in the order of `TELEMETRY`."""
        self._telemetry.append(record)


def _detail(text: str) -> bytes:
    return text.encode("utf-8")[:DETAIL_BYTES]
