"""A bad network between a simulated robot and its driver: lost, late and reordered datagrams."""

from __future__ import annotations

import random
import socket

from hardware.sim.channel.faults import Faults


class FaultyLink:
    """Decides what becomes of each datagram, in both directions."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._random = random.Random(faults.seed)
        self._left = {"up": 0, "down": 0}  # datagrams of the current burst still to lose
        self._tick = 0
        self._held: list[tuple[int, bytes]] = []

    def command(self) -> bool:
        """Whether a command gets through to the robot."""
        return not self._lost("up")

    def states(self, state: bytes) -> list[bytes]:
        """The states that reach the driver in this tick, whose own is ``state``."""
        self._tick += 1
        if not self._lost("down"):
            late = self.faults.delay + (self._random.randint(0, self.faults.jitter) if self.faults.jitter else 0)
            self._held.append((self._tick + late, state))
        due = [data for tick, data in self._held if tick <= self._tick]
        self._held = [(tick, data) for tick, data in self._held if tick > self._tick]
        return due

    def _lost(self, way: str) -> bool:
        if self._left[way] > 0:
            self._left[way] -= 1
            return True
        loss, burst = self.faults.loss, self.faults.burst
        # Bursts of n that begin with probability p lose the share n p / (n p + 1 − p) of all datagrams.
        if self._random.random() >= loss / (burst - (burst - 1) * loss):
            return False
        self._left[way] = burst - 1
        return True


class FaultySocket:
    """The robot's end of the UDP connection, with what franky-sim needs of a socket; ``link`` may be replaced.

    Attributes:
        sent: whether the last tick's state left for the driver, so that an answer can be expected.
    """

    def __init__(self, address: str, link: FaultyLink) -> None:
        """Raises `OSError` when the address is not of this machine."""
        self.link = link
        self.sent = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        states = self.link.states(data)
        self.sent = bool(states)
        for state in states:
            self._socket.sendto(state, address)

    def recv(self, size: int) -> bytes:
        """The next command that gets through. Raises `BlockingIOError` when there is none."""
        while True:
            data = self._socket.recv(size)
            if self.link.command():
                return data

    def close(self) -> None:
        self._socket.close()
