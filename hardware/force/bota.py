"""Sensors of Bota Systems by their own driver, `bota-driver`: serial, Ethernet, EtherCAT and CAN.

Nobody has run this on a device. It was run on the simulated sensor that is in the vendor's library (``Bota_Dummy``).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from hardware.force.stream import StreamedSensor
from hardware.interfaces import ForceError

PERIOD = 0.001  # [s] between looks at the newest frame, unless the device says that it is slower


class BotaSensor(StreamedSensor):
    """The sensor that a JSON file of the vendor's form describes.

    Args:
        name: the sensor's name in messages.
        file: JSON file with ``driver_config``: interface, address and filters of the device, as Bota describes them.
        frame: name of the frame of its readings: origin and axes are those of the drawing. "" is ``<name>_frame``.
        timeout: `read` gives up after this time without a new reading [s].
    """

    def __init__(self, name: str, file: str | Path, frame: str = "", timeout: float = 0.1) -> None:
        super().__init__(name, frame, f"Bota, {file or 'no file'}", timeout)
        self._file = Path(file)
        self._driver: Any = None

    def _open(self) -> None:
        bota_driver = _import_bota_driver()
        if not self._file.is_file():
            raise ForceError(f"{self._label}: there is no file {self._file}; device= names the JSON file of the sensor")
        try:
            driver = bota_driver.BotaDriver(str(self._file))
            self._driver = driver
            done = driver.configure() and driver.activate()
        except (RuntimeError, ValueError) as error:
            raise ForceError(f"{self._label} cannot be opened: {error}; check power, cable and file") from error
        if not done:
            raise ForceError(f"{self._label} cannot be opened; the vendor's driver says why above")

    def _close(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.deactivate()
            driver.shutdown()

    def _wake(self) -> None:
        """`_listen` never waits for longer than a period."""

    def _listen(self) -> None:
        # The vendor's blocking call keeps the interpreter's lock while it waits, and stops all other threads.
        period = max(PERIOD, 0.25e-6 * self._driver.get_expected_timestep_us())
        last, heard = 0, time.monotonic()
        while not self._stop.wait(period):
            try:
                frame = self._driver.read_frame()
            except RuntimeError as error:
                self._break(str(error), time.time())
                return
            stamp, now = time.time(), time.monotonic()
            if frame.timestamp in (0, last):  # 0: no frame has come yet, and its zeros are no measurement
                if now - heard > self._timeout:
                    self._fall_silent(stamp)
                continue
            last, heard = frame.timestamp, now
            wrench = np.array((*frame.force, *frame.torque), dtype=np.float64)
            if frame.status.invalid or not np.isfinite(wrench).all():
                self._break("the device says that its measurement is invalid", stamp)
            else:
                status = "the device is too hot and measures more slowly" if frame.status.throttled else ""
                self._deliver(wrench, stamp, now, bool(frame.status.overrange), status)


def _import_bota_driver() -> Any:
    try:
        import bota_driver
    except ModuleNotFoundError as error:
        raise ForceError("Bota's sensors need bota-driver: pip install 'robot-rl[bota]'") from error
    except ImportError as error:
        raise ForceError(f"bota_driver cannot be loaded: {error}") from error
    return bota_driver


def make_bota(name: str, device: str = "", **settings: Any) -> BotaSensor:
    """The driver ``bota`` of `hardware.force.FORCE_SENSORS`; ``device`` is the JSON file's path."""
    return BotaSensor(name, device, **settings)
