"""Several computers on one machine, joined by a bad network: a bridge between TAP devices that delays and drops frames.

It needs root, TAP devices, and `unshare`, `nsenter` and `mount`; `require_network` skips a test where they are missing.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import random
import selectors
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PATIENCE = 30.0  # [s] for a host to come up
FRAME = 65536  # [bytes] at most
IDLE = 0.05  # [s] between two looks at whether the bridge shall end


@dataclass(frozen=True)
class Quality:
    """How frames travel: ``delay`` ± ``jitter`` [s], never overtaking each other; a share ``loss`` of them is lost."""

    delay: float = 0.002
    jitter: float = 0.001
    loss: float = 0.005


class Bridge:
    """Passes each frame of a TAP device on to all others, in a thread of its own.

    Attributes:
        passed, dropped: frames so far; those that passed have so many ``octets``.
    """

    def __init__(self, taps: list[int], quality: Quality, seed: int = 0) -> None:
        self._taps, self._quality, self._rng = taps, quality, random.Random(seed)
        self._cut_until, self._ended = -1.0, False
        self._on_their_way: list[tuple[float, int, int, bytes]] = []
        self._order = itertools.count()
        self._latest = dict.fromkeys(taps, 0.0)
        self.passed = self.dropped = self.octets = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def cut(self, seconds: float) -> None:
        """Lose everything for so long from now on."""
        self._cut_until = time.monotonic() + seconds

    def close(self) -> None:
        self._ended = True
        self._thread.join()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for tap in self._taps:
                selector.register(tap, selectors.EVENT_READ)
            while not self._ended:
                wait = self._on_their_way[0][0] - time.monotonic() if self._on_their_way else IDLE
                for key, _ in selector.select(min(max(wait, 0.0), IDLE)):
                    self._take(key.fd)
                self._deliver()

    def _take(self, source: int) -> None:
        frame, now = os.read(source, FRAME), time.monotonic()
        for tap in self._taps:
            if tap == source:
                continue
            if now < self._cut_until or self._rng.random() < self._quality.loss:
                self.dropped += 1
                continue
            travels = self._quality.delay + self._quality.jitter * self._rng.uniform(-1.0, 1.0)
            self._latest[tap] = max(self._latest[tap], now + travels)
            heapq.heappush(self._on_their_way, (self._latest[tap], next(self._order), tap, frame))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._on_their_way and self._on_their_way[0][0] <= now:
            _, _, tap, frame = heapq.heappop(self._on_their_way)
            if now < self._cut_until:
                self.dropped += 1
                continue
            with contextlib.suppress(OSError):  # a host that has gone, or whose queue is full
                os.write(tap, frame)
                self.passed, self.octets = self.passed + 1, self.octets + len(frame)


@dataclass(frozen=True)
class Host:
    """A computer at ``address``; ``process`` keeps it alive."""

    address: str
    process: subprocess.Popen[bytes]

    def command(self, *words: str) -> list[str]:
        """``words`` as they are run on this host."""
        return ["nsenter", f"--target={self.process.pid}", "--net", "--mount", f"--wdns={Path.cwd()}", *words]


@dataclass(frozen=True)
class Network:
    """Hosts and what joins them."""

    hosts: tuple[Host, ...]
    bridge: Bridge


@contextlib.contextmanager
def network(folder: Path, hosts: int, quality: Quality) -> Iterator[Network]:
    """So many hosts, 10.77.0.1 and on, joined by a bridge; files go into ``folder``."""
    with contextlib.ExitStack() as stack:
        made, taps = [], []
        for number in range(1, hosts + 1):
            host, tap = _host(stack, folder, number)
            made.append(host)
            taps.append(tap)
        bridge = Bridge(taps, quality)
        bridge.start()
        stack.callback(bridge.close)
        yield Network(tuple(made), bridge)


def _host(stack: contextlib.ExitStack, folder: Path, number: int) -> tuple[Host, int]:
    identity = folder / f"machine-id-{number}"
    identity.write_text(f"{uuid.uuid4().hex}\n")
    ours, theirs = socket.socketpair()
    address = f"10.77.0.{number}"
    command = ["unshare", "--net", "--mount", sys.executable, "-m", "tests.processes.host"]
    command += [str(theirs.fileno()), address, str(identity)]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE)
    theirs.close()
    stack.callback(process.wait)
    stack.callback(ours.close)
    ours.settimeout(PATIENCE)
    said, descriptors, _, _ = socket.recv_fds(ours, 16, 1)
    if said != b"up":
        raise RuntimeError(f"no host of its own: {process.stderr.read().decode()}")
    stack.callback(os.close, descriptors[0])
    os.set_blocking(descriptors[0], False)
    return Host(address, process), descriptors[0]


def require_network(folder: Path) -> None:
    """Skip the test, and say why, where this machine grants no namespaces or TAP devices."""
    missing = [name for name in ("unshare", "nsenter", "mount") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (apt-get install util-linux mount)")
    try:
        with network(folder, 1, Quality()):
            pass
    except (OSError, RuntimeError) as error:
        pytest.skip(f"no network namespaces with TAP devices are granted here (root, /dev/net/tun): {error}")
