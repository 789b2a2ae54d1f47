"""The story of a lab's own task: what is known to whom, and what is counted."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.experiments.own_task import FILE, KNOWN, Known, Line, compared, main, read_lines, table
from controllers.spatial import Pose
from robot_rl.contract import Ending, Outcome
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore
from robot_rl.tasks import make_task
from robot_rl.tasks.peg_insertion import PegInsertion
from tests.robot_rl.readings import PerfectArm
from tests.robot_rl.recording import steps

HOLE = PegInsertion.nominal
LINE = Line(
    seed=0,
    reward="classifier",
    version="abc",
    success=0.96,
    clone=0.1,
    robot_minutes=2.5,
    episodes=40,
    agreed=38,
    false=1,
    missed=1,
    depths=(13.0,),
    failure_hours=0.04,
    threshold=0.5,
    promise="none",
    machine="here",
    wall_s=300.0,
)


def at(depth: float) -> Pose:
    """The TCP with the peg's tip ``depth`` [m] below the mouth of the hole."""
    return Pose(HOLE.translation - [0.0, 0.0, depth], HOLE.quat_xyzw)


def test_the_file_knows_neither_script_nor_hole() -> None:
    task, known = make_task(str(FILE)), make_task(KNOWN)
    inside = PerfectArm(at(0.016)).reading()
    assert not task.has_expert and task.goal is None and task.judge == "person"
    assert task.outcome(inside).ending is Ending.RUNNING
    assert known.has_expert and known.judge == "task" and known.outcome(inside).ending is Ending.SUCCESS
    assert known.outcome(PerfectArm(at(0.014)).reading()).ending is Ending.RUNNING
    assert StoreSchema.of(task) == StoreSchema.of(known), "demonstrations and policies of one are the other's"
    np.testing.assert_array_equal(task.state(inside), known.state(inside))


def test_episodes_are_compared_with_the_truth(tmp_path: Path) -> None:
    """Depths at the three readings after each step, and what was said at the end."""
    cases = [
        ((0.0, 0.01, 0.016), Outcome.success()),
        ((0.0, 0.01, 0.012), Outcome.success()),
        ((0.0, 0.016, 0.017), Outcome.timeout()),
        ((0.0, 0.0, 0.0), Outcome.timeout()),
        ((0.0, 0.0, 0.016), Outcome.aborted("a fault")),
    ]
    schema = StoreSchema.of(Known())
    with EpisodeStore.create_or_open(tmp_path, schema) as store:
        for depths, ending in cases:
            writer = store.begin({"seed": 0})
            for depth, step in zip(depths, steps(len(depths), 0, ending, schema), strict=True):
                before = dataclasses.replace(step.reading, pose=at(0.0))
                after = dataclasses.replace(step.next_reading, pose=at(depth))
                writer.append(dataclasses.replace(step, reading=before, next_reading=after))
            writer.finish()
    found = list(compared(tmp_path))
    assert [(one.said, one.true) for one in found] == [(True, True), (True, False), (False, True), (False, False)]
    assert [one.depth for one in found] == [16.0, 12.0, 17.0, 0.0]
    assert [one.failing for one in found] == pytest.approx([0.3, 0.3, 0.2, 0.3])


def test_a_line_is_read_as_it_was_written_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text(json.dumps(dataclasses.asdict(LINE)) + "\n")
    assert read_lines(path) == [LINE] and read_lines(tmp_path / "none") == []
    assert main(["--draw", "--results", str(path)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "| 0 | classifier | 0.10 | 0.96 | 2.5 | 40 | 95.0% | 1, 25.0 | 1 | 300 |"
    assert len({row.count("|") for row in said}) == 1 and said == list(table([LINE]))
