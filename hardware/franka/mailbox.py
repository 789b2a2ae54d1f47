"""The shared memory between the arm driver and its real-time process: commands in, state, events and telemetry out.

Everything has a fixed layout and exactly one writer (`hardware.franka.shared_memory`). Each request of the driver has
a slot for each kind, so that none overwrites another: of two poses the newer counts, but a pose never takes the place
of a wrench or of gains. After each write the driver rings a bell, the one thing that the loop looks at in every tick.

The memory is an anonymous file handed to the child as a descriptor. It has no name, so nothing is left behind however
either process ends.
"""

from __future__ import annotations

import enum
import mmap
import os
from dataclasses import fields
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from controllers.gains import PER_AXIS, GainError, ImpedanceGains
from controllers.spatial import Pose, SpatialError
from controllers.state import JOINTS, AnySetpoint, ArmState, Event, JointSetpoint, Mode, Setpoint, WrenchSetpoint
from hardware.franka.shared_memory import FloatRing, MailboxError, Ring, SequencedRecord
from hardware.franka.telemetry import DETAIL_BYTES, EVENT, TELEMETRY, detail_to_bytes, events_from_records
from hardware.interfaces import ArmReading

EVENT_CAPACITY = 256
TELEMETRY_CAPACITY = 10_000  # 10 s at 1 kHz
BELL_SIZE = 64  # a cache line of its own


class Request(enum.IntEnum):
    """Requests of the driver to the real-time process; each counts up, and is served once per count."""

    START = 0
    STOP = 1
    RECOVER = 2
    QUIT = 3
    EPISODE = 4  # grant the energy budget of a new episode


REQUESTS = np.dtype([("counts", "u4", len(Request))])
POSE = np.dtype([("seq", "i8"), ("translation", "f8", 3), ("quat_xyzw", "f8", 4), ("duration", "f8")])
JOINT_TARGET = np.dtype([("seq", "i8"), ("q", "f8", JOINTS), ("duration", "f8")])
WRENCH = np.dtype([("seq", "i8"), ("wrench", "f8", 6)])
GAINS = np.dtype([(gain.name, "f8", 3 if gain.name in PER_AXIS else ()) for gain in fields(ImpedanceGains)])
STATE = np.dtype(
    [
        ("seq", "u8"),
        ("time", "f8"),
        ("received", "f8"),
        ("q", "f8", JOINTS),
        ("dq", "f8", JOINTS),
        ("tau_J", "f8", JOINTS),
        ("tau_J_d", "f8", JOINTS),
        ("wrench", "f8", 6),
        ("translation", "f8", 3),
        ("rotation", "f8", (3, 3)),
        ("twist", "f8", 6),
        ("target_translation", "f8", 3),
        ("target_rotation", "f8", (3, 3)),
        ("mode", "u1"),
        ("tank", "f8"),
        ("budget", "f8"),
        ("activity", "f8"),
        ("success_rate", "f8"),
        ("fault", f"S{DETAIL_BYTES}"),  # why the mode is FAULT or STOPPED
        ("served", "u4", len(Request)),
        ("refusals", f"S{DETAIL_BYTES}", len(Request)),  # why the last of each was refused; empty when it was not
    ]
)
RECORDS = {
    "requests": REQUESTS,
    "pose": POSE,
    "joints": JOINT_TARGET,
    "wrench": WRENCH,
    "gains": GAINS,
    "state": STATE,
}


class Orders(NamedTuple):
    """News from the driver since the real-time process last looked.

    Attributes:
        requests: new requests, in the order of `Request`.
        setpoints: at most one of each kind, in the order of their numbers.
        gains: to go over to, or None.
        refused: why something that was written cannot be taken, in words.
    """

    requests: tuple[Request, ...] = ()
    setpoints: tuple[AnySetpoint, ...] = ()
    gains: ImpedanceGains | None = None
    refused: tuple[str, ...] = ()


class Outlook(NamedTuple):
    """State of the controller that goes with a measurement.

    Attributes:
        target: reference of the spring, ``(3,)`` [m] and ``(3, 3)``.
        mode, tank, budget, activity: see `controllers.state.Tick`.
        success_rate: as the robot reports it.
    """

    target: tuple[np.ndarray, np.ndarray]
    mode: Mode
    tank: float
    budget: float
    activity: float
    success_rate: float


NOTHING = Orders()


def _aligned(size: int) -> int:
    return -(-size // 64) * 64


class Mailbox:
    """Both ends of the shared memory. Create it in the driver, attach to its ``descriptor`` in the child."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        buffer = mmap.mmap(descriptor, self._size())
        self._bell = memoryview(buffer)[:8].cast("Q")
        offset = BELL_SIZE
        self._records: dict[str, SequencedRecord] = {}
        for name, dtype in RECORDS.items():
            self._records[name] = SequencedRecord(buffer, offset, dtype)
            offset += _aligned(SequencedRecord.size(dtype))
        self._events = Ring(buffer, offset, EVENT, EVENT_CAPACITY)
        offset += _aligned(Ring.size(EVENT, EVENT_CAPACITY))
        self._telemetry = FloatRing(buffer, offset, TELEMETRY, TELEMETRY_CAPACITY)
        self._events_read = 0
        self._state = self._records["state"]
        self._state_views = {name: self._state.view(name) for name in STATE.names or ()}
        self._rings_seen = 0
        self._versions = dict.fromkeys(RECORDS, 0)
        self._requested = np.zeros(len(Request), dtype=np.uint32)

    @staticmethod
    def create() -> Mailbox:
        descriptor = os.memfd_create("robot_rl.mailbox", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, Mailbox._size())
        return Mailbox(descriptor)

    @staticmethod
    def _size() -> int:
        return (
            BELL_SIZE
            + sum(_aligned(SequencedRecord.size(dtype)) for dtype in RECORDS.values())
            + _aligned(Ring.size(EVENT, EVENT_CAPACITY))
            + _aligned(Ring.size(TELEMETRY, TELEMETRY_CAPACITY))
        )

    def close(self) -> None:
        """Give the descriptor back; safe to call twice. The memory goes when both sides have."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    # The driver's side.

    def write_setpoint(self, setpoint: AnySetpoint) -> None:
        """Put ``setpoint`` into the slot of its kind."""
        match setpoint:
            case Setpoint(pose, seq, duration):
                self._write("pose", seq=seq, translation=pose.translation, quat_xyzw=pose.quat_xyzw, duration=duration)
            case JointSetpoint(q, seq, duration):
                self._write("joints", seq=seq, q=q, duration=duration)
            case WrenchSetpoint(wrench, seq):
                self._write("wrench", seq=seq, wrench=wrench)

    def write_gains(self, gains: ImpedanceGains) -> None:
        """Put ``gains`` into their slot."""
        values = {name: np.asarray(value) for name, value in vars(gains).items()}
        self._write("gains", **{name: np.broadcast_to(value, GAINS[name].shape) for name, value in values.items()})

    def request(self, request: Request) -> int:
        """Ask for ``request``; returns its number, which `served` reaches when it has been dealt with."""
        counts = self._records["requests"].view("counts").copy()
        counts[request] += 1
        self._write("requests", counts=counts)
        return int(counts[request])

    def _write(self, slot: str, **fields: npt.ArrayLike) -> None:
        record = self._records[slot]
        views = {name: record.view(name) for name in fields}
        for name, value in fields.items():  # before it begins: a record must never stay half-written
            if np.shape(value) != (views[name].shape if views[name].size > 1 else ()):
                raise MailboxError(f"{name} of a {slot} command has shape {np.shape(value)}, not {views[name].shape}")
        record.begin()
        for name, value in fields.items():
            views[name][...] = value
        record.end()
        self._bell[0] += 1

    def served(self, request: Request) -> tuple[int, str]:
        """How many of these requests have been dealt with, and why the latest was refused ("" when it was not)."""
        record = self._state.read()
        return int(record["served"][request]), bytes(record["refusals"][request]).decode("utf-8", "ignore")

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
            budget=float(record["budget"]),
            activity=float(record["activity"]),
            fault=bytes(record["fault"]).decode("utf-8", "ignore"),
        )

    def take_events(self) -> tuple[Event, ...]:
        """Events since the last call, oldest first."""
        records, self._events_read = self._events.since(self._events_read)
        return events_from_records(records)

    def recent_events(self) -> tuple[Event, ...]:
        """The events that the ring still holds, oldest first, whether taken or not."""
        return events_from_records(self._events.since(0)[0])

    def telemetry(self) -> np.ndarray:
        """The last ticks as a structured array of `TELEMETRY`, oldest first."""
        return self._telemetry.since(0)[0]

    # The real-time process's side.

    def take_orders(self) -> Orders:
        """News from the driver since the last call; of each kind the newest."""
        rings = self._bell[0]
        if rings == self._rings_seen:
            return NOTHING
        # A slot that is being written just now is left for the next call: its bell is still to ring.
        self._rings_seen = rings
        requests: tuple[Request, ...] = ()
        if (record := self._changed("requests")) is not None:
            counts = record["counts"]
            requests = tuple(request for request in Request if counts[request] != self._requested[request])
            self._requested[:] = counts
        setpoints: list[AnySetpoint] = []
        refused: list[str] = []
        if (record := self._changed("pose")) is not None:
            try:
                pose = Pose(record["translation"], record["quat_xyzw"])
                setpoints.append(Setpoint(pose, int(record["seq"]), float(record["duration"])))
            except SpatialError as error:
                refused.append(f"setpoint {int(record['seq'])}: {error}")
        if (record := self._changed("joints")) is not None:
            joints = JointSetpoint(record["q"], int(record["seq"]), float(record["duration"]))
            setpoints.append(joints)
            setpoints.sort(key=lambda setpoint: setpoint.seq)  # poses and joint positions share their numbers
        if (record := self._changed("wrench")) is not None:
            setpoints.append(WrenchSetpoint(record["wrench"], int(record["seq"])))
        gains = None
        if (record := self._changed("gains")) is not None:
            try:
                gains = ImpedanceGains(**{name: record[name].tolist() for name in GAINS.fields or ()})
            except GainError as error:
                refused.append(f"gains: {error}")
        return Orders(requests, tuple(setpoints), gains, tuple(refused))

    def requested(self, request: Request) -> int:
        """How often ``request`` had been made when orders were last taken."""
        return int(self._requested[request])

    def _changed(self, slot: str) -> np.void | None:
        """The content of a slot that was written since it was last looked at, else None."""
        record = self._records[slot]
        found = record.try_read() if record.version != self._versions[slot] else None
        if found is None:
            return None
        self._versions[slot], content = found
        return content

    def write_state(
        self,
        seq: int,
        state: ArmState,
        received: float,
        kinematics: tuple[np.ndarray, np.ndarray, np.ndarray],
        outlook: Outlook,
    ) -> None:
        """Publish one measurement; ``kinematics`` is translation, rotation and twist."""
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
        views["target_translation"][:], views["target_rotation"][:] = outlook.target
        views["mode"][0] = outlook.mode
        views["tank"][0] = outlook.tank
        views["budget"][0] = outlook.budget
        views["activity"][0] = outlook.activity
        views["success_rate"][0] = outlook.success_rate
        self._state.end()

    def write_mode(self, mode: Mode, fault: str = "") -> None:
        """Publish a change of mode, with the reason for a FAULT or STOPPED."""
        self._state.begin()
        self._state_views["mode"][0] = mode
        self._state_views["fault"][0] = detail_to_bytes(fault)
        self._state.end()

    def serve(self, request: Request, number: int, refusal: str = "") -> None:
        """Report that ``request`` has been dealt with up to ``number``."""
        self._state.begin()
        self._state_views["served"][request] = number
        self._state_views["refusals"][request] = detail_to_bytes(refusal)
        self._state.end()

    def push_event(self, event: Event) -> None:
        self._events.append((event.time, int(event.kind), detail_to_bytes(event.detail)))

    def push_telemetry(self, parts: tuple[np.ndarray, ...]) -> None:
        """Append one tick: arrays that hold the fields of `TELEMETRY` one after the other."""
        self._telemetry.append_parts(parts)
