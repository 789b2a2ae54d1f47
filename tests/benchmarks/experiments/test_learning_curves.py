"""Learning curves: what is kept of a run, what the table says of several, and that finished runs are not made again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.experiments import learning_curves
from benchmarks.experiments.learning_curves import Budget, Curve, draw, main, read, table, write
from robot_rl.contract import AgentView
from robot_rl.data.reader import StoreReader
from robot_rl.tasks import make_task


def curve(agent: str, seed: int, *rates: float, task: str = "reach") -> Curve:
    points = [
        {
            "step": 100 * i,
            "success_rate": rate,
            "return_mean": rate,
            "wall_s": 10.0 * i,
            "utd": 4.0,
            "updates_per_s": 9.0,
        }
        for i, rate in enumerate(rates, start=1)
    ]
    return Curve(task, agent, seed, (), tuple(points))


def test_curves_survive_the_file(tmp_path: Path) -> None:
    curves = [curve("rlpd", 0, 0.1, 0.96), curve("expo", 1, 0.2, 0.3)]
    for one in curves:
        write(tmp_path / "results.jsonl", one)
    assert read(tmp_path / "results.jsonl") == curves and read(tmp_path / "none.jsonl") == []


def test_the_table_has_medians_and_every_seed() -> None:
    runs = [curve("rlpd", seed, *rates) for seed, rates in enumerate([(0.5, 0.96), (0.95, 0.9), (0.1, 0.2)])]
    *_, row = table([runs[2], runs[0], runs[1]])
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        "`reach` (95% in 3 min)",
        "`rlpd`",
        "3",
        "0.90 (0.96, 0.90, 0.20) after 0.33 min",
        "0.3 (0.3, 0.2, –)",
        "20 s",
    ]


def test_the_picture_has_a_panel_for_each_task(tmp_path: Path) -> None:
    runs = [curve("rlpd", 0, 0.5, 0.9), curve("expo", 0, 0.5, 0.9, task="pick_cube")]
    draw(runs, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real thing, small: demonstrations, a few steps, two evaluations."""
    monkeypatch.setitem(learning_curves.BUDGETS, "reach", Budget("robot_rl/Reach-v0", 20, 10, 0.95))
    monkeypatch.setattr(learning_curves, "DEMOS", 1)
    monkeypatch.setattr(learning_curves, "EPISODES", 1)
    results = tmp_path / "results.jsonl"
    arguments = ["--tasks", "reach", "--agents", "rlpd", "--seeds", "1", "--parallel", "1"]
    arguments += ["--results", str(results), "--work", str(tmp_path / "work")]
    hidden = ("linear_spring", "linear_velocity")
    arguments += ["--without", *hidden]
    monkeypatch.setattr(sys, "argv", ["learning_curves", *arguments])
    main()
    (found,) = read(results)
    assert (found.task, found.agent, found.seed) == ("reach", "rlpd", 0)
    assert [point["step"] for point in found.points] == [10, 20]
    assert found.settings == ("without=" + ",".join(hidden),)
    (log,) = (tmp_path / "work").glob("reach-rlpd-*.log")
    assert f"state {AgentView(make_task('reach'), hidden).state_size}, " in log.read_text()
    (run,) = (tmp_path / "work").glob("demos-reach-0*/")
    assert StoreReader(run / "demos").poll().new[0]["twist"].any(), "what is hidden was recorded"
    before = results.read_bytes()
    main()
    name = "rlpd without linear_spring, linear_velocity"
    assert results.read_bytes() == before and f"| `{name}` | 1 |" in capsys.readouterr().out
