"""Public tasks: one reward that ends an episode, and demonstrations of it in a file that `robot-rl gym` takes."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from benchmarks.experiments.public import demos, envs
from robot_rl.jobs.cli import main


class Line(gymnasium.Env[np.ndarray, np.ndarray]):
    """A point that has to go to 1 from about 0; the reward is dense, and no success ends it."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-0.1, 0.1, 1)
        return self.place, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.place = self.place + 0.2 * action
        return self.place, -float(abs(1.0 - self.place[0])), False, False, {"near": float(self.place[0] > 0.9)}


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a task of nobody's, whose script goes ahead."""
    env = "public/line-v0"
    if env not in gymnasium.registry:
        gymnasium.register(env, lambda: envs.OneReward(Line(), "near"), max_episode_steps=20)
    monkeypatch.setitem(envs.IDS, "line", env)
    monkeypatch.setattr(demos, "make_script", lambda name: lambda seen: np.clip(5.0 * (1.0 - seen), -1.0, 1.0))
    return "line"


def test_success_is_the_one_reward_and_an_end(line: str) -> None:
    env = gymnasium.make(envs.IDS[line])
    env.reset(seed=0)
    seen = [env.step(np.ones(1, np.float32))[1:3] for _ in range(4)]
    assert seen == [(0.0, False)] * 4
    assert env.step(np.ones(1, np.float32))[1:3] == (1.0, True)


def test_demonstrations_are_reproducible_and_what_gym_takes(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    once, again, other = (list(itertools.islice(demos.play(line, seed), 2)) for seed in (0, 0, 1))
    assert np.array_equal(once[1].actions, again[1].actions) and not np.array_equal(
        once[0].observations["state"][0], other[0].observations["state"][0]
    )
    file, results = tmp_path / "line.hdf5", tmp_path / "line.jsonl"
    assert demos.main(["line", "--count", "3", "--file", str(file)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["succeeded"] == 3 <= told["driven"] and 4 < told["median_steps"] < 20
    gym = ["gym", "--env", envs.IDS[line], "--agent", "flash_sac", "--demos", str(file), "--json", str(results)]
    small = ["learner.settings.actor_width=8", "learner.settings.critic_width=8", "learner.imitate=100"]
    assert main([*gym, *small, "--steps", "0", "--eval-episodes", "3", "--run", str(tmp_path / "run")]) == 0
    (evaluation,) = [json.loads(text) for text in results.read_text().splitlines()]
    assert evaluation["step"] == 0 and evaluation["success_rate"] is not None


def test_a_script_that_never_succeeds_is_said(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demos, "make_script", lambda name: lambda seen: -np.ones(1))
    with pytest.raises(SystemExit, match="line: only 0 of 20 demonstrations succeeded"):
        demos.record(line, 0, 2, tmp_path / "line.hdf5")
    assert not (tmp_path / "line.hdf5").exists()


@pytest.mark.parametrize("name", envs.IDS)
def test_their_scripts_succeed(name: str) -> None:
    """Where the suites are installed: at least one of five."""
    pytest.importorskip("gymnasium_robotics" if name in envs.FETCH else "metaworld")
    assert any(demo.succeeded for demo in itertools.islice(demos.play(name, 0), 5))
