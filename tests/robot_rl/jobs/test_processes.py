"""A process of a job, from outside."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hardware.ros.camera_node import RENDERED_RATE
from robot_rl.contract.settings import ConfigError
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.processes import camera, run_process
from robot_rl.jobs.run import Run

PROGRAM = """
import os, signal, sys
from pathlib import Path
from robot_rl.jobs.processes import report, run_process
report.write_report = lambda *_: iter(())
status = run_process("report", Path(sys.argv[1]), "record")
for number in (signal.SIGINT, signal.SIGTERM):
    os.kill(os.getpid(), number)
sys.exit(status)
"""


def test_a_process_that_has_done_its_work_is_not_killed_by_being_asked_again(tmp_path: Path) -> None:
    """``ros2 launch`` sends SIGINT after the terminal has; the end of an interpreter takes its time."""
    Run.create(RunConfig(task="reach"), tmp_path)
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_process_is_refused_with_the_choices(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ConfigError, match=r"unknown node 'arms'; choose from sim, arm"):
        run_process("arms", tmp_path, "record")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("settings", "rate"), [({"camera_rate": 5}, 5), ({}, RENDERED_RATE)])
def test_drawn_cameras_have_the_rate_that_is_asked_for(
    settings: dict[str, int], rate: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []
    monkeypatch.setattr(camera, "run_rendered", lambda spec, names, stop, size, rate, variation: given.append(rate))
    config = RunConfig(task="reach", cameras=("front",), **settings)
    assert camera.main(Run.create(config, tmp_path), config, "record") == 0
    assert given == [rate]
