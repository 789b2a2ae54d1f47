"""A force–torque sensor without its bias and its tool's weight: what touches the tool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hardware.device import Device
from hardware.force.drift import DriftWatch
from hardware.force.log import EventLog
from hardware.force.tool import Tool
from hardware.interfaces import ForceError, ForceEvent, ForceEventKind, ForceReading, ForceSensor


class CompensatedSensor(Device):
    """Another sensor with a tool on it.

    Args:
        sensor: what is read, not connected.
        tool: identified on this sensor, in its frame.
        rotation: the sensor's rotation ``(3, 3)`` in the base now, or None while it is not known.
        unloaded: nothing touches the tool now; by default nobody knows, and drift is not watched.
        drift: judges the readings of an unloaded sensor.

    Raises `ForceError` when the tool is of another frame.
    """

    def __init__(
        self,
        sensor: ForceSensor,
        tool: Tool,
        rotation: Callable[[], np.ndarray | None],
        unloaded: Callable[[], bool] = lambda: False,
        drift: DriftWatch | None = None,
    ) -> None:
        if tool.frame != sensor.frame:
            raise ForceError(
                f"force sensor {sensor.name!r} measures in {sensor.frame!r}, and the tool was identified in "
                f"{tool.frame!r}; identify it on this sensor: robot-rl calibrate tool"
            )
        self.name, self.frame = sensor.name, sensor.frame
        self._sensor, self._tool = sensor, tool
        self._rotation, self._unloaded = rotation, unloaded
        self._drift = drift if drift is not None else DriftWatch()
        self._log = EventLog()
        self._seq = -1

    def connect(self) -> None:
        self._log.clear()
        self._sensor.connect()

    def disconnect(self) -> None:
        self._sensor.disconnect()

    def read(self) -> ForceReading:
        """The newest reading, compensated. Raises `ForceError`, also while the sensor's rotation is not known."""
        reading = self._sensor.read()
        rotation = self._rotation()
        if rotation is None:
            raise ForceError(f"force sensor {self.name!r}: nobody knows how it is turned; is the arm connected?")
        wrench = self._tool.compensate(reading.wrench, rotation)
        if reading.seq != self._seq:
            self._seq = reading.seq
            drifted = self._drift.feed(wrench, self._unloaded(), reading.stamp)
            if drifted:
                detail = f"force sensor {self.name!r}: {drifted}"
                self._log.add(ForceEvent(reading.stamp, ForceEventKind.DRIFTED, detail))
        return replace(reading, wrench=wrench)

    def events(self) -> tuple[ForceEvent, ...]:
        return tuple(sorted((*self._sensor.events(), *self._log.take()), key=lambda event: event.stamp))

    def counts(self) -> dict[ForceEventKind, int]:
        return {**self._sensor.counts(), **self._log.counts()}
