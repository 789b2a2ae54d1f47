"""The copy of demonstrations: it fits what can be fitted, and knows what it cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.experiments.imitation import imitate
from robot_rl.contract import Observation

RNG = np.random.default_rng(0)
STATES = RNG.uniform(-1.0, 1.0, (400, 3)).astype(np.float32)
NOISE = 0.1


def shown(states: np.ndarray) -> np.ndarray:
    """Actions that depend on the state, and one that is noise."""
    told = np.tanh(2.0 * states[:, :1] - states[:, 1:2])
    return np.concatenate((told, NOISE * np.random.default_rng(1).standard_normal((len(states), 1))), axis=1)


def test_it_copies_what_it_was_shown() -> None:
    clone = imitate(STATES, shown(STATES).astype(np.float32), seed=0)
    fresh = np.random.default_rng(2).uniform(-1.0, 1.0, (100, 3)).astype(np.float32)
    assert np.abs(clone.predict(fresh)[:, 0] - shown(fresh)[:, 0]).mean() < 0.05
    assert clone.spread[0] < 0.05


def test_its_noise_is_what_it_could_not_copy() -> None:
    clone = replace(imitate(STATES, shown(STATES).astype(np.float32), seed=0), spread=np.array([0.0, 0.5]))
    observation = Observation(0, 0, STATES[0])
    by_mean = [clone.act([observation]).actions[0] for _ in range(2)]
    assert np.array_equal(*by_mean)
    noisy = replace(clone, noise=np.random.default_rng(0))
    drawn = np.array([noisy.act([observation]).actions[0] for _ in range(400)])
    assert np.allclose(drawn[:, 0], by_mean[0][0], atol=1e-6)
    assert 0.4 < drawn[:, 1].std() < 0.6 and np.abs(drawn).max() <= 1.0
