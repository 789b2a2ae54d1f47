"""The arm's own estimate of the wrench on its tool centre point, as a force–torque sensor."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np

from controllers.spatial import Pose
from hardware.device import Device
from hardware.force.log import EventLog
from hardware.interfaces import ArmReading, ForceError, ForceEvent, ForceEventKind, ForceReading

FRAME = "fr3_hand_tcp"


class ArmWrench(NamedTuple):
    """The arm's estimate at one instant.

    Attributes:
        seq: rises with every new measurement.
        time: robot time [s].
        pose: TCP in the base frame.
        wrench: ``(6,)`` [N, N·m] on the TCP, base axes.
        received: `time.monotonic()` [s].
        fault: why the arm has stopped; "" otherwise.
    """

    seq: int
    time: float
    pose: Pose
    wrench: np.ndarray
    received: float
    fault: str = ""

    @classmethod
    def of(cls, reading: ArmReading) -> Self:
        """The part of a driver's reading."""
        state = reading.state
        return cls(reading.seq, state.time, reading.pose, state.wrench, reading.received, reading.fault)


class ArmForceSensor(Device):
    """Wrench that the arm estimates from its joint torques, in the axes of the tool centre point.

    What the arm knows of its load (in Desk, for a Franka) is taken off already; what it does not know, and its bias,
    is in the readings. The stamp is robot time.

    Args:
        name: the sensor's name in messages.
        source: the arm's newest estimate, or None while there is none; never waits.
        frame: name of the tool centre point's frame.
        timeout: age of a reading [s] at which `read` gives up.
        clock: steady time [s], as that of the readings.
    """

    def __init__(
        self,
        name: str,
        source: Callable[[], ArmWrench | None],
        frame: str = FRAME,
        timeout: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not timeout > 0.0:
            raise ValueError(f"timeout={timeout} s of force sensor {name!r} must be positive")
        self.name = name
        self.frame = frame
        self._source = source
        self._timeout = timeout
        self._clock = clock
        self._label = f"force sensor {name!r} (the arm's estimate)"
        self._log = EventLog()
        self._connected = self._silent = False

    def connect(self) -> None:
        """Raises `ForceError` when there is no reading of the arm yet."""
        if self._connected:
            return
        if self._source() is None:
            raise ForceError(f"{self._label} has no reading of the arm; is the arm connected?")
        self._log.clear()
        self._connected, self._silent = True, False

    def disconnect(self) -> None:
        self._connected = False

    def read(self) -> ForceReading:
        """The newest reading; does not wait for it. Raises `ForceError` when the arm has fallen silent."""
        if not self._connected:
            raise ForceError(f"{self._label} is not connected; call connect() first")
        reading, now = self._source(), self._clock()
        if reading is None:
            raise self._silence(0.0, "has no reading of the arm")
        if now - reading.received > self._timeout:
            raise self._silence(reading.time, f"is {now - reading.received:.2f} s old; is the arm running?")
        self._silent = False
        turn = reading.pose.rotation.T
        force, moment = turn @ reading.wrench[:3], turn @ reading.wrench[3:]
        wrench = np.concatenate((force, moment))
        if not np.isfinite(wrench).all():
            raise ForceError(f"{self._label} is not finite: {wrench}")
        return ForceReading(reading.seq, wrench, self.frame, reading.time, reading.received, status=reading.fault)

    def events(self) -> tuple[ForceEvent, ...]:
        return self._log.take()

    def counts(self) -> dict[ForceEventKind, int]:
        return self._log.counts()

    def _silence(self, stamp: float, words: str) -> ForceError:
        text = f"{self._label} {words}"
        if not self._silent:
            self._log.add(ForceEvent(stamp, ForceEventKind.SILENT, text, 0))
        self._silent = True
        return ForceError(text)
