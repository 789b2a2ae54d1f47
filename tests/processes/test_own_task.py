"""A lab's own task with processes and topics, blind, as docs/YOUR_TASK.md has it: taught and driven from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from robot_rl.contract import Source
from robot_rl.data.store import StoreReader
from robot_rl.jobs.run import Run
from robot_rl.tasks import make_task
from tests.conftest import require_job_mark
from tests.hardware.simulated import unused_address

pytestmark = [pytest.mark.job, pytest.mark.timeout(900)]
DRIVER = Path(__file__).resolve().parents[2] / "examples" / "drive_from_topics.py"
PATIENCE = 400.0  # [s]


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    require_job_mark()
    environment = {**os.environ, "PYTHONPATH": str(DRIVER.parents[1])}
    return subprocess.Popen(
        [sys.executable, *words], cwd=folder, env=environment, stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def test_an_own_task_is_taught_and_recorded_blind(tmp_path: Path) -> None:
    address = f"robot_ip={unused_address()}"
    teach = start(tmp_path, "-m", "robot_rl", "task", "teach", "--out", "own.yaml", "source=topic", address)
    points = ("0.45,0.00,0.30", "0.50,-0.06,0.22", "0.40,0.06,0.34", "0.48,0.03,0.26")
    driver = start(tmp_path, str(DRIVER), *(word for point in points for word in (point, "mark")))
    started = [teach, driver]
    try:
        said, _ = teach.communicate(timeout=PATIENCE)
        assert teach.returncode == 0, said
        assert said.rstrip().splitlines()[-1].startswith("verdict: the arm can do it")
        assert driver.wait(PATIENCE) == 0
        task = make_task(str(tmp_path / "own.yaml"))
        assert task.name == "own" and task.goal is not None and task.judge == "task"
        words = ("record", "--task", "own.yaml", "--run", "run", "source=topic", "blind=true", "demos=2", address)
        record = start(tmp_path, "-m", "robot_rl", *words)
        driver = start(tmp_path, str(DRIVER), "--again", "0.48,0.03,0.26")
        started += [record, driver]
        said, _ = record.communicate(timeout=PATIENCE)
        assert record.returncode == 0, said
    finally:
        for process in started:
            process.terminate()
            process.wait(PATIENCE)
    (tmp_path / "own.yaml").unlink()
    run, config = Run.open(tmp_path / "run")
    assert make_task(config.task).name == "own" and config.blind
    reader = StoreReader(run.demos)
    for info in reader.episodes():
        episode = reader.load_episode(info.index)
        assert not episode.objects and (episode["source"] == Source.PERSON).any()
