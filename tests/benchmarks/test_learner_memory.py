"""The benchmark of memory: it says what it measured, and sees what grows."""

from __future__ import annotations

import json

import pytest

from benchmarks import learner_memory

KEYS = {
    "agent", "steps", "updates", "warm_up", "rss_after_warm_up_mib", "rss_at_end_mib", "growth_mib_per_1000_steps",
    "wall_s",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("leak", [0, 40])
def test_what_grows_shows(leak: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that each step leaves behind [KiB] is about as many MiB in 1000 steps; allocators take some on top."""
    kept, step = [], learner_memory.step

    def leaking(number: int, rng: object):
        kept.append(b"\1" * (1024 * leak))
        return step(number, rng)

    monkeypatch.setattr(learner_memory, "step", leaking)
    assert learner_memory.main(["--agent", "rlpd", "--steps", "4400", "--warm-up", "2400", "--batch", "2"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line.keys() == KEYS and line["updates"] == 4300
    assert line["growth_mib_per_1000_steps"] == pytest.approx(1000 * leak / 1024, abs=8.0)


def test_a_run_that_cannot_tell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        learner_memory.main(["--steps", "2000", "--warm-up", "1000"])
    assert "--warm-up 1000 must fill the replay, 2200 steps at least" in " ".join(capsys.readouterr().err.split())
