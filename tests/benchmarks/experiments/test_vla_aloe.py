"""The runs of ALOE on a SmallVLA: planned, kept apart by version and seed, and shown."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.experiments import vla_aloe
from benchmarks.experiments.tables.plan import TUNING
from benchmarks.experiments.vla_aloe import Line

TASK = "pick_cube_images"


def line(arm: str, seed: int, rates: list[float], champion: float | None) -> Line:
    points = tuple((float(minute), rate) for minute, rate in enumerate(rates))
    counts = {"episodes": 10, "takeovers": 12, "by_person": 0.25, "reflexes": seed, "cpu_s": 10.0, "wall_s": 1.0}
    return Line(
        arm, seed, TASK, 10, "good", (), 2000, 1000, "abc", "b", "a machine", points, rates[-1], champion, 25, **counts
    )


def test_runs_come_seed_by_seed_and_what_chooses_is_kept_apart() -> None:
    given = vla_aloe.parse(["--seeds", "1", "0"])
    keys = [cell.key[-2:] for cell in vla_aloe.planned(given, "abc")]
    assert keys == [(arm, seed) for seed in (1, 0) for arm in ("return", "advantage")]
    other = next(vla_aloe.planned(vla_aloe.parse(["--seeds", "1", "--style", "nobody"]), "abc"))
    assert other.key not in [cell.key for cell in vla_aloe.planned(given, "abc")], "it is another run"
    for wrong in (["--seeds", str(TUNING)], ["--set", "aloe.critics=2"], ["--set", "a=2", "--results", "x.jsonl"]):
        with pytest.raises(SystemExit):
            vla_aloe.parse(wrong)


def test_lines_are_read_as_they_were_written(tmp_path: Path) -> None:
    one, file = line("advantage", 0, [0.25, 0.5], None), tmp_path / "lines.jsonl"
    assert vla_aloe.read_lines(file) == []
    file.write_text(json.dumps(dataclasses.asdict(one)) + "\n")
    assert vla_aloe.read_lines(file) == [one]


def test_the_table_has_what_each_seed_came_to() -> None:
    lines = [line("advantage", 1, [0.5, 0.75], 1.0), line("advantage", 0, [0.25, 0.25], None)]
    (row,) = list(vla_aloe.table(lines, TASK))[2:]
    assert row == (
        "| advantage | 0, 1 | 0.38 (0.25, 0.50) | 0.50 (0.25, 0.75) | 0.50 (0.25, 0.75) | 1.00 (1.00) | "
        "1.20 (1.20, 1.20) | 0.25 (0.25, 0.25) | 0, 1 | 10 |"
    )


def test_runs_that_differ_in_more_than_arm_and_seed_are_in_no_table() -> None:
    one = line("advantage", 0, [0.5], None)
    with pytest.raises(ValueError, match="differ in more than arm and seed"):
        list(vla_aloe.table([one, dataclasses.replace(one, style="nobody")], TASK))
