"""A simulated robot in a process of its own, for tests."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hardware.sim.channel.channel import SCENE_PORT

PATIENCE = 60.0  # [s] before a process that was told to end is made to; never what a test measures
ROOT = Path(__file__).resolve().parents[2]
CUBE = (
    '<body name="cube" pos="0.5 0.2 0.02"><freejoint/>'
    '<geom type="box" size="0.02 0.02 0.02" density="500" friction="1 0.01 0.001"/></body>'
)
SERVER = f"""
import json, sys
from hardware.sim.channel.faults import Faults
from hardware.scene import SceneSpec
from hardware.sim.fci.server import serve
options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {{}}
scene = SceneSpec(worldbody={CUBE!r} + options.get("worldbody", ""), objects=("cube",))
serve(scene, sys.argv[1], {SCENE_PORT}, lambda: print("ready", flush=True), Faults(), options.get("patience"),
      options.get("linger", 0.0))
"""

_numbers = itertools.count()


@dataclass(frozen=True)
class SimulatedServer:
    """A running server at ``address``; its scene holds a movable ``cube``."""

    address: str
    process: subprocess.Popen


def unused_address() -> str:
    """A loopback address that no other test session uses: it holds this process's id."""
    pid = os.getpid()
    return f"127.{64 + next(_numbers) % 128}.{(pid >> 8) & 255}.{max(pid & 255, 1)}"


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@contextmanager
def simulated_server(
    address: str | None = None, script: str = SERVER, **options: float | str
) -> Iterator[SimulatedServer]:
    """Start a server, wait until drivers can connect, and end it afterwards.

    ``script``: the server, in Python. ``options``: ``worldbody``, MJCF beside the cube; ``patience`` and ``linger`` [s]
    as in `hardware.sim.fci.server.serve`.
    """
    address = address or unused_address()
    process = subprocess.Popen(
        [sys.executable, "-c", script, address, json.dumps(options)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert process.stdout.readline() == "ready\n"
        yield SimulatedServer(address, process)
    finally:
        end(process)
        process.stdout.close()


def end(process: subprocess.Popen) -> None:
    """Have ``process`` end, and make it when it does not: one with real-time scheduling would starve later tests."""
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
