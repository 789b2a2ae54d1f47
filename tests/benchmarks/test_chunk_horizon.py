"""Chunks against single steps on a long way: the benchmark's claim, on one seed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "chunk_horizon.py"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_chunks_carry_the_reward_back_where_single_steps_do_not() -> None:
    """Discounted, the data's ways are worth 0.43 at their start and the shortest one 0.64."""
    command = [sys.executable, str(BENCHMARK), "--seeds", "2", "--horizons", "1", "5"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    single, chunk = (json.loads(line) for line in printed.splitlines())
    assert (single["horizon"], chunk["horizon"]) == (1, 5)
    assert chunk["success"] > single["success"] + 0.3
    assert 0.4 < chunk["value"] < 0.7 and single["value"] < 0.2
