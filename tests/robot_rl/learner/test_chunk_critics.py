"""Critics of chunks that are data: targets and weights computed by hand, and values that are known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.learner import chunk_critics
from robot_rl.learner.chunk_critics import CriticSettings, Windows

SETTINGS = CriticSettings(members=2, hidden=(4,), discount=0.5, learning_rate=3e-3, target_rate=0.1)


def windows(count: int = 4, seed: int = 0, proposals: int = 3, size: int = 2) -> Windows:
    """Of two steps of one number each, anything."""
    rng = np.random.default_rng(seed)
    return Windows(
        rng.normal(size=(count, 3)).astype(np.float32),
        rng.uniform(-1, 1, (count, size, 1)).astype(np.float32),
        rng.normal(size=(count, size)).astype(np.float32),
        np.ones((count, size), np.float32),
        np.ones(count, np.float32),
        rng.normal(size=(count, 3)).astype(np.float32),
        rng.uniform(-1, 1, (count, proposals, size)).astype(np.float32),
        rng.uniform(-1, 1, (count, proposals, size)).astype(np.float32),
    )


def linear(first: tuple[float, float], second: tuple[float, float]) -> dict[str, jax.Array]:
    """Two members without a hidden layer: a weight for the sum of what is seen, and one for that of the chunk."""
    rows = [[[seen]] * 3 + [[chunk]] * 2 for seen, chunk in (first, second)]
    return {"w0": jnp.array(rows, jnp.float32), "b0": jnp.zeros((2, 1))}


def test_the_target_is_the_one_computed_by_hand() -> None:
    found = windows(2, proposals=1)._replace(mask=np.array([1.0, 0.0], np.float32))
    state = chunk_critics.create(0, 3, 2, SETTINGS)._replace(targets=linear((1.0, 0.0), (0.0, 2.0)))
    y = chunk_critics.target(jax.random.PRNGKey(1), state, found, SETTINGS)
    worse = min(found.then_seen[0].sum(), 2.0 * found.then_proposed[0, 0].sum())
    rewards = found.reward[:, 0] + 0.5 * found.reward[:, 1]
    assert y.tolist() == pytest.approx([rewards[0] + 0.25 * worse, rewards[1]], rel=1e-5)


def test_one_proposal_is_drawn_of_those_that_there_are() -> None:
    found = windows(1, proposals=3)._replace(reward=np.zeros((1, 2), np.float32))
    state = chunk_critics.create(0, 3, 2, SETTINGS)._replace(targets=linear((0.0, 1.0), (0.0, 1.0)))
    seen = {
        round(4.0 * float(chunk_critics.target(jax.random.PRNGKey(i), state, found, SETTINGS)[0]), 4) for i in range(40)
    }
    assert seen == {round(float(part.sum()), 4) for part in found.then_proposed[0]}


def test_the_advantage_is_over_the_mean_of_the_proposals_by_the_worse_member() -> None:
    found = windows(700, seed=3)
    advantage, values = chunk_critics.advantages(linear((0.0, 1.0), (0.1, 1.0)), found)
    shift = np.minimum(0.0, 0.1 * found.seen.sum(1))
    np.testing.assert_allclose(values, found.action.sum((1, 2)) + shift, rtol=1e-4, atol=1e-5)
    expected = found.action.sum((1, 2)) - found.proposed.sum(2).mean(1)
    np.testing.assert_allclose(advantage, expected, rtol=1e-4, atol=1e-5)


def test_weights_are_those_computed_by_hand_and_none_of_what_was_cut_short() -> None:
    found = windows(4)
    found.valid[3] = (1.0, 0.0)  # a time limit: nobody knows what the rest would have brought
    advantage = np.array([1.0, -1.0, 0.0, 50.0], np.float32)
    weights = chunk_critics.weights(advantage, np.ones(4, np.float32), found, beta=0.5, limit=2.0)
    spread = np.std([1.0, -1.0, 0.0])
    expected = [np.exp(min(2.0, 2.0 / spread)), np.exp(-min(2.0, 2.0 / spread)), 1.0, 0.0]
    assert weights.tolist() == pytest.approx(expected, rel=1e-5)
    found.mask[3] = 0.0  # the task's end
    assert chunk_critics.weights(advantage, np.ones(4, np.float32), found, 0.5, 2.0)[3] > 1.0


def test_values_become_what_is_known_about_them() -> None:
    """A task that ends within each window: what it returned is its value, whatever is proposed behind it."""
    rng = np.random.default_rng(0)
    found = windows(64)._replace(mask=np.zeros(64, np.float32), reward=np.zeros((64, 2), np.float32))
    found.reward[:, 0] = found.seen[:, 0] > 0.0
    state = chunk_critics.create(0, 3, 2, SETTINGS._replace(hidden=(16,)))
    for _ in range(30):
        part = found.take(rng.integers(64, size=(20, 32)))
        state, info = chunk_critics.learn(state, part, SETTINGS._replace(hidden=(16,)))
    _, values = chunk_critics.advantages(state.critics, found)
    assert info["critic/loss"] < 0.05
    assert np.abs(values - found.reward[:, 0]).mean() < 0.2
