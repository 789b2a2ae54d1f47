"""The experiment on preferences: who is asked, what is measured, and how it is told."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.experiments.preferences import BY, Line, Measured, main, measured, prefers, read_lines, table
from controllers.spatial import Pose
from robot_rl.contract import Outcome, Reading
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore
from robot_rl.jobs.reward_prefer import by_program
from robot_rl.rewards.answers import EQUAL, FIRST, SECOND, Snippet, Span
from robot_rl.tasks import make_task
from robot_rl.tasks.wipe_line import CONTACT_HEIGHT, LINE_X
from tests.robot_rl.readings import PerfectArm
from tests.robot_rl.recording import steps

LINE = Line(
    seed=0,
    reward="preference",
    version="abc",
    agreement=0.9,
    steps=1200,
    demos=Measured(1.0, 11.5, 4.0),
    clone=Measured(0.9, 11.0, 4.0),
    learnt=Measured(0.95, 8.2, 1.0),
    machine="here",
    wall_s=300.0,
)


def pressed(force: float, y: float = 0.0, height: float = 0.0) -> Reading:
    arm = PerfectArm(Pose(np.array([LINE_X, y, CONTACT_HEIGHT + height]), np.array([1.0, 0.0, 0.0, 0.0]))).reading()
    return replace(arm, wrench=np.array([0.0, 0.0, force, 0.0, 0.0, 0.0]))


def snippet(*forces: float) -> Snippet:
    return Snippet(Span("demos", 0, 0, len(forces)), tuple(pressed(force) for force in forces), 0.1)


@pytest.mark.parametrize(
    ("first", "second", "answer"),
    [((8.0, 7.0), (3.0, 3.0), FIRST), ((20.0, 14.0), (5.0, 5.0), SECOND), ((9.0, 9.0), (7.2, 7.2), EQUAL)],
)
def test_the_scripted_person_prefers_8_newtons(
    first: tuple[float, ...], second: tuple[float, ...], answer: int
) -> None:
    assert prefers(snippet(*first), snippet(*second)) == answer
    assert by_program(BY)([snippet(*first), snippet(*second)]) == answer


def test_the_force_is_that_in_contact_along_the_line(tmp_path: Path) -> None:
    task = make_task("wipe_line")
    schema = StoreSchema.of(task)
    seen = [pressed(6.0), pressed(12.0), pressed(0.0, height=0.01), pressed(30.0, y=-0.05), pressed(9.0)]
    with EpisodeStore.create_or_open(tmp_path / "store", schema) as store:
        for ending in (Outcome.success(), Outcome.failure("left"), Outcome.aborted("lost")):
            writer = store.begin({"seed": 0})
            for index, step in enumerate(steps(4, 0, ending, schema)):
                writer.append(replace(step, reading=seen[index], next_reading=seen[index + 1]))
            writer.finish()
    assert measured(tmp_path / "store") == Measured(0.5, 9.0, 2.33)


def test_lines_come_back_and_are_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "preferences.jsonl"
    assert read_lines(path) == []
    path.write_text(json.dumps(dataclasses.asdict(LINE)) + "\n")
    assert read_lines(path) == [LINE]
    assert main(["--draw", "--results", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == list(table([LINE]))
    assert "| 0 | preference | 0.90 | 1.00, 11.5, 4.0 | 0.90, 11.0, 4.0 | 0.95, 8.2, 1.0 | 1200 | 300 |" in list(
        table([LINE])
    )
