"""The experiment with two policies as one: its files, its starts, and a table by seed; real runs take minutes each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.experiments import composing
from benchmarks.experiments.tables.runs import EVALUATION, Place
from robot_rl.policies.composed import read_composition


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The commands that are given, and not run: whoever is evaluated succeeds as often as the second weight says."""
    commands: list[list[str]] = []

    def note(job: str, arguments: list[str], log: Path) -> None:
        words = [job, *arguments]
        commands.append(words)
        if words[0] != "eval":
            return
        run, policy = Path(words[words.index("--run") + 1]), words[-1].removeprefix("policy=")
        run.mkdir()
        named = policy.startswith("composed:")
        shares = read_composition(Path(policy.removeprefix("composed:"))) if named else ()
        rate = sum(share.weight for share in shares if share.file.endswith("1/clone.params")) if named else 0.9
        (run / "summary.json").write_text(json.dumps({"success_rate": rate}))

    def recorded(task: str, seed: int, place: Place, count: int) -> Path:
        store = tmp_path / f"demos-{seed}-{count}"
        store.mkdir(exist_ok=True)
        return store

    monkeypatch.setattr(composing, "run_job", note)
    monkeypatch.setattr(composing, "demonstrations", recorded)
    return commands


def test_each_imitates_its_own_and_all_act_from_the_same_starts(asked: list[list[str]], tmp_path: Path) -> None:
    line = composing.run("peg_search", ("flow", "diffusion"), 2, Place(tmp_path / "work", "abc", "person"))
    assert line.rates == {str(weight): weight for weight in composing.WEIGHTS} and line.all == 0.9
    pretrained = [words for words in asked if words[0] == "pretrain"]
    stores = [str(tmp_path / f"demos-{seed}-10") for seed in (2, 52)]
    said = [(words[-1].rpartition("=")[2], words[7].removeprefix("demo_stores=")) for words in pretrained]
    assert said == [("flow", stores[0]), ("diffusion", stores[1]), ("flow", ",".join(stores))]
    starts = {words[words.index("--seed") + 1] for words in asked if words[0] == "eval"}
    assert starts == {str(2 + EVALUATION)} and len(asked) == 3 + len(composing.WEIGHTS) + 1


def test_lines_are_kept_and_drawn_and_not_run_again(
    asked: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composing, "version_of", lambda root: "abc")
    given: list[Any] = ["--seeds", "0", "1", "--results", str(tmp_path / "x.jsonl"), "--work", str(tmp_path / "work")]
    assert composing.main(given) == 0
    expected = "| `peg_search` | flow, flow | 0.00 (0.00, 0.00) | 0.25 (0.25, 0.25) | 0.50 (0.50, 0.50)"
    assert expected in capsys.readouterr().out
    made = len(asked)
    assert composing.main(given) == 0 and len(asked) == made
    assert {line.key for line in composing.read(tmp_path / "x.jsonl")} == {
        ("peg_search", ("flow", "flow"), seed) for seed in (0, 1)
    }
    monkeypatch.setattr(composing, "version_of", lambda root: "def")
    assert composing.main([*given, "--seeds", "2"]) == 2
    assert "composing: peg_search: versions abc, def do not belong into one table" in capsys.readouterr().err
