"""Base of sensors that send by themselves: a thread takes everything in and keeps only the newest reading.

A queue would hand out its oldest reading first: whoever reads more slowly than the device sends would feel the past.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import abstractmethod

import numpy as np

from hardware.device import Device
from hardware.force.log import EventLog
from hardware.interfaces import ForceError, ForceEvent, ForceEventKind, ForceReading

LOGGER = logging.getLogger(__name__)
JOIN_TIMEOUT = 10.0  # [s]
PATIENCE = 4.0  # times the timeout that the first reading may take


class StreamedSensor(Device):
    """A sensor whose readings arrive in a thread.

    Subclasses open the device, listen to it until they are told to stop, and hand over what they hear.

    Args:
        name: the sensor's name in messages.
        frame: name of the frame of its readings; ``<name>_frame`` when "".
        device: how messages name the device.
        timeout: `read` gives up after this time without a new reading [s].
    """

    def __init__(self, name: str, frame: str, device: str, timeout: float) -> None:
        if not timeout > 0.0:
            raise ValueError(f"timeout={timeout} s of force sensor {name!r} must be positive")
        self.name = name
        self.frame = frame or f"{name}_frame"
        self._label = f"force sensor {name!r} ({device})"
        self._timeout = timeout
        self._log = EventLog()
        self._changed = threading.Condition()
        self._newest: ForceReading | None = None  # not read yet
        self._seq = 0
        self._fault = ""
        self._silent = self._saturated = False
        self._stop = threading.Event()
        self._reader: threading.Thread | None = None

    @abstractmethod
    def _open(self) -> None:
        """Open the device and ask it to send. Raises `ForceError`."""

    @abstractmethod
    def _listen(self) -> None:
        """Hand over what the device sends until ``self._stop`` is set; runs in a thread."""

    @abstractmethod
    def _wake(self) -> None:
        """Have `_listen` look at ``self._stop``."""

    @abstractmethod
    def _close(self) -> None:
        """Release the device; called after `_listen` has ended, or when `_open` failed."""

    def connect(self) -> None:
        """Open the device and wait for its first reading. Raises `ForceError`."""
        if self._reader is not None:
            return
        self._log.clear()
        self._newest, self._fault = None, ""
        self._silent = self._saturated = False
        self._stop.clear()
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        self._reader = threading.Thread(target=self._run, name=f"force {self.name}", daemon=True)
        self._reader.start()
        try:
            with self._changed:
                self._await(PATIENCE * self._timeout)
        except ForceError:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            self._stop.set()
            self._wake()
            reader.join(JOIN_TIMEOUT)
            self._close()

    def read(self) -> ForceReading:
        """The newest reading not read yet; waits for it. Raises `ForceError` after the timeout or in a fault."""
        if self._reader is None:
            raise ForceError(f"{self._label} is not connected; call connect() first")
        with self._changed:
            reading = self._await(self._timeout)
            self._newest = None
        return reading

    def events(self) -> tuple[ForceEvent, ...]:
        return self._log.take()

    def counts(self) -> dict[ForceEventKind, int]:
        return self._log.counts()

    def _await(self, timeout: float) -> ForceReading:
        self._changed.wait_for(lambda: self._is_fresh() or bool(self._fault), timeout)
        if self._fault:
            raise ForceError(f"{self._label}: {self._fault}")
        if self._newest is None or not self._is_fresh():
            self._fall_silent(time.time())
            raise ForceError(
                f"{self._label} measured nothing new for {timeout:g} s; check its power and cable, and that no other "
                "program reads it"
            )
        return self._newest

    def _is_fresh(self) -> bool:
        """Whether a reading is there that is neither read yet nor older than the timeout: late readers get no past."""
        return self._newest is not None and time.monotonic() - self._newest.received <= self._timeout

    def _run(self) -> None:
        try:
            self._listen()
        except Exception as error:
            LOGGER.exception("%s cannot be read any more", self._label)
            self._break(f"it cannot be read any more: {error}", time.time())

    def _deliver(
        self, wrench: np.ndarray, stamp: float, received: float, saturated: bool = False, status: str = ""
    ) -> None:
        """Hand over one new measurement."""
        began = saturated and not self._saturated
        self._saturated = saturated
        if began:
            shown = ", ".join(f"{value:.4g}" for value in wrench)
            self._tell(ForceEventKind.SATURATED, f"the load is at or beyond the range: {shown} N, N·m", stamp)
        with self._changed:
            self._seq += 1
            self._newest = ForceReading(self._seq, wrench, self.frame, stamp, received, saturated, status)
            self._fault, self._silent = "", False
            self._changed.notify_all()

    def _break(self, fault: str, stamp: float) -> None:
        """Say that what the device sends means nothing; until the next good measurement `read` raises ``fault``."""
        with self._changed:
            known, self._fault = self._fault, fault
            self._newest = None
            self._changed.notify_all()
        if fault != known:
            self._tell(ForceEventKind.FAULT, fault, stamp)

    def _fall_silent(self, stamp: float) -> None:
        with self._changed:
            known, self._silent = self._silent, True
        if not known:
            self._tell(ForceEventKind.SILENT, f"nothing new for {self._timeout:g} s", stamp, 0)

    def _tell(self, kind: ForceEventKind, detail: str, stamp: float, readings: int = 1) -> None:
        self._log.add(ForceEvent(stamp, kind, f"{self._label}: {detail}", readings))
