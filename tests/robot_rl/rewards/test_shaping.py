"""Reward for progress: by hand, along any episode, while a store is written, and for what steps are relabelled to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robot_rl.contract import Outcome, Relabel, Step
from robot_rl.contract.settings import ConfigError
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore, StoreReader
from robot_rl.jobs.config import load_config
from robot_rl.jobs.learning import shaping_of
from robot_rl.rewards.filtering import FilterSettings, Thresholds
from robot_rl.rewards.saved import ClassifierError, Stage
from robot_rl.rewards.shaping import Shaping
from robot_rl.tasks import make_task
from tests.robot_rl.recording import steps
from tests.robot_rl.rewards.seeing import SAVED

TASK = make_task("reach")
SCHEMA = StoreSchema.of(TASK)
WEIGHT, DISCOUNT = 0.5, 0.9
HALF = Thresholds(0.5, 0.5)
STAGED = replace(
    SAVED,
    filter=FilterSettings(needed=1, window=1, hysteresis=0.0),
    thresholds=HALF,
    earlier=(Stage("lifted", 1.0, 0.0, HALF),),
    called="inserted",
)
HELD = (0, 0, 1, 1, 0, 1, 2)  # stages at each reading, by the classifier


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    STAGED.write(tmp_path / "classifier")
    return tmp_path / "classifier"


def recorded(held: Sequence[int], ending: Outcome) -> list[Step]:
    """Steps between readings at which so many stages are ``held``."""
    found = list(steps(len(held) - 1, 0, ending, SCHEMA))
    signals = [
        {
            "stage-1-01234567": 0.9 * (stage > 0),
            "success-01234567": 0.9 * (stage > 1),
            "success-01234567-at": 0.1 * index,
        }
        for index, stage in enumerate(held)
    ]
    return [
        replace(
            step,
            reading=replace(step.reading, signals=signals[index]),
            next_reading=replace(step.next_reading, signals=signals[index + 1]),
            outcome=step.outcome if index == len(found) - 1 else Outcome.running(),
        )
        for index, step in enumerate(found)
    ]


def shaping(folder: Path) -> Shaping:
    return Shaping(folder, WEIGHT, DISCOUNT)


def test_each_step_earns_the_discounted_gain_of_progress(folder: Path) -> None:
    found = shaping(folder)
    readings = [step.reading for step in recorded(HELD, Outcome.success())]
    np.testing.assert_allclose(found.potentials(0, readings), [0.0, 0.0, 0.5, 0.5, 0.0, 0.5])
    potentials, goes_on = np.array([0.0, 0.5, 0.5, 0.0, 0.5, 1.0]), np.zeros(5, bool)
    by_hand = [0.5 * 0.45, 0.5 * -0.05, 0.5 * -0.5, 0.5 * 0.45, 0.5 * 0.4]
    np.testing.assert_allclose(found.added(potentials, goes_on), by_hand, rtol=1e-6)
    ends = np.array([False] * 4 + [True])
    np.testing.assert_allclose(found.added(potentials, ends), [*by_hand[:4], 0.5 * -0.5], rtol=1e-6)


def test_what_is_optimal_stays_so(folder: Path) -> None:
    """Whatever the progress, the discounted terms of an episode that ends add up to −w Φ of its beginning."""
    rng, found = np.random.default_rng(0), shaping(folder)
    for length in range(1, 20):
        potentials = rng.integers(0, 3, length + 1) / 2
        ends = np.arange(length) == length - 1
        total = (DISCOUNT ** np.arange(length) * found.added(potentials, ends)).sum()
        assert total == pytest.approx(-WEIGHT * potentials[0], abs=1e-6)


def test_a_reader_shapes_what_is_written_and_what_it_is_relabelled_to(folder: Path, tmp_path: Path) -> None:
    made = recorded(HELD, Outcome.success())
    plain = np.array([step.outcome.reward for step in made])
    added = shaping(folder).added(np.array(HELD) / 2, np.arange(6) == 5)
    path = tmp_path / "store"
    reader = StoreReader(path, images=False, shaping=shaping(folder))
    late = StoreReader(path, images=False, shaping=shaping(folder))
    with EpisodeStore.create_or_open(path, SCHEMA) as store:
        writer = store.begin({"seed": 0})
        parts = []
        for index, step in enumerate(made):
            writer.append(step)
            if index != 2:  # two steps at once, too
                parts += reader.poll().new
        writer.finish()
        parts += reader.poll().new
        rewards = np.concatenate([part.columns["reward"] for part in parts])
        np.testing.assert_allclose(rewards, plain + added, rtol=1e-6)
        (whole,) = late.poll().new
        np.testing.assert_array_equal(whole.columns["reward"], rewards)
        store.relabel(Relabel(0, 3, Outcome.failure("dropped"), "person"))
        for one in (reader, late):
            (corrected,) = one.poll().corrected
            counted = corrected.columns["reward"][corrected.columns["counts"]]
            np.testing.assert_allclose(counted, [*(plain + added)[:3], WEIGHT * -0.5], rtol=1e-6)


def test_episodes_that_nobody_looked_at_and_classifiers_without_stages_are_refused(folder: Path) -> None:
    with pytest.raises(ClassifierError, match=r"learner.shaping=0.5 takes episodes .* no signal success-01234567"):
        shaping(folder).potentials(0, [step.reading for step in steps(3, 0, Outcome.timeout(), SCHEMA)])
    replace(STAGED, earlier=()).write(folder)
    with pytest.raises(ClassifierError, match="takes a classifier with stages"):
        shaping(folder)


def test_the_stages_are_those_of_the_run_s_one_classifier(folder: Path) -> None:
    config = load_config(None, ["task=reach", "learner.shaping=0.5", f"judge=all_of(task,classifier:{folder})"])
    assert shaping_of(config, TASK)() is not shaping_of(config, TASK)(), "each reader has its own"
    assert shaping_of(load_config(None, ["task=reach"]), TASK)() is None
    with pytest.raises(ConfigError, match="judge=task asks 0; choose judge=classifier:DIR"):
        shaping_of(load_config(None, ["task=reach", "learner.shaping=0.5"]), TASK)
