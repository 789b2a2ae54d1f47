"""A force–torque sensor of one's own: wrenches as text in UDP packets, as a microcontroller would send them.

    robot-rl calibrate tool --out tool.yaml --sensor examples.own_force_sensor:TextSensor --device 127.0.0.1:5006
    python examples/own_force_sensor.py 127.0.0.1:5006 1.0 0.0 -7.2 0.0 0.1 0.0 --seconds 60

The second command, in another terminal, is such a microcontroller: 100 packets a second, all with the wrench that it
was told. Begin with it.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import time

import numpy as np

from hardware.force.stream import StreamedSensor
from hardware.interfaces import ForceError

RATE = 100.0  # packets a second
LONGEST = 500  # bytes of a packet
POLL = 0.05  # [s] after which it looks whether it shall end


class TextSensor(StreamedSensor):
    """Packets of six numbers [N, N·m].

    Args:
        name: the sensor's name in messages.
        device: address and port of this computer that they are sent to.
        frame: name of the frame of its readings.
        timeout: `read` gives up after this time without a packet [s].
    """

    def __init__(self, name: str, device: str = "", frame: str = "", timeout: float = 0.2) -> None:
        super().__init__(name, frame, f"text on {device or 'no port'}", timeout)
        self._device = device
        self._opened = contextlib.ExitStack()
        self._socket: socket.socket  # of a connection

    def _open(self) -> None:
        host, _, port = self._device.rpartition(":")
        if not port.isdigit():
            raise ForceError(f"{self._label}: name where it sends to, e.g. --device 127.0.0.1:5006")
        self._socket = self._opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._socket.settimeout(POLL)
        try:
            self._socket.bind((host, int(port)))
        except (OSError, OverflowError) as error:
            raise ForceError(f"{self._label} cannot be listened to: {error}; does another program do so?") from error

    def _close(self) -> None:
        self._opened.close()

    def _wake(self) -> None:
        """`_listen` waits for no longer than `POLL`."""

    def _listen(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                self._take(self._socket.recv(LONGEST))

    def _take(self, packet: bytes) -> None:
        stamp, received = time.time(), time.monotonic()
        try:
            wrench = np.array([float(word) for word in packet.split()])
        except ValueError:
            return  # no packet of ours
        if wrench.shape != (6,) or not np.isfinite(wrench).all():
            self._break(f"the device sends no wrench: {packet[:40]!r}", stamp)
        else:
            self._deliver(wrench, stamp, received)


def main() -> None:
    parser = argparse.ArgumentParser(description="Send a wrench to TextSensor.")
    parser.add_argument("device", help="address and port, e.g. 127.0.0.1:5006")
    parser.add_argument("wrench", type=float, nargs=6, help="force [N] and torque [N·m]")
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    host, _, port = given.device.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for _ in range(round(given.seconds * RATE)):
            out.sendto(" ".join(map(str, given.wrench)).encode(), (host, int(port)))
            time.sleep(1.0 / RATE)


if __name__ == "__main__":
    main()
