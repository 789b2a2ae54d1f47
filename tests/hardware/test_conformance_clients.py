"""Clients that others wrote still work against the simulated robot, with its limits enforced."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hardware.simulated import environment, simulated_server

pytest.importorskip("franky_sim")

PATIENCE = 0.2  # [s] that the robot's clock waits for these clients, which have no real-time scheduling


def run(client: str) -> dict:
    with simulated_server(patience=PATIENCE) as server:
        script = Path(__file__).with_name(client)
        done = subprocess.run(
            [sys.executable, script, server.address], capture_output=True, text=True, env=environment(), timeout=90
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# Looked for, not imported: its bindings and pylibfranka's register the same types, and cannot share a process.
@pytest.mark.skipif(
    importlib.util.find_spec("franky") is None,
    reason="franky-control is not installed: pip install --no-deps franky-control==2.0.0",
)
def test_franky_moves_is_stopped_recovers_and_moves_again() -> None:
    told = run("franky_client.py")
    assert told["joint"] == pytest.approx(0.1, abs=1e-3)
    assert told["cartesian"] == pytest.approx([0.0, 0.0, -0.03], abs=1e-3)  # the hand points down
    # Reaching further than the arm is long, it stretches until a joint is too fast or at its end.
    assert "motion aborted by reflex" in told["unreachable"]
    assert (told["errors"], told["recovered"]) == (True, True)
    assert told["again"] == pytest.approx(0.1, abs=1e-3)
    assert told["gripper"] is True
