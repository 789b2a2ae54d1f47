"""The experiment on words: its cases, its controls and its table; runs themselves take half an hour."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.experiments import vla
from robot_rl.tasks.named_cube import CUBES, LiftCube, TouchCube, asked_of, colours_of

LINE = vla.Line(0, "known", "touch", 40, 8, 6, 1, (), "abc", "a machine", 300.0)


def test_controls_say_something_else_than_the_task() -> None:
    for seed in range(20):
        objects = TouchCube().sample_start(np.random.default_rng(seed)).objects
        right, colours = TouchCube().words(objects), colours_of(objects)
        cube = asked_of(objects).cube
        aside = vla.other_cube("touch", objects)
        assert aside == right.replace(colours[cube], colours[(cube + 1) % len(CUBES)])
        deed = vla.other_deed("lift", objects)
        assert deed == TouchCube().words(objects) and deed != LiftCube().words(objects)
        assert vla.no_words("touch", objects) == ""


def test_the_table_has_means_and_the_share_of_each_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lines.jsonl"
    lines = [LINE, dataclasses.replace(LINE, seed=1, successes=8), dataclasses.replace(LINE, condition="no words")]
    file.write_text("".join(json.dumps(dataclasses.asdict(line)) + "\n" for line in lines[::-1]))
    assert vla.main(["--draw", "--results", str(file)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "| | touch | push | lift |"
    assert said[2] == "| known | 0.88 (0.75, 1.00) | – | – |"
    assert said[-1] == "| no words | 0.75 (0.75) | – | – |"
    assert len(said) == 2 + len(vla.CONDITIONS) + len(vla.CONTROLS)


def test_half_a_seed_is_refused_and_tuning_stays_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text(json.dumps(dataclasses.asdict(LINE)) + "\n")
    assert vla.main(["--seeds", "1", "--results", str(file)]) == 2
    assert "has 1 of 18 lines of seed 0; take them out" in capsys.readouterr().err
    for wrong in (["--tune"], ["--set", "vla.steps=3"]):
        with pytest.raises(SystemExit):
            vla.parse(wrong)
