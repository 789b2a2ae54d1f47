"""A story of commands: each is given once, and one that fails ends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.experiments import own_task, preferences, story
from benchmarks.experiments.story import Story
from robot_rl.jobs.cli import build_parser
from robot_rl.rewards.preferred import PreferenceError


class Refused(Story):
    """A story of one command, which ends with status 2: there is no such run."""

    def audit(self, *statuses: int) -> None:
        self._do("audit", "reward audit", self._work / "none", statuses=statuses)

    @property
    def seconds(self) -> float:
        return self._seconds("audit")


def test_a_command_is_given_once_and_its_status_counts(tmp_path: Path) -> None:
    story, log = Refused("told", tmp_path, seed=3, steps=10), tmp_path / "seed-3" / "audit.log"
    with pytest.raises(SystemExit, match=f"told: reward audit of seed 3 ended with status 2; see {log}"):
        story.audit(0)
    story.audit(0, 2)
    said = log.read_text()
    assert said.count("$ robot-rl reward audit --run") == 2 and story.seconds > 0.0
    Refused("told", tmp_path, seed=3, steps=10).audit(0)
    assert log.read_text() == said


def test_every_command_of_a_story_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    def note(command: list[str], _: Any) -> int:
        words = build_parser().parse_args(command[3:])
        given.append(words.command)
        assert words.command == "reward" or words.task is not None
        return 0

    monkeypatch.setattr(story, "status_of", note)
    with pytest.raises(PreferenceError):  # nothing was learnt, since nothing was run
        preferences.Preferring(tmp_path, seed=0, steps=10).line(preferences.WITH_PREFERENCE)
    own = own_task.OwnTask(tmp_path / "own", seed=0, steps=10)
    own.show()
    own.learn_reward()
    own.train(own_task.CLASSIFIER)
    assert given == ["record", "reward", "reward", "train", "record", "reward", "reward", "reward", "train"]
