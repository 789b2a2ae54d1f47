"""A joystick device file, made of a pipe."""

from __future__ import annotations

import os
import struct
from pathlib import Path

BUTTON, AXIS, INIT = 0x01, 0x02, 0x80
A, B, X, Y, LB, RB, GUIDE = 0, 1, 2, 3, 4, 5, 8
FULL = 32767


def event(kind: int, number: int, value: int) -> bytes:
    """``struct js_event`` of the kernel."""
    return struct.pack("=IhBB", 123456, value, kind, number)


class Pad:
    """A joystick device file: opening it finds the kernel's INIT events, as on a real one."""

    def __init__(self, folder: Path) -> None:
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC)
        self._plugged = True
        (folder / "js0").symlink_to(f"/proc/self/fd/{self._reading}")
        self.send(*(event(AXIS | INIT, number, -FULL if number in (2, 5) else 0) for number in range(8)))
        self.send(*(event(BUTTON | INIT, number, 0) for number in range(11)))

    def send(self, *events: bytes) -> None:
        os.write(self._writing, b"".join(events))

    def unplug(self) -> None:
        if self._plugged:
            os.close(self._writing)
            self._plugged = False

    def close(self) -> None:
        self.unplug()
        os.close(self._reading)
