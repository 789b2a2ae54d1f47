"""Convergence of chunked TD: the values of a chain, and the better of two ways."""

from __future__ import annotations

from typing import get_args

import jax
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.data.episode import Transitions
from robot_rl.data.replay import Batch, ReplayBuffer
from robot_rl.learner.algorithms import chunked
from robot_rl.learner.algorithms.chunked import ChunkedConfig, Extraction
from robot_rl.policies.serving import AgentActor


def episode(number: int, states, rewards, terminated: bool, actions=None) -> Transitions:
    count = len(rewards)
    last = np.arange(count) == count - 1
    if actions is None:
        actions = np.random.default_rng(number).uniform(-1, 1, (count, 1))
    return Transitions(
        "s",
        number,
        0,
        {
            "state": np.asarray(states, np.float32),
            "action": np.asarray(actions, np.float32),
            "reward": np.asarray(rewards, np.float32),
            "terminated": last & terminated,
            "truncated": last & (not terminated),
            "source": np.zeros(count, np.uint8),
            "version": np.zeros(count, np.int64),
        },
    )


def test_values_of_a_chain_converge_to_the_solution_next_to_the_goal_too() -> None:
    """0 → 1 → 2 → goal (reward 1), any action: with γ = 0.5, Q = 0.25, 0.5 and 1, whatever the tail of the chunk.

    Of the windows of H = 2, the one from state 2 has the end in its first step. State 3 gives 0.4 for ever, and only
    time limits, within windows of it too, end that: Q = 0.4/(1 − γ) = 0.8; had they ended it, about 0.6.
    """
    config = ChunkedConfig(
        horizon=2, hidden=(32, 32), critics=2, discount=0.5, learning_rate=2e-3, target_rate=0.05, flow_steps=1,
        samples=1, critic_steps=20,
    )  # fmt: skip
    rows, buffer, rng = np.eye(5), ReplayBuffer(1000, Layout(5, 1)), np.random.default_rng(0)
    for number in range(40):
        buffer.add(episode(2 * number, rows[[0, 1, 2, 4]], [0, 0, 1], terminated=True))
        buffer.add(episode(2 * number + 1, rows[[3] * 4], [0.4] * 3, terminated=False))
    state = chunked.create(jax.random.PRNGKey(0), Layout(5, 1), config)
    for _ in range(50):
        batch = buffer.sample(rng, 20 * 64, 2)._replace(columns={"example": np.ones(20 * 64, np.float32)})
        batch = jax.tree.map(lambda c: c.reshape(20, 64, *np.shape(c)[1:]), batch)
        state, _ = chunked.update(state, batch, config=config)
    chunks = np.stack(np.meshgrid(*[np.linspace(-0.9, 0.9, 4)] * 2), -1).reshape(1, 16, 2)
    q = np.asarray(chunked.q_values(state.values.critics, rows[:4], np.tile(chunks, (4, 1, 1))))
    for number, value in enumerate((0.25, 0.5, 1.0, 0.8)):
        np.testing.assert_allclose(q[:, number], value, atol=0.06)


@pytest.mark.parametrize("name", get_args(Extraction))
def test_the_policy_finds_the_better_of_two_ways(name: str) -> None:
    """The data go left twice (−0.6) or right twice (0.6); the reward rises with both actions from 0 to 1 between them.

    All three go right; imitation alone goes there half of the time. ``one_step`` climbs: the slope of Q, 1/2.4 for each
    action, holds against the pull back to a left teacher, 2 · 0.3/2 for each unit, as far as 1.4 to the right of it.
    """
    config = ChunkedConfig(
        extraction=name, horizon=2, hidden=(32, 32), learning_rate=2e-3, flow_steps=5, samples=8,
        temperature=0.2, distillation=0.3, critic_steps=20,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    state = chunked.create(jax.random.PRNGKey(0), Layout(1, 1), config)
    for _ in range(40):
        side = rng.choice((-0.6, 0.6), (20, 64, 1, 1)).astype(np.float32)
        ones, zeros = np.ones((20, 64, 1), np.float32), np.zeros((20, 64, 1), np.float32)
        action = np.clip(side + 0.05 * rng.normal(size=(20, 64, 2, 1)), -1, 1).astype(np.float32)
        worth = 0.5 + action.sum(axis=(2, 3))[..., None] / 2.4
        reward = np.concatenate((zeros, worth / config.discount), axis=-1)
        batch = Batch(zeros, action, reward, zeros[..., 0], zeros, np.tile(ones, (1, 1, 2)))
        batch = batch._replace(columns={"example": ones[..., 0]})
        state, _ = chunked.update(state, batch, config=config)
    agent = chunked.make_agent(config)
    actor = AgentActor(agent, Layout(1, 1), agent.actor(state), (0,))
    draws = np.array([actor.act(np.zeros(1, np.float32), {}, False)[:, 0] for _ in range(200)])
    assert (draws > 0.25).all(axis=1).mean() > 0.9
    if name != "one_step":  # the others stay where the data are
        assert (draws < 0.9).all(axis=1).mean() > 0.9
