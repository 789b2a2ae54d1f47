"""A story of commands: each is given once, and one that fails ends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.experiments.story import Story


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
