"""The life cycle that all drivers share: a device is opened by ``connect()`` and always released by ``with``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class Device(ABC):
    """Base of drivers: ``with`` connects and disconnects."""

    @abstractmethod
    def connect(self) -> None:
        """Open the device. Raises a `HardwareError` that says what to do when it cannot."""

    @abstractmethod
    def disconnect(self) -> None:
        """Release the device; safe to call twice."""

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()
