"""The runs with people who are no oracles: planned, kept apart by version and seed, and shown."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.experiments import people
from benchmarks.experiments.people import NOBODY, RULES, Line, Tally, alone
from benchmarks.experiments.tables.lines import VersionError
from benchmarks.experiments.tables.plan import TUNING
from benchmarks.experiments.tables.runs import Place
from robot_rl.contract import Source
from robot_rl.data.parameters import pack, unpack
from robot_rl.session.recovery import REFLEX

PLACE = Place(Path("work"), "abc", "person")


def line(style: str, rule: str, seed: int, rates: list[float]) -> Line:
    points = tuple((float(minute), rate) for minute, rate in enumerate(rates))
    return Line(
        "peg_search",
        style,
        rule,
        seed,
        "flash_sac",
        (),
        "abc",
        "d",
        "a machine",
        points,
        0.5,
        25,
        10,
        12,
        0.25,
        0,
        1.0,
        1.0,
    )


def test_runs_come_seed_by_seed_and_nobody_has_no_rule_but_the_plain_one() -> None:
    given = people.parse(["--tasks", "peg_search", "--styles", NOBODY, "good", "--seeds", "1", "0"])
    keys = [cell.key for cell in people.planned(given, PLACE)]
    of_seed = [(NOBODY, "plain"), *(("good", rule) for rule in RULES)]
    assert keys == [("peg_search", *one, seed) for seed in (1, 0) for one in of_seed]


def test_what_chooses_is_kept_apart_from_what_is_reported() -> None:
    for wrong in (["--seeds", str(TUNING)], ["--set", "utd=2"], ["--set", "utd=2", "--results", "x.jsonl"]):
        with pytest.raises(SystemExit):
            people.parse(wrong)
    given = people.parse(["--set", "utd=2", "--results", "x.jsonl", "--seeds", str(TUNING)])
    assert {cell.settings for cell in people.planned(given, PLACE)} == {("utd=2",)}


def test_a_takeover_is_counted_once_and_anew_in_every_episode() -> None:
    tally, p, h = Tally(), Source.POLICY, Source.PERSON
    for episode in ([p, h, h, p, h], [h, h], [p]):
        for source in episode:
            tally.step(source)
        tally.end(f"{REFLEX}: cartesian_reflex" if episode == [p] else "")
    assert (tally.steps, tally.by_person, tally.takeovers) == (8, 5, 3)
    assert (tally.episodes, tally.reflexes) == (3, 1)


def test_what_was_learnt_acts_alone_whatever_trust_says() -> None:
    params = {"agent/start/leads": np.float32(0.0), "agent/start/explores": np.float32(0.0), "agent/w": np.ones(2)}
    found = unpack(alone(pack(params, 7, {"agent": "flash_sac"})))
    assert found.params["agent/start/leads"] == 1.0 and found.params["agent/start/explores"] == 0.0
    assert found.version == 7 and found.meta == {"agent": "flash_sac"}


def test_lines_are_read_as_they_were_written_and_refused_beside_another_version(tmp_path: Path) -> None:
    one, file = line("good", "cut", 0, [0.25, 0.5]), tmp_path / "people.jsonl"
    assert people.read_lines(file) == []
    file.write_text(json.dumps(dataclasses.asdict(one)) + "\n")
    assert people.read_lines(file) == [one]
    people.check_versions([one], "abc")
    with pytest.raises(VersionError, match="abc, this is def"):
        people.check_versions([one], "def")


def test_the_table_has_means_and_seeds_and_minutes_to_the_aim() -> None:
    lines = [line("good", "cut", 1, [0.25, 0.95, 0.9]), line("good", "cut", 0, [0.25, 0.95, 0.5])]
    assert [one.stays for one in lines] == [1.0, float("inf")]
    (row,) = list(people.table(lines, "peg_search"))[2:]
    assert row == (
        "| good | cut | 0, 1 | 0.25 (0.25, 0.25) | 0.70 (0.50, 0.90) | 0.50 (0.50, 0.50) | –, 1.0 | 2.0 | "
        "1.20 (1.20, 1.20) | 0.25 (0.25, 0.25) |"
    )
