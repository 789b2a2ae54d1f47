"""``robot-rl calibrate tool`` with processes and topics, on the simulated arm's own estimate."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hardware.force.tool_file import read_tool
from tests.conftest import require_job_mark
from tests.hardware.simulated import unused_address

pytestmark = [pytest.mark.job, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 400.0  # [s]


def test_the_simulated_arm_carries_nothing_that_it_does_not_know(tmp_path: Path) -> None:
    require_job_mark()
    words = ("calibrate", "tool", "--out", "tool.yaml", f"robot_ip={unused_address()}")
    ended = subprocess.run(
        [sys.executable, "-m", "robot_rl", *words], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "pose 8 of 8" in ended.stdout
    tool = read_tool(tmp_path / "tool.yaml")
    assert tool.frame == "fr3_hand_tcp"
    assert abs(tool.mass) < 0.02
    assert tool.centre is None
