"""The runs of imitation alone: planned number by number, tuned on other seeds, and shown seed by seed."""

from __future__ import annotations

import pytest

from benchmarks.experiments import imitation
from benchmarks.experiments.tables.lines import DONE, Line, Point
from benchmarks.experiments.tables.plan import TUNING
from robot_rl.learner.factory import make_agent


def test_runs_come_number_by_number_and_seed_by_seed() -> None:
    given = imitation.parse(["--tasks", "reach", "--models", "clone", "flow", "--demos", "20", "5", "--seeds", "2"])
    keys = [cell.key for cell in imitation.planned(given)]
    expected = [("reach", f"{model}, {n}", seed) for n in (20, 5) for seed in (0, 1) for model in ("clone", "flow")]
    assert keys == expected
    assert {cell.row.demos for cell in imitation.planned(given)} == {20, 5}


def test_settings_are_tried_on_tuning_seeds_only() -> None:
    for wrong in (["--set", "settings.horizon=4"], ["--tune"]):
        with pytest.raises(SystemExit):
            imitation.parse(wrong)
    given = imitation.parse(["--tune", "--set", "settings.horizon=4", "--results", "x.jsonl", "--seeds", "1"])
    assert {cell.seed for cell in imitation.planned(given)} == {TUNING}
    assert all("settings.horizon=4" in cell.row.settings for cell in imitation.planned(given))


def test_each_model_is_one_of_an_agent() -> None:
    for agent, settings in imitation.MODELS.values():
        make_agent(agent, dict(setting.removeprefix("settings.").split("=") for setting in settings))


def test_the_table_has_means_and_seeds() -> None:
    def line(row: str, seed: int, rate: float) -> Line:
        points = (Point(0.0, rate),)
        return Line("reach", row, seed, "abc", (), "c", "d", "a machine", 1.0, 1.0, 0.0, 0, 0, 0, DONE, points)

    lines = [line("flow, 5", 1, 0.5), line("flow, 5", 0, 0.25), line("clone, 20", 0, 1.0)]
    text = list(imitation.table(lines, "reach", ["clone", "flow"], [5, 20]))
    assert text[2:] == ["| clone | – | 1.00 (1.00) |", "| flow | 0.38 (0.25, 0.50) | – |"]
