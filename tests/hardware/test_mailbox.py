from __future__ import annotations

import mmap
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.spatial import Pose
from controllers.state import ArmState, Event, EventKind, Mode, Setpoint
from hardware.franka.mailbox import (
    DETAIL_BYTES,
    EVENT_CAPACITY,
    Mailbox,
    MailboxError,
    Request,
    Ring,
    SequencedRecord,
)
from tests.hardware.simulated import environment

WRITES = 20_000
WRITER = f"""
import sys
import numpy as np
from controllers.state import ArmState, Mode
from hardware.franka.mailbox import Mailbox

mailbox = Mailbox(int(sys.argv[1]))
for n in range(1, {WRITES} + 1):
    seven, six, three = np.full(7, float(n)), np.full(6, float(n)), np.full(3, float(n))
    state = ArmState(float(n), seven, seven, seven, seven, six)
    mailbox.write_state(n, state, 0.0, (three, np.eye(3), six), (three, np.eye(3)), Mode.TRACK, float(n), 1.0)
"""


@pytest.fixture
def mailbox():
    mailbox = Mailbox.create()
    yield mailbox
    mailbox.close()
    mailbox.close()


def write(mailbox: Mailbox, n: int, mode: Mode = Mode.TRACK) -> None:
    state = ArmState(
        n * 1e-3, np.full(7, n), np.full(7, n + 1), np.full(7, n + 2), np.full(7, n + 3), np.full(6, n + 4)
    )
    kinematics = (np.full(3, n + 5.0), np.eye(3), np.full(6, n + 6.0))
    mailbox.write_state(n, state, 7.0, kinematics, (np.full(3, n + 8.0), np.eye(3)), mode, 0.5, 0.99)


def test_state_arrives_as_written(mailbox: Mailbox) -> None:
    assert mailbox.read_state() is None
    write(mailbox, 3, Mode.HOLD)
    reading = mailbox.read_state()
    assert (reading.seq, reading.mode, reading.tank, reading.success_rate) == (3, Mode.HOLD, 0.5, 0.99)
    assert (reading.state.time, reading.received) == (0.003, 7.0)
    for values, expected in zip(reading.state[1:], (3, 4, 5, 6, 7), strict=True):
        np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(reading.pose.translation, 8)
    np.testing.assert_array_equal(reading.twist, 9)
    np.testing.assert_array_equal(reading.target.translation, 11)


def test_setpoint_and_requests_arrive_as_written(mailbox: Mailbox) -> None:
    version = mailbox.command_version
    pose = Pose(np.array([0.4, -0.1, 0.3]), np.array([0.0, 0.6, 0.0, 0.8]))
    mailbox.write_setpoint(Setpoint(pose, seq=12, duration=0.2))
    assert mailbox.request(Request.STOP) == 1
    assert mailbox.command_version != version
    command = mailbox.try_read_command()
    assert (command["setpoints"], command["seq"], command["duration"]) == (1, 12, 0.2)
    np.testing.assert_array_equal(command["translation"], pose.translation)
    np.testing.assert_array_equal(command["quat_xyzw"], pose.quat_xyzw)
    np.testing.assert_array_equal(command["requests"], [0, 1, 0, 0])


def test_answers_to_requests_carry_the_reason(mailbox: Mailbox) -> None:
    number = mailbox.request(Request.START)
    assert mailbox.served(Request.START) == (0, "")
    mailbox.serve(Request.START, number, "user stop is pressed")
    assert mailbox.served(Request.START) == (1, "user stop is pressed")
    mailbox.serve(Request.START, number + 1)
    assert mailbox.served(Request.START) == (2, "")


def test_half_written_record_is_an_error_not_a_torn_value() -> None:
    buffer = mmap.mmap(-1, 4096)
    record = SequencedRecord(buffer, 0, np.dtype([("a", "f8")]))
    record.begin()
    record.view("a")[0] = 1.0
    assert record.try_read() is None
    with pytest.raises(MailboxError, match="middle of a write"):
        record.read(timeout=0.01)
    record.end()
    assert record.read()["a"] == 1.0


def test_reader_never_sees_a_mixture_of_two_writes(mailbox: Mailbox) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(mailbox.descriptor)], pass_fds=(mailbox.descriptor,), env=environment()
    )
    try:
        seen = set()
        while writer.poll() is None or mailbox.read_state().seq < WRITES:
            reading = mailbox.read_state()
            if reading is None:
                continue
            n = float(reading.seq)
            seen.add(reading.seq)
            assert reading.state.time == n == reading.tank
            for values in (*reading.state[1:], reading.pose.translation, reading.twist, reading.target.translation):
                assert (values == n).all()
        assert writer.wait() == 0
        assert len(seen) > 1
    finally:
        writer.kill()
        writer.wait()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 20), max_size=12))
def test_ring_keeps_the_newest_in_order(batches: list[int]) -> None:
    capacity = 8
    ring = Ring(mmap.mmap(-1, 4096), 0, np.dtype([("n", "i8")]), capacity)
    written, position = 0, 0
    for batch in batches:
        for _ in range(batch):
            ring.append((written,))
            written += 1
        records, position = ring.since(position)
        # A record whose slot may be under overwriting is given up, hence one less than the capacity.
        assert records["n"].tolist() == list(range(written - min(batch, capacity - 1), written))
    assert position == written == ring.written


def test_events_come_once_in_order_with_long_reasons_cut(mailbox: Mailbox) -> None:
    mailbox.push_event(Event(0.5, EventKind.STARTED, "los geht's — ok"))
    mailbox.push_event(Event(0.6, EventKind.REFLEX, "ü" * 1000))
    first, second = mailbox.take_events()
    assert first == Event(0.5, EventKind.STARTED, "los geht's — ok")
    assert second.detail == "ü" * (DETAIL_BYTES // 2)
    assert mailbox.take_events() == ()
    for n in range(2 * EVENT_CAPACITY):
        mailbox.push_event(Event(float(n), EventKind.DAMPING, ""))
    assert [event.time for event in mailbox.take_events()][-1] == 2 * EVENT_CAPACITY - 1


def test_telemetry_is_a_table_by_name(mailbox: Mailbox) -> None:
    for n in range(3):
        mailbox.push_telemetry((n * 1e-3, 1e-3, 4e-5, 1.0, 2.0, 1.0, tuple(range(7))))
    table = mailbox.telemetry()
    np.testing.assert_allclose(table["time"], [0.0, 0.001, 0.002])
    np.testing.assert_array_equal(table["torque"][-1], range(7))
