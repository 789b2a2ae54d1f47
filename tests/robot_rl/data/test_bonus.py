"""Rewards of demonstrations that were recorded without what a person prefers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robot_rl.contract import PREFERENCE, Outcome, Reading, Relabel
from robot_rl.data.store import EpisodeStore
from tests.robot_rl.recording import SCHEMA, reader, steps


def bonus(readings: Sequence[Reading]) -> np.ndarray:
    return 0.01 * np.array([reading.tank for reading in readings])


def record(path: Path, meta: dict[str, object]) -> None:
    with EpisodeStore.create_or_open(path, SCHEMA) as store:
        writer = store.begin(meta)
        for step in steps(6):
            writer.append(step)
        writer.finish()


def test_steps_earn_the_bonus_of_the_reading_that_closes_them(tmp_path: Path) -> None:
    record(tmp_path, {"seed": 0})
    (plain,) = reader(tmp_path, successes_only=True).poll().new
    (found,) = reader(tmp_path, successes_only=True, bonus=bonus).poll().new
    earned = bonus([step.next_reading for step in steps(6)])
    np.testing.assert_allclose(found["reward"], plain["reward"] + earned, rtol=1e-6)
    assert found["reward"].dtype == plain["reward"].dtype
    np.testing.assert_array_equal(found["state"], plain["state"])


def test_what_has_a_preference_in_it_gets_no_other(tmp_path: Path) -> None:
    record(tmp_path, {"seed": 0, PREFERENCE: "0123"})
    (plain,) = reader(tmp_path).poll().new
    (found,) = reader(tmp_path, successes_only=True, bonus=bonus).poll().new
    np.testing.assert_array_equal(found["reward"], plain["reward"])


def test_a_corrected_step_keeps_its_bonus(tmp_path: Path) -> None:
    record(tmp_path, {"seed": 0})
    follower = reader(tmp_path, successes_only=True, bonus=bonus)
    follower.poll()
    with EpisodeStore.open(tmp_path) as store:
        store.relabel(Relabel(0, 2, Outcome.running(0.75), "person"))
    (corrected,) = follower.poll().corrected
    (anew,) = reader(tmp_path, successes_only=True, bonus=bonus).poll().new
    np.testing.assert_allclose(corrected["reward"], anew["reward"], rtol=1e-6)
    assert corrected["reward"][2] > 0.75
