"""The example of a task, in the jobs that its docstring names."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from controllers.spatial import Pose
from examples import own_task
from examples.own_task import PAD_HALF, PAD_TOP, TIP, Touch
from robot_rl.data.store import StoreReader
from robot_rl.jobs.cli import main
from robot_rl.tasks.base import TOOL_DOWN
from tests.robot_rl.readings import PerfectArm

pytest.importorskip("franky_sim")

NAME = "examples.own_task:Touch"
PAD = Pose(np.array([0.5, 0.0, PAD_TOP]), np.array([0.0, 0.0, 0.0, 1.0]))
SMALL = [
    "learner.agent=rlpd",
    "learner.imitate=20",
    "learner.batch_size=16",
    "learner.settings.critics=2",
    "learner.settings.hidden=16",
]


def test_the_arm_can_do_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["task", "check", NAME]) == 0
    assert capsys.readouterr().out.endswith("verdict: the arm can do it\n")


def test_a_copy_is_found_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path(own_task.__file__).read_text().replace('name: str = "touch"', 'name: str = "copied"')
    (tmp_path / "copied_task.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # to which the command adds this folder
    try:
        assert main(["task", "check", "copied_task:Touch"]) == 0
    finally:
        sys.modules.pop("copied_task", None)
    assert capsys.readouterr().out.startswith("task copied: ")


def test_it_is_recorded_and_trained(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["record", "--fast", "--task", NAME, "--run", str(run), "demos=3"]) == 0
    demos = StoreReader(run / "demos").episodes()
    assert len(demos) == 3 and all(episode.success for episode in demos)
    train = ["steps=40", "learner.start_after=10", "learner.utd=1", *SMALL]
    assert main(["train", "--fast", "--run", str(run), *train]) == 0
    assert sum(episode.steps for episode in StoreReader(run / "online").episodes()) >= 40


@pytest.mark.parametrize(
    ("beside", "force", "touched"), [(0.0, 5.0, True), (0.0, 1.0, False), (PAD_HALF + 0.005, 5.0, False)]
)
def test_a_touch_is_felt_and_on_the_pad(beside: float, force: float, touched: bool) -> None:
    arm = PerfectArm(Pose(np.array([0.5 + beside, 0.0, PAD_TOP + TIP]), TOOL_DOWN), {"pad": PAD})
    wrench = np.array([0.0, 0.0, force, 0.0, 0.0, 0.0])
    assert Touch().outcome(dataclasses.replace(arm.reading(), wrench=wrench)).terminated is touched
