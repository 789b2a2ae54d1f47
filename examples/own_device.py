"""A teleoperation device of one's own: whatever sends UDP packets, e.g. a phone or a motion tracker.

    robot-rl teleop --task reach source=examples.own_device:UdpDevice
    python examples/own_device.py 0.05 0 0 --seconds 2 --say success

The second command, in another terminal, is the sender: 5 cm/s along x for 2 s, then a word. A packet is JSON:
``{"twist": [vx, vy, vz, wx, wy, wz], "gripper": 0.0, "words": ["success"]}``, each part where there is something to
say; ``{}`` lets go. Who drives keeps talking: 0.25 s without a packet let go as well, after 2 s the device is lost.
"""

from __future__ import annotations

import argparse
import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from hardware.device import Device
from hardware.interfaces import TeleopCommand, TeleopError, Word

HOST, PORT = "127.0.0.1", 47800
LET_GO, LOST = 0.25, 2.0  # [s] of silence
PERIOD = 0.02  # [s] between the sender's packets
PACKET = 4096  # bytes


class UdpDevice(Device):
    """Listens at ``host``, ``port``; ``clock`` [s] is any steady time."""

    def __init__(self, host: str = HOST, port: int = PORT, clock: Callable[[], float] = time.monotonic) -> None:
        self.host, self.port, self._clock = host, port, clock
        self._socket: socket.socket | None = None
        self._received: float | None = None
        self._wish = TeleopCommand(np.zeros(6), engaged=False)

    def connect(self) -> None:
        """Begin to listen. Raises `TeleopError` when the port cannot be had."""
        self.disconnect()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind((self.host, self.port))
        except OSError as error:
            self.disconnect()
            raise TeleopError(f"UDP {self.host}:{self.port}: {error.strerror}; is another program there?") from error

    def disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = self._received = None

    def read(self) -> TeleopCommand:
        """The newest packet's wish, with the words of all. Raises `TeleopError` for a lost or unintelligible device."""
        if self._socket is None:
            raise TeleopError(f"UDP {self.host}:{self.port} is not open; call connect() first")
        words: tuple[Word, ...] = ()
        with suppress(BlockingIOError):
            while True:
                self._wish = command_of(self._socket.recv(PACKET))
                self._received = self._clock()
                words += self._wish.words
        silence = 0.0 if self._received is None else self._clock() - self._received
        if silence > LOST and self._wish.engaged:
            raise TeleopError(f"UDP {self.host}:{self.port}: silent for {silence:.1f} s; start the sender again")
        if self._received is None or silence > LET_GO:
            return TeleopCommand(np.zeros(6), engaged=False, words=words)
        return TeleopCommand(self._wish.twist, self._wish.gripper, self._wish.engaged, words)


def command_of(packet: bytes) -> TeleopCommand:
    """A packet in the words of the interface. Raises `TeleopError` for one that is none."""
    try:
        said: dict[str, Any] = json.loads(packet)
        twist = np.array(said.get("twist", np.zeros(6)), dtype=float)
        gripper = None if said.get("gripper") is None else float(said["gripper"])
        words = tuple(Word(word) for word in said.get("words", ()))
    except (ValueError, TypeError, AttributeError) as error:
        raise TeleopError(f"a packet that is no command: {packet[:80]!r} ({error})") from error
    if twist.shape != (6,) or not np.isfinite(twist).all():
        raise TeleopError(f"a packet whose twist is not six finite numbers: {packet[:80]!r}")
    return TeleopCommand(twist, gripper, engaged=bool(twist.any()) or gripper is not None, words=words)


def main() -> None:
    parser = argparse.ArgumentParser(description="Send a velocity to UdpDevice.")
    parser.add_argument("velocity", type=float, nargs=3, help="x, y, z [m/s], base axes")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--say", choices=[word.value for word in Word], nargs="+", default=[], help="after that")
    parser.add_argument("--port", type=int, default=PORT)
    given = parser.parse_args()
    packet = json.dumps({"twist": [*given.velocity, 0.0, 0.0, 0.0]}).encode()
    last = json.dumps({"words": given.say}).encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for left in range(round(given.seconds / PERIOD), -1, -1):
            sender.sendto(packet if left else last, (HOST, given.port))
            time.sleep(PERIOD)


if __name__ == "__main__":
    main()
