"""A task from outside the package, by file, by ``module:Class`` and by an entry point, in process from start to end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from robot_rl.contract import Ending
from robot_rl.data.store import StoreReader
from robot_rl.gym.envs import RobotEnv
from robot_rl.jobs.cli import main
from robot_rl.jobs.run import Run

MODULE = """
from robot_rl.contract import Outcome
from robot_rl.policies.base import RandomPolicy
from robot_rl.session.judge import TaskJudge
from robot_rl.tasks.reach import Reach


class Drift(RandomPolicy):
    history = 2


class AtOnce(TaskJudge):
    def judge(self, reading):
        return Outcome.success(0.5)


class Nearby(Reach):
    name = "nearby"
    horizon = 40
"""
TOUCH = """\
name: touch
start: {position: [0.5, 0.0, 0.25], spread: [0.02, 0.02, 0.02]}
workspace: {lower: [0.38, -0.12, 0.1], upper: [0.62, 0.12, 0.32]}
axes: {x: 0.01, y: 0.01, z: 0.01}
goal: {position: [0.55, 0.05, 0.2]}
expert: lab_tasks:to_goal
"""
EXPERT = """

import numpy as np

from robot_rl.tasks.experts.motion import drive, saturate


def to_goal(reading, period):
    way = np.array([0.55, 0.05, 0.2]) - reading.pose.translation
    return drive(np.append(saturate(way, 0.01), np.zeros(3)), period)
"""
ENTRY_POINTS = """
[robot_rl.tasks]
nearby = lab_tasks:Nearby
[robot_rl.policies]
drift = lab_tasks:Drift
[robot_rl.judges]
at_once = lab_tasks:AtOnce
"""


WAYS = ("lab_tasks:Nearby", "nearby", "touch.yaml")


@pytest.fixture(params=WAYS)
def own_task(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A distribution outside the tree, as an installed one looks to Python, and a file in the working directory."""
    site = tmp_path / "site"
    metadata = site / "lab_tasks-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "lab_tasks.py").write_text(MODULE + EXPERT)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-tasks\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "touch.yaml").write_text(TOUCH)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    yield request.param
    sys.modules.pop("lab_tasks", None)


@pytest.mark.parametrize(
    "own_task", [pytest.param(way, marks=() if way == WAYS[-1] else pytest.mark.slow) for way in WAYS], indirect=True
)
def test_an_own_task_is_recorded_trained_and_evaluated(own_task: str) -> None:
    small = [
        "learner.agent=rlpd",
        "learner.imitate=20",
        "learner.batch_size=32",
        "learner.settings.critics=2",
        "learner.settings.hidden=16",
    ]
    assert main(["record", "--fast", "--task", own_task, "--run", "run", "demos=2"]) == 0
    assert main(["train", "--fast", "--run", "run", "steps=60", "learner.utd=1", *small]) == 0
    assert main(["eval", "--fast", "--run", "run", "episodes=1"]) == 0
    run, _ = Run.open(Path("run"))
    for store in (run.demos, run.online, run.evaluation):
        reader = StoreReader(store)
        assert reader.schema is not None and reader.schema.task == ("touch" if "touch" in own_task else "nearby")
        assert reader.episodes()


def test_a_policy_and_a_judge_of_the_same_package_have_names_too(own_task: str) -> None:
    settings = ["policy=drift", "judge=at_once", "episodes=2"]
    assert main(["eval", "--fast", "--task", own_task, "--run", "drifting", *settings]) == 0
    run, _ = Run.open(Path("drifting"))
    known = StoreReader(run.evaluation).episodes()
    assert [(info.ending, info.steps, info.total_reward) for info in known] == [(Ending.SUCCESS, 1, 0.5)] * 2


def test_an_own_task_is_an_environment(own_task: str) -> None:
    env = RobotEnv(own_task)
    try:
        observation, _ = env.reset(seed=3)
        again, _ = env.reset(seed=3)
        assert np.array_equal(observation, again)
        moved, *_ = env.step(np.ones(env.action_space.shape, np.float32))
        assert env.observation_space.contains(moved) and not np.array_equal(moved, again)
    finally:
        env.close()


def test_what_is_no_task_is_refused(own_task: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "--fast", "--task", "lab_tasks:to_goal_of_all"]) == 2
    assert "lab_tasks has no 'to_goal_of_all'" in capsys.readouterr().err
    assert main(["record", "--fast", "--task", "builtins:dict"]) == 2
    assert "makes a dict, which is no robot_rl.tasks.base.Task" in capsys.readouterr().err


def test_an_own_task_says_what_of_the_pictures_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "\n".join(line for line in TOUCH.splitlines() if "expert" not in line)
    Path("plain.yaml").write_text(f"{text}\ncameras: {{front: {{size: 96}}}}\n")
    Path("crop.yaml").write_text(f"{text}\ncameras: {{front: {{crop: [0.5, 0.25, 0.5, 0.5], size: 48}}}}\n")
    pictures = {}
    for name in ("plain", "crop"):
        env = RobotEnv(f"{name}.yaml")
        try:
            observation, _ = env.reset(seed=1)
            assert env.observation_space.contains(observation)
            pictures[name] = observation["front"].astype(float)
        finally:
            env.close()
    assert pictures["crop"].shape == (48, 48, 3)
    quarter = pictures["plain"][24:72, 48:96]
    assert np.abs(pictures["crop"] - quarter).mean() < 0.2 * np.abs(pictures["plain"][:48, :48] - quarter).mean()
