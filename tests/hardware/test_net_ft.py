"""ATI's Net F/T against a byte-exact server of ours."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from hardware.force import make_force_sensor, rdt
from hardware.force.ati import NetFT
from hardware.interfaces import ForceError, ForceEventKind, ForceReading
from tests.hardware.net_ft_server import ADDRESS, NetFTServer, record

START = bytes.fromhex("1234 0002 00000000")
STOP = bytes.fromhex("1234 0000 00000000")
BIAS = bytes.fromhex("1234 0042 00000000")
ONE_NEWTON = (1_000_000, 0, 0, 0, 0, 0)
SATURATED = 0x8002_0000  # as ATI's manual has it: the bit, and that there is any


@pytest.fixture
def server() -> Iterator[NetFTServer]:
    with NetFTServer() as server:
        yield server


def connect(server: NetFTServer, timeout: float = 30.0) -> NetFT:
    sensor = NetFT("wrist", ADDRESS, timeout=timeout, **server.ports)
    sensor.connect()
    return sensor


def read_until(sensor: NetFT, first: float) -> ForceReading:
    """The reading with this force along x [N], after all that came before it."""
    while True:
        reading = sensor.read()
        if reading.wrench[0] == pytest.approx(first):
            return reading


def kinds(sensor: NetFT) -> list[tuple[ForceEventKind, int]]:
    return [(event.kind, event.readings) for event in sensor.events()]


def test_requests_are_those_of_the_manual(server: NetFTServer) -> None:
    with connect(server) as sensor:
        server.requested(START)
        sensor.set_bias()
        server.requested(BIAS)
    server.requested(STOP)


def test_a_record_is_that_of_the_manual() -> None:
    data = bytes.fromhex("00000001 00000a0b 80020000 000f4240 fff0bdc0 00000000 7fffffff 80000000 ffffffff")
    assert data == record(1, 0xA0B, SATURATED, (10**6, -(10**6), 0, 2**31 - 1, -(2**31), -1))
    assert rdt.parse(data) == (1, 0xA0B, SATURATED, (10**6, -(10**6), 0, 2**31 - 1, -(2**31), -1))
    assert rdt.parse(data[:-1]) is None
    assert rdt.parse(data + b"\0") is None


def test_the_calibration_is_read_from_the_device(server: NetFTServer) -> None:
    server.page = server.make_page("lbf", "lbf-in")
    with connect(server) as sensor:
        server.measure((10**6, 0, 0, 0, 0, 999_999))
        wrench = read_until(sensor, 4.4482216).wrench
    np.testing.assert_allclose(wrench, [4.4482216, 0, 0, 0, 0, 0.1129848], rtol=1e-6)


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (NetFTServer.make_page(force="stone"), "unit of force 'stone'; choose from N, kN"),
        (NetFTServer.make_page(torque="N-ell"), "unit of torque 'N-ell'; choose from Nm"),
        (NetFTServer.make_page(rdt="Disabled"), "RDT is switched off; enable it"),
        ("<netft></netft>", "counts per force and torque"),
        (NetFTServer.make_page().replace("999999", "0"), "counts_per_torque=0 must be positive"),
        ("<netft>", "is no XML"),
    ],
)
def test_a_page_that_does_not_fit_is_refused_by_name(server: NetFTServer, page: str, message: str) -> None:
    server.page = page
    with pytest.raises(ForceError, match=f"'wrist'.*{message}"):
        connect(server)


def test_a_given_calibration_needs_no_page(server: NetFTServer) -> None:
    settings = {"counts_per_force": 1000.0, "counts_per_torque": 500.0, "rdt_port": server.ports["rdt_port"]}
    with NetFT("wrist", ADDRESS, timeout=30.0, http_port=1, **settings) as sensor:
        server.measure((1000, 0, 0, 0, 0, 1000))
        assert read_until(sensor, 1.0).wrench[5] == pytest.approx(2.0)
    with pytest.raises(ForceError, match="both counts_per_force and counts_per_torque"):
        NetFT("wrist", ADDRESS, counts_per_force=1.0)


def test_lost_doubled_and_reordered_records_are_named_and_counted(server: NetFTServer) -> None:
    with connect(server) as sensor:
        for position in (2, 5, 5, 3, 6):  # 3 and 4 are lost, 5 comes twice, 3 comes after all
            server.send(record(position, 1000 + position, 0, (position * 10**6, 0, 0, 0, 0, 0)))
        read_until(sensor, 6.0)
        assert kinds(sensor) == [
            (ForceEventKind.LOST, 2),
            (ForceEventKind.REPEATED, 1),
            (ForceEventKind.REORDERED, 1),
        ]
        server.send(record(107, 2000, 0, (7 * 10**6, 0, 0, 0, 0, 0)))
        read_until(sensor, 7.0)
        assert sensor.counts()[ForceEventKind.LOST] == 102
        (event,) = sensor.events()
        assert "'wrist'" in event.detail
        assert "100 records lost before number 107" in event.detail


def test_an_old_record_is_never_handed_out(server: NetFTServer) -> None:
    with connect(server) as sensor:
        for position in (9, 4, 3):
            server.send(record(position, 1000 + position, 0, (position * 10**6, 0, 0, 0, 0, 0)))
        server.send(record(10, 1010, 0, ONE_NEWTON))
        seen: list[float] = []
        while not seen or seen[-1] != 1.0:
            seen.append(float(sensor.read().wrench[0]))
    assert not {3.0, 4.0} & set(seen)


@pytest.mark.parametrize(
    ("ratings", "counts", "status"),
    [
        ("", (5 * 10**6, 0, 0, 0, 0, 0), SATURATED),
        ("", (5 * 10**6, 0, 0, 0, -(2**31), 0), 0),
        ("5;5;10;1;1;1", (5 * 10**6, 0, 0, 0, 0, 0), 0),
    ],
    ids=["said by the device", "as much as a record can say", "at the rated load"],
)
def test_saturation_is_an_event_and_in_the_reading(
    server: NetFTServer, ratings: str, counts: Sequence[int], status: int
) -> None:
    server.page = server.make_page(ratings=ratings)
    with connect(server) as sensor:
        server.measure(counts, status)
        assert read_until(sensor, 5.0).saturated
        server.measure(counts, status)
        server.measure(ONE_NEWTON)
        assert not read_until(sensor, 1.0).saturated
        assert kinds(sensor) == [(ForceEventKind.SATURATED, 1)]


def test_a_fault_of_the_device_is_named_and_no_reading(server: NetFTServer) -> None:
    with connect(server) as sensor:
        sensor.read()
        server.measure(ONE_NEWTON, 0x8000_0020)
        with pytest.raises(ForceError, match=r"'wrist'.*status 0x80000020: analog board's supply too low"):
            sensor.read()
        server.measure(ONE_NEWTON)
        server.requested(START)
        read = []
        while not read:
            try:
                read.append(sensor.read())
            except ForceError:
                continue
        assert kinds(sensor) == [(ForceEventKind.FAULT, 1)]


def test_a_monitor_condition_of_the_user_is_no_fault(server: NetFTServer) -> None:
    with connect(server) as sensor:
        server.measure(ONE_NEWTON, 0x8001_0000)
        reading = read_until(sensor, 1.0)
        assert "monitor condition" in reading.status
        assert not reading.saturated


def test_a_measurement_that_is_sent_again_and_again_is_silence(server: NetFTServer) -> None:
    with connect(server, timeout=0.5) as sensor:
        sensor.read()
        server.answers = False  # or a sensor that is asked again measures anew
        for position in range(2, 6):
            server.send(record(position, 7, 0, ONE_NEWTON))
        with pytest.raises(ForceError, match="measured nothing new"):
            while True:
                sensor.read()
        assert (ForceEventKind.FROZEN, 1) in kinds(sensor)


def test_a_device_that_was_switched_off_and_on_is_asked_again(server: NetFTServer) -> None:
    with connect(server, timeout=0.5) as sensor:
        sensor.read()
        with pytest.raises(ForceError, match="nothing new"):
            server.answers = False
            while True:
                sensor.read()
        server.requested(START, START)
        server.counts, server.answers = ONE_NEWTON, True
        server.requested(START)
        read_again = False
        while not read_again:
            try:
                read_again = bool(sensor.read().wrench[0] == pytest.approx(1.0))
            except ForceError:
                continue
        assert ForceEventKind.RESTARTED not in sensor.counts()


def test_no_thread_is_left_behind(server: NetFTServer) -> None:
    before = threading.active_count()
    with connect(server):
        assert threading.active_count() > before
    assert threading.active_count() == before


def test_drivers_are_made_by_name() -> None:
    sensor = make_force_sensor("ati", "wrist", "10.0.0.7", timeout=0.2)
    assert (sensor.name, sensor.frame) == ("wrist", "wrist_frame")
    with pytest.raises(ForceError, match=r"ati, bota, or module:Class; did you mean 'ati'"):
        make_force_sensor("atti", "wrist")
    with pytest.raises(ForceError, match=r"'wrist' cannot be made by 'ati'.*volume"):
        make_force_sensor("ati", "wrist", volume=11)
    with pytest.raises(ValueError, match="timeout=0"):
        make_force_sensor("ati", "wrist", timeout=0)
