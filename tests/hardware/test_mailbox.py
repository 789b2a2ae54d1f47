from __future__ import annotations

import itertools
import mmap
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.impedance import ImpedanceGains
from controllers.spatial import Pose
from controllers.state import ArmState, Event, EventKind, JointSetpoint, Mode, Setpoint, WrenchSetpoint
from hardware.franka import shared_memory
from hardware.franka.mailbox import EVENT_CAPACITY, Mailbox, Outlook, Request
from hardware.franka.shared_memory import MailboxError, Ring, SequencedRecord
from hardware.franka.telemetry import DETAIL_BYTES
from tests.hardware.simulated import environment

READINGS = 1000  # of different writes that have to be seen whole
WRITER = """
import itertools
import sys
import time
import numpy as np
from controllers.state import ArmState, Mode
from hardware.franka.mailbox import Mailbox, Outlook

mailbox = Mailbox(int(sys.argv[1]))
for n in itertools.count(1):
    seven, six, three = np.full(7, float(n)), np.full(6, float(n)), np.full(3, float(n))
    state = ArmState(float(n), seven, seven, seven, seven, six)
    outlook = Outlook((three, np.eye(3)), Mode.TRACK, float(n), float(n), float(n), 1.0)
    mailbox.write_state(n, state, 0.0, (three, np.eye(3), six), outlook)
    time.sleep(1e-4)  # a loop has its period; without one a reader finds no time between two writes
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
    outlook = Outlook((np.full(3, n + 8.0), np.eye(3)), mode, 0.5, 12.0, 0.25, 0.99)
    mailbox.write_state(n, state, 7.0, kinematics, outlook)


def test_state_arrives_as_written(mailbox: Mailbox) -> None:
    assert mailbox.read_state() is None
    write(mailbox, 3, Mode.HOLD)
    reading = mailbox.read_state()
    assert (reading.seq, reading.mode, reading.tank, reading.success_rate) == (3, Mode.HOLD, 0.5, 0.99)
    assert (reading.budget, reading.activity, reading.fault) == (12.0, 0.25, "")
    assert (reading.state.time, reading.received) == (0.003, 7.0)
    for values, expected in zip(reading.state[1:], (3, 4, 5, 6, 7), strict=True):
        np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(reading.pose.translation, 8)
    np.testing.assert_array_equal(reading.twist, 9)
    np.testing.assert_array_equal(reading.target.translation, 11)


def test_mode_carries_why_and_a_new_measurement_keeps_it(mailbox: Mailbox) -> None:
    write(mailbox, 1)
    mailbox.write_mode(Mode.FAULT, 'reflex ["joint_reflex"]')
    write(mailbox, 2, Mode.FAULT)
    assert mailbox.read_state().fault == 'reflex ["joint_reflex"]'
    mailbox.write_mode(Mode.IDLE)
    assert (mailbox.read_state().mode, mailbox.read_state().fault) == (Mode.IDLE, "")


def test_orders_arrive_as_written_each_once(mailbox: Mailbox) -> None:
    assert mailbox.take_orders() == ((), (), None, ())
    pose = Pose(np.array([0.4, -0.1, 0.3]), np.array([0.0, 0.6, 0.0, 0.8]))
    gains = ImpedanceGains(translational_stiffness=321.0)
    mailbox.write_setpoint(WrenchSetpoint(np.arange(6.0), seq=3))
    mailbox.write_setpoint(JointSetpoint(np.arange(7.0), seq=13, duration=0.3))
    mailbox.write_setpoint(Setpoint(pose, seq=12, duration=0.2))
    mailbox.write_gains(gains)
    assert mailbox.request(Request.STOP) == 1
    assert mailbox.request(Request.EPISODE) == 1
    orders = mailbox.take_orders()
    assert orders.requests == (Request.STOP, Request.EPISODE)
    assert mailbox.requested(Request.STOP) == 1
    cartesian, joints, wrench = orders.setpoints
    assert (cartesian.seq, cartesian.duration) == (12, 0.2)
    np.testing.assert_array_equal(cartesian.pose.translation, pose.translation)
    np.testing.assert_array_equal(cartesian.pose.quat_xyzw, pose.quat_xyzw)
    assert (joints.seq, joints.duration) == (13, 0.3)
    np.testing.assert_array_equal(joints.q, np.arange(7.0))
    assert wrench.seq == 3
    np.testing.assert_array_equal(wrench.wrench, np.arange(6.0))
    assert orders.gains == gains
    assert mailbox.take_orders() == ((), (), None, ())


@pytest.mark.parametrize(
    "gains",
    [
        ImpedanceGains(),
        ImpedanceGains(
            translational_stiffness=(100.0, 200.0, 0.1 + 0.2),
            translational_damping=(30.0, 20.0, 1.0 / 3.0),
            inertial_damping=0.7,
        ),
    ],
)
def test_gains_arrive_as_they_are(mailbox: Mailbox, gains: ImpedanceGains) -> None:
    mailbox.write_gains(gains)
    assert mailbox.take_orders().gains == gains


def test_gains_that_became_invalid_on_the_way_are_refused(mailbox: Mailbox) -> None:
    gains = ImpedanceGains()
    object.__setattr__(gains, "rotational_clip", 1e3)
    mailbox.write_gains(gains)
    orders = mailbox.take_orders()
    assert orders.gains is None
    (refused,) = orders.refused
    assert refused.startswith("gains: ") and "rotational_clip" in refused


def test_newer_setpoint_replaces_only_one_of_its_kind(mailbox: Mailbox) -> None:
    mailbox.write_setpoint(WrenchSetpoint(np.ones(6), seq=1))
    for seq in (5, 6):
        mailbox.write_setpoint(Setpoint(Pose.identity(), seq))
    mailbox.write_setpoint(JointSetpoint(np.ones(7), seq=4))
    assert [(type(s), s.seq) for s in mailbox.take_orders().setpoints] == [
        (JointSetpoint, 4),
        (Setpoint, 6),
        (WrenchSetpoint, 1),
    ]


def test_array_of_the_wrong_shape_leaves_the_slot_whole(mailbox: Mailbox) -> None:
    mailbox.write_setpoint(JointSetpoint(np.ones(7), seq=1))
    for bad in (np.ones(6), 1.0):
        with pytest.raises(MailboxError, match="q of a joints command has shape"):
            mailbox.write_setpoint(JointSetpoint(bad, seq=2))
    assert [setpoint.seq for setpoint in mailbox.take_orders().setpoints] == [1]


def test_answers_to_requests_carry_the_reason(mailbox: Mailbox) -> None:
    number = mailbox.request(Request.START)
    assert mailbox.served(Request.START) == (0, "")
    mailbox.serve(Request.START, number, "user stop is pressed")
    assert mailbox.served(Request.START) == (1, "user stop is pressed")
    mailbox.serve(Request.START, number + 1)
    assert mailbox.served(Request.START) == (2, "")


def test_each_request_has_an_answer_of_its_own(mailbox: Mailbox) -> None:
    mailbox.serve(Request.START, 1, "user stop is pressed")
    mailbox.serve(Request.STOP, 1)
    assert mailbox.served(Request.START) == (1, "user stop is pressed")
    assert mailbox.served(Request.STOP) == (1, "")


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


def test_order_overtaken_between_look_and_copy_is_taken_once(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox.write_setpoint(WrenchSetpoint(np.ones(6), seq=1))
    copy = SequencedRecord.try_read

    def overtaken(record: SequencedRecord) -> tuple[int, np.void] | None:
        mailbox.write_setpoint(WrenchSetpoint(np.ones(6), seq=2))
        return copy(record)

    with monkeypatch.context() as patch:
        patch.setattr(SequencedRecord, "try_read", overtaken)
        (taken,) = mailbox.take_orders().setpoints
    assert taken.seq == 2
    assert mailbox.take_orders() == ((), (), None, ())


def test_reader_never_sees_a_mixture_of_two_writes(mailbox: Mailbox) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(mailbox.descriptor)], pass_fds=(mailbox.descriptor,), env=environment()
    )
    try:
        seen = set()
        while len(seen) < READINGS:
            assert writer.poll() is None
            reading = mailbox.read_state()
            if reading is None:
                continue
            n = float(reading.seq)
            seen.add(reading.seq)
            assert reading.state.time == n == reading.tank
            for values in (*reading.state[1:], reading.pose.translation, reading.twist, reading.target.translation):
                assert (values == n).all()
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
        scalars = np.array([n * 1e-3, 1e-3, 4e-5, 1.0, 2.0, 3.0, 4.0, 1.0])
        vectors = [np.full(size, 10.0 * k + n) for k, size in enumerate((7, 7, 7, 7, 6, 3, 3))]
        mailbox.push_telemetry((scalars, *vectors))
    table = mailbox.telemetry()
    np.testing.assert_allclose(table["time"], [0.0, 0.001, 0.002])
    assert (table["budget"] == 3.0).all()
    for k, name in enumerate(("torque", "tau_J_d", "q", "dq", "wrench", "translation", "target")):
        assert (table[name][-1] == 10.0 * k + 2).all()


def test_a_reader_that_was_held_up_takes_no_writer_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time leaps by a second at every look, as it does for a process that gets no processor."""
    record = SequencedRecord(mmap.mmap(-1, 4096), 0, np.dtype([("a", "f8")]))
    record.begin()
    now, looks = itertools.count(), itertools.count()

    def slept(seconds: float) -> None:
        if next(looks) == 5:
            record.view("a")[0] = 2.0
            record.end()

    monkeypatch.setattr(shared_memory, "time", SimpleNamespace(monotonic=lambda: float(next(now)), sleep=slept))
    assert record.read(timeout=0.2)["a"] == 2.0
