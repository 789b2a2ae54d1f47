from __future__ import annotations

from pathlib import Path

import pytest

from demos.inspect import HEADER, main
from robot_rl.contract import Outcome
from robot_rl.data.store import EpisodeStore
from tests.robot_rl.recording import SCHEMA, steps


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A success of 8 steps and an aborted episode of 5; a person decides steps 3 to 5 of each."""
    with EpisodeStore.create_or_open(tmp_path / "demos", SCHEMA) as writing:
        for count, ending in ((8, Outcome.success()), (5, Outcome.aborted("robot stopped"))):
            episode = writing.begin({"seed": 3})
            for step in steps(count, ending=ending):
                episode.append(step)
            episode.finish()
    return tmp_path / "demos"


def test_each_episode_is_a_line(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(store)]) == 0
    header, first, second, _, columns = capsys.readouterr().out.splitlines()
    assert header == HEADER
    assert columns.startswith("columns: action[2], activity, ") and "pose[7]" in columns and "objects/peg[7]" in columns
    # Rewards of the steps before the last are 0.125 times their number; steps are 0.1 s apart.
    assert first.split() == ["0", "success", "8", f"{0.125 * 21 + 1.0:.2f}", "3", "0.8"]
    assert second.split() == ["1", "aborted", "5", f"{0.125 * 6:.2f}", "2", "0.5", "robot", "stopped"]


def test_totals(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(store)])
    total = capsys.readouterr().out.splitlines()[-2]
    assert total.startswith("reach: 2 episodes (1 success, 1 aborted), 13 steps, ")
    assert total.endswith("38% of the steps by a person")


def test_an_empty_store_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    EpisodeStore.create_or_open(tmp_path, SCHEMA).close()
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [HEADER, "reach: no finished episodes"]


def test_a_damaged_episode_is_named(
    store: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for part in (store / "episodes" / "000000.zarr").rglob("zarr.json"):
        part.write_text("{")
    assert main([str(store)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[0] == "1"
    assert len(lines) == 4 and "000000.zarr: damaged" in caplog.text


@pytest.mark.parametrize("what", ["nothing", "a folder", "a broken schema"])
def test_no_store_is_an_error_of_one_line(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "there"
    if what != "nothing":
        path.mkdir()
    if what == "a broken schema":
        (path / "schema.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    assert main([str(path)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert str(path) in output.err
    assert output.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before, "looking changes nothing"
