"""The benchmark of policy processes, at a size that takes little time: its lines, alone and beside a checkout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIGURES = {"p50_ms", "p95_ms", "cpu_ms", "second_ms", "start_s", "load_s", "peak_mb"}


@pytest.mark.slow  # a minute of compiling, of a benchmark that is seldom run
@pytest.mark.timeout(300)
def test_a_line_for_each_case_with_the_figures_of_both(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "benchmarks.policy_serving", "--agents", "rlpd", "--turns", "1", "--calls", "3")
    out = tmp_path / "out"
    done = subprocess.run(
        [*command, "--beside", str(ROOT), "--json", str(out)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert out.read_text() == done.stdout
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["agent"], line["images"]) for line in lines] == [("rlpd", 0), ("rlpd", 2)]
    for line in lines:
        assert set(line["beside"]) == FIGURES <= set(line)
        assert 0.0 < line["p50_ms"] <= line["p95_ms"]
        assert 0.0 < line["load_s"] < line["start_s"]
        assert line["ratio"]["peak_mb"] == round(line["peak_mb"] / line["beside"]["peak_mb"], 2)
