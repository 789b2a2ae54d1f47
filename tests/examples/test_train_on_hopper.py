"""The example that learns in an environment, for a few steps of a cheap one."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.train_on_hopper import main


def test_it_trains_and_says_how_far_it_came(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text('{"return_mean": 1e9, "step": 7}\n')  # of another run
    main(["--env", "InvertedPendulum-v5", "--steps", "200", "--json", str(out)])
    said = capsys.readouterr().out
    assert "100 updates" in said
    assert said.splitlines()[-1].startswith("best return ") and "1000000000" not in said
    assert len(out.read_text().splitlines()) == 1 + 10
