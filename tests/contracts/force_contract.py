"""Contract of a force–torque sensor. A driver's test subclasses it and provides the sensor and its load."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

import numpy as np
import pytest

from hardware.interfaces import ForceError, ForceEventKind, ForceReading, ForceSensor

LOAD = np.array([1.0, 2.0, 3.0, 0.1, 0.2, 0.3])  # [N, N·m]
PATIENT, HASTY = 30.0, 0.5  # [s]


class ForceContract(ABC):
    """Subclasses provide a sensor in the frame ``tool`` that measures `LOAD`, and a way to silence it."""

    NAME = "wrist"
    FRAME = "tool"
    NOISE = 1e-4  # greatest difference [N, N·m] of a measurement from `LOAD`

    @abstractmethod
    def sensor(self, timeout: float = PATIENT) -> ForceSensor:
        """A sensor called `NAME` in `FRAME`, not connected, that can be."""

    @abstractmethod
    def absent(self) -> ForceSensor:
        """A sensor that is not there, of the same name."""

    @abstractmethod
    def measure(self) -> None:
        """Let the connected sensor measure `LOAD` once more."""

    @abstractmethod
    def silence(self) -> None:
        """From now on the sensor measures nothing, until `measure` is called again."""

    def pass_time(self, seconds: float) -> None:
        """Let so much time [s] pass in which nobody reads."""
        time.sleep(seconds)

    def connected(self, timeout: float = PATIENT) -> AbstractContextManager[ForceSensor]:
        return self.sensor(timeout)  # type: ignore[return-value]

    def reading(self, sensor: ForceSensor) -> ForceReading:
        """A reading that is newer than all before."""
        self.measure()
        return sensor.read()

    def test_it_is_a_force_sensor(self) -> None:
        sensor = self.sensor()
        assert isinstance(sensor, ForceSensor)
        assert (sensor.name, sensor.frame) == (self.NAME, self.FRAME)

    def test_an_absent_sensor_is_named(self) -> None:
        with pytest.raises(ForceError, match=self.NAME):
            self.absent().connect()

    def test_reading_needs_a_connection(self) -> None:
        with pytest.raises(ForceError, match=f"{self.NAME}.*connect"):
            self.sensor().read()

    def test_a_reading_is_a_wrench_in_the_declared_frame(self) -> None:
        with self.connected() as sensor:
            reading = self.reading(sensor)
        assert reading.frame == self.FRAME
        assert reading.status == ""
        assert not reading.saturated
        np.testing.assert_allclose(reading.wrench, LOAD, atol=self.NOISE)

    def test_a_reading_cannot_be_changed(self) -> None:
        with self.connected() as sensor:
            wrench = self.reading(sensor).wrench
        with pytest.raises(ValueError, match="read-only"):
            wrench[0] = 0.0

    def test_numbers_and_stamps_rise(self) -> None:
        with self.connected() as sensor:
            first, second = self.reading(sensor), None
            while second is None or second.seq == first.seq:
                second = self.reading(sensor)
        assert second.seq > first.seq
        assert second.stamp > first.stamp
        assert second.received >= first.received

    def test_a_good_stream_has_no_events(self) -> None:
        with self.connected() as sensor:
            self.reading(sensor)
            assert sensor.events() == ()
            assert sensor.counts() == {}

    def test_silence_is_an_error_and_an_event_and_never_zeros(self) -> None:
        with self.connected(HASTY) as sensor:
            self.reading(sensor)
            self.silence()
            read = []
            with pytest.raises(ForceError, match=self.NAME):
                for _ in range(100_000):
                    read.append(sensor.read().wrench)
            assert all(wrench.any() for wrench in read)
            assert ForceEventKind.SILENT in [event.kind for event in sensor.events()]
            assert ForceEventKind.SILENT in sensor.counts()

    def test_who_reads_late_gets_nothing_of_the_past(self) -> None:
        with self.connected(HASTY) as sensor:
            self.measure()
            self.silence()
            self.pass_time(2.0 * HASTY)
            with pytest.raises(ForceError, match=self.NAME):
                sensor.read()

    def test_a_sensor_that_measures_again_is_read_again(self) -> None:
        with self.connected(HASTY) as sensor:
            self.silence()
            with pytest.raises(ForceError):
                for _ in range(100_000):
                    sensor.read()
            for _ in range(100):
                try:
                    assert self.reading(sensor).wrench.any()
                    return
                except ForceError:
                    continue  # the device needs its time
        pytest.fail("it was never read again")

    def test_it_disconnects_twice_and_connects_again(self) -> None:
        sensor = self.sensor()
        for _ in range(2):
            sensor.connect()
            assert self.reading(sensor).wrench.any()
            sensor.disconnect()
            sensor.disconnect()
        with pytest.raises(ForceError, match="connect"):
            sensor.read()
