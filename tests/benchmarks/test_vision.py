"""The benchmarks of seeing, at sizes that take little time: their lines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def lines_of(module: str, *words: str) -> list[dict[str, Any]]:
    command = (sys.executable, "-m", module, "--encoder", "tests.robot_rl.colours:Colours", *words)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow  # a minute of compiling, of a benchmark that is seldom run
@pytest.mark.timeout(300)
def test_seeing_is_compared_with_the_state() -> None:
    found = lines_of("benchmarks.vision", "--batch", "4", "--turns", "2", "--calls", "1", "--batches", "1", "3")
    drawn, found = found[:3], found[3:]
    assert [line["cameras"] for line in drawn] == [["front"], ["wrist"], ["front", "wrist"]]
    assert [line["benchmark"] for line in found] == ["encode"] * 2 + ["updates"] * 3 + ["act"] * 3
    assert [line["batch"] for line in found[:2]] == [1, 3]
    assert [line["seen"] for line in found[2:]] == ["state", "features", "pixels"] * 2
    assert found[2]["cost"] == 1.0
    assert all(line["updates_per_s"] > 0.0 for line in found[2:5])


@pytest.mark.timeout(300)
def test_each_head_has_a_line_with_and_without_shifts() -> None:
    found = lines_of("benchmarks.experiments.heads", "--pictures", "10", "--steps", "2", "--seeds", "1")
    assert [(line["head"], line["shifted"]) for line in found] == [
        (head, shifted) for head in ("conv16", "serl8", "pool") for shifted in (False, True)
    ]
    assert all(line["error_mm"][0] > 0.0 for line in found)
