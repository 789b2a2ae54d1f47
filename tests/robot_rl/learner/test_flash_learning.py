"""Convergence of FlashSAC: the values of a decision process that can be solved, and the best action of a bandit."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.algorithms import flash_sac
from robot_rl.learner.algorithms.flash_sac import FlashConfig

LEARNS = FlashConfig(
    actor_width=8,
    critic_width=16,
    blocks=1,
    bins=51,
    support=2.0,
    discount=0.5,
    learning_rate=3e-3,
    final_learning_rate=3e-3,
    target_rate=0.05,
    moment_rate=0.05,
    entropy_backup=False,
    critic_steps=10,
)


def columns(reward) -> dict[str, np.ndarray]:
    """The columns that nothing learns from, but that say rewards are 2.5 times as large as they should be."""
    updates = len(reward)
    return {
        "return_deviation": np.full(updates, 2.5, np.float32),
        "return_largest": np.full(updates, 2.5, np.float32),
    }


def test_values_of_a_two_state_chain_converge_to_the_solution() -> None:
    """0 → 1 (reward 0), 1 → end (reward 2.5, scaled 1): Q(1) = 1, Q(0) = γ; 2 loops with reward 0.75: Q(2) = 0.6.

    The third state is only ever cut by time limits. Any wrong discount, mask or scale is off by 0.1 or more.
    """
    states = np.eye(3, dtype=np.float32)
    rng = np.random.default_rng(0)
    state = flash_sac.create(jax.random.PRNGKey(0), Layout(3, 1), LEARNS)
    for _ in range(60):
        where = rng.integers(0, 3, (10, 64))
        reward = np.array([0.0, 2.5, 0.75], np.float32)[where]
        batch = Batch(
            state=states[where],
            action=rng.uniform(-1, 1, (10, 64, 1)).astype(np.float32),
            reward=reward,
            mask=np.array([1.0, 0.0, 1.0], np.float32)[where],
            next_state=states[np.array([1, 1, 2])[where]],
            columns=columns(reward),
        )
        state, _ = flash_sac.update(state, batch, config=LEARNS)
    actions = np.linspace(-0.9, 0.9, 7, dtype=np.float32)[:, None]
    for number, value in enumerate((0.5, 1.0, 0.6)):
        seen = np.tile(states[number], (7, 1))
        logits, _ = flash_sac.critic_apply(state.critics, seen, actions, state.critic_moments)
        q = np.asarray(jax.nn.softmax(logits) @ LEARNS.centres)
        np.testing.assert_allclose(q.mean(axis=1), value, atol=0.04)


@pytest.mark.parametrize(
    ("norm", "scale"),
    [
        pytest.param("layer", 1.0, marks=pytest.mark.slow),
        pytest.param("layer", 20.0, marks=pytest.mark.slow),
        pytest.param("batch", 1.0, marks=pytest.mark.slow),
    ],
)
def test_the_actor_finds_the_best_action_of_a_bandit(norm: str, scale: float) -> None:
    """Reward 1 − 4 (a − 0.5 s)², s = ±1, always terminal: a* = 0.5 s. The numbers that stand for s do not matter.

    To be 0.1 off costs 4 · 0.1² = 0.04: half a bin (0.08 wide), the finest that the distribution shows without a split.
    The actor wanders about the optimum, and rounding decides when it strays: what counts is where it was for most of
    the last third of its updates. Each of five seeds has to be within that on either side, and the median of the ten
    within what chance would leave of it.
    """
    config = replace(LEARNS, target_std=0.05, critic_norm=norm)
    sides, found = scale * jnp.array([[-1.0], [1.0]]), []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        state = flash_sac.create(jax.random.PRNGKey(seed), Layout(1, 1), config)
        bests = []
        for _ in range(90):
            side = rng.choice([-1.0, 1.0], (10, 64, 1)).astype(np.float32)
            action = rng.uniform(-1, 1, (10, 64, 1)).astype(np.float32)
            reward = 2.5 * (1 - 4 * (action - 0.5 * side)[..., 0] ** 2)
            batch = Batch(scale * side, action, reward, 0 * reward, scale * side, columns=columns(reward))
            state, _ = flash_sac.update(state, batch, config=config)
            bests.append(
                flash_sac.sample(state.actor, state.actor_moments, sides, jax.random.PRNGKey(0), deterministic=True)
            )
        found.append(np.median(bests[60:], axis=0)[:, 0] * [-1.0, 1.0])
        draws = jax.vmap(lambda key, state=state: flash_sac.sample(state.actor, state.actor_moments, sides, key))(
            jax.random.split(jax.random.PRNGKey(1), 500)
        )
        assert 0.01 < float(draws.std(axis=0).max()) < 0.3
    np.testing.assert_allclose(found, 0.5, atol=0.1)
    # The median of ten independent errors of 0.1 has the standard deviation √(π/2) · 0.1/√10.
    assert abs(np.median(found) - 0.5) < np.sqrt(np.pi / 2) * 0.1 / np.sqrt(10)
