"""Character devices that are read until they are empty: what a SpaceMouse and a joystick have in common."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from hardware.interfaces import TeleopError

MAX_READS = 1000  # in one drain, so that a device gone mad cannot hold its reader for ever


class DeviceStream:
    """A device file, opened without blocking. ``device`` and ``permission_help`` word its errors."""

    def __init__(self, path: Path, device: str, permission_help: str) -> None:
        self._path = path
        self._device = device
        try:
            self._fd: int | None = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:
            raise TeleopError(f"{device} is there, but {path} may not be read. {permission_help}") from None
        except OSError as error:
            raise TeleopError(f"{device}: {path} cannot be opened ({error.strerror}); plug it in again") from error

    def drain(self, size: int) -> Iterator[bytes]:
        """All that waits, by one ``read`` of at most ``size`` bytes each. Raises `TeleopError` once unplugged."""
        if self._fd is None:
            raise TeleopError(f"{self._device} is not connected; call connect() first")
        for _ in range(MAX_READS):
            try:
                data = os.read(self._fd, size)
            except BlockingIOError:
                return
            except OSError as error:
                reason = "was unplugged" if error.errno in (errno.ENODEV, errno.EIO) else f"failed ({error.strerror})"
                raise TeleopError(f"{self._device} at {self._path} {reason}; plug it in and start again") from error
            if not data:
                raise TeleopError(f"{self._device} at {self._path} was unplugged; plug it in and start again")
            yield data

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
