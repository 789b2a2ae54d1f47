"""Latent steering against an independent numpy reference, finite differences, the ends of runs, and two ways to go."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.algorithms import dsrl
from robot_rl.learner.algorithms.dsrl import DsrlConfig, DsrlState
from robot_rl.learner.factory import make_algorithm
from robot_rl.learner.frozen import FlowBase
from tests.robot_rl.references import dense_relu, draw, flow, stir, windows

N, D, A, H = 6, 3, 2, 3
K = H * A
TINY = DsrlConfig(horizon=H, hidden=(5, 4), critics=3, discount=0.9, flow_steps=2, bound=1.2, critic_steps=2)


def tiny(seed: int = 0) -> DsrlState:
    """A small agent with no zero biases and targets that differ from the critics."""
    state = dsrl.create(jax.random.PRNGKey(seed), Layout(D, A), TINY)
    parts = ("base", "values", "target_values", "noise_critic", "actor")
    return state._replace(**{name: stir(getattr(state, name), seed + i, 0.2) for i, name in enumerate(parts)})


def batch_of(*lead: int) -> Batch:
    return windows(*lead, state=D, action=A, horizon=H)


def reference_chunks(base: FlowBase, state: np.ndarray, noise: np.ndarray) -> np.ndarray:
    return flow(base.flow, state, noise, TINY.flow_steps)


def least_q(critics, state: np.ndarray, chunk: np.ndarray) -> np.ndarray:
    inputs = np.concatenate((state, chunk), -1)
    return np.min([dense_relu(critics, inputs, member)[:, 0] for member in range(3)], axis=0)


def test_target_is_the_pessimistic_value_of_what_the_base_makes_of_the_actors_noise() -> None:
    state, batch, key = tiny(), batch_of(N), jax.random.PRNGKey(5)
    u, _ = draw(state.actor, batch.next_state, np.asarray(jax.random.normal(key, (N, K))))
    chunks = reference_chunks(state.base, batch.next_state, 1.2 * u)
    value = least_q(state.target_values.critics, batch.next_state, chunks)
    expected = batch.reward @ np.array([1.0, 0.9, 0.81]) + 0.9**3 * batch.mask * value
    np.testing.assert_allclose(dsrl.critic_target(key, state, batch, TINY), expected, rtol=2e-5, atol=2e-5)


def test_target_of_a_window_with_the_end_in_it_is_its_rewards_and_at_a_time_limit_it_is_not() -> None:
    state, key = tiny(), jax.random.PRNGKey(1)
    reward = np.tile(np.array([1.0, 10.0, 100.0], np.float32), (N, 1))
    ended = batch_of(N)._replace(mask=np.zeros(N, np.float32), reward=reward)
    np.testing.assert_allclose(dsrl.critic_target(key, state, ended, TINY), 1 + 9 + 81, rtol=1e-6)
    limited = ended._replace(mask=np.ones(N, np.float32))
    assert (np.abs(dsrl.critic_target(key, state, limited, TINY) - 91) > 1e-3).all()


def test_what_a_time_limit_cut_short_teaches_no_critic() -> None:
    state = tiny()
    batch = jax.tree.map(lambda column: np.repeat(column[2:3], N, axis=0), batch_of(N))  # cut short after two steps
    after, _ = jax.jit(partial(dsrl.value_step, config=TINY))(state, jax.random.PRNGKey(0), batch)
    for name, before in state.values.critics.items():
        np.testing.assert_array_equal(after.values.critics[name], before)


def test_the_noise_critic_learns_what_the_others_say_of_the_chunks() -> None:
    state, batch, key = tiny(), batch_of(N), jax.random.PRNGKey(3)
    noise, value = dsrl.aliased(key, state, batch.state, batch, TINY)
    drawn_key, steer_key = jax.random.split(key)
    np.testing.assert_array_equal(noise[:, 0], jax.random.normal(drawn_key, (N, K)))
    u, _ = draw(state.actor, batch.state, np.asarray(jax.random.normal(steer_key, (N, K))))
    np.testing.assert_allclose(noise[:, 1], 1.2 * u, rtol=1e-5, atol=1e-6)
    expected = np.stack(
        [
            least_q(state.values.critics, batch.state, reference_chunks(state.base, batch.state, noise[:, i]))
            for i in range(2)
        ],
        axis=1,
    )
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-5)
    said = [dense_relu(state.noise_critic, np.concatenate((batch.state, noise[:, i]), -1), 0)[:, 0] for i in range(2)]
    loss = dsrl.noise_loss(state.noise_critic, batch.state, noise, value)
    np.testing.assert_allclose(loss, ((np.stack(said, 1) - expected) ** 2).mean(), rtol=2e-5)


def test_the_actors_loss_and_its_gradient() -> None:
    state, batch, key = tiny(), batch_of(N), jax.random.PRNGKey(4)
    log_alpha = jnp.log(0.3)

    def loss(actor):
        return dsrl.actor_loss(actor, key, state.noise_critic, log_alpha, batch.state, TINY)

    u, log_prob = draw(state.actor, batch.state, np.asarray(jax.random.normal(key, (N, K))))
    q = dense_relu(state.noise_critic, np.concatenate((batch.state, 1.2 * u), -1), 0)[:, 0]
    value, entropy = loss(state.actor)
    np.testing.assert_allclose(value, (0.3 * log_prob - q).mean(), rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(entropy, -log_prob.mean(), rtol=2e-5)
    gradient = jax.grad(lambda actor: loss(actor)[0])(state.actor)
    rng = np.random.default_rng(0)
    along = {name: rng.normal(size=p.shape).astype(np.float32) for name, p in state.actor.items()}
    ahead, behind = (
        float(loss({name: p + sign * 1e-3 * along[name] for name, p in state.actor.items()})[0]) for sign in (1, -1)
    )
    slope = sum(float((gradient[name] * along[name]).sum()) for name in along)
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-3, rtol=2e-2, atol=2e-3)


def test_an_update_leaves_the_base_alone_and_moves_all_else() -> None:
    state = tiny()
    after, info = dsrl.update(state, batch_of(2, N), config=TINY)
    assert all(np.isfinite(value) for value in info.values())
    same = jax.tree.map(np.array_equal, state._asdict(), after._asdict())
    assert all(jax.tree.leaves(same["base"]))
    for name in ("values", "target_values", "noise_critic", "actor"):
        assert not any(jax.tree.leaves(same[name])), name
    assert float(after.log_alpha) != float(state.log_alpha)


@pytest.mark.slow
def test_the_better_of_two_ways_that_were_shown_is_taken() -> None:
    """People go left twice (−0.6) or right twice (0.6); only right is rewarded. The base goes either way."""
    config = replace(TINY, horizon=2, hidden=(32, 32), learning_rate=2e-3, flow_steps=5, bound=1.5)
    agent = make_algorithm("dsrl", {"horizon": 2, "hidden": [32, 32], "learning_rate": 2e-3, "critic_steps": 2})
    base, rng = dsrl.base_of(config), np.random.default_rng(0)
    state = agent.create(jax.random.PRNGKey(0), Layout(1, 1))
    optimiser = base.optimiser.init(base.learnt(state))

    def shown(count: int) -> Batch:
        side = rng.choice((-0.6, 0.6), (count, 64, 1, 1)).astype(np.float32)
        ones = np.ones((count, 64, 1), np.float32)
        return Batch(
            state=0.0 * ones,
            action=np.repeat(side, 2, axis=2),
            reward=np.concatenate((0.0 * ones, (side[..., 0] > 0.0).astype(np.float32)), -1),
            mask=np.zeros((count, 64), np.float32),
            next_state=0.0 * ones,
            valid=np.ones((count, 64, 2), np.float32),
        )

    @jax.jit
    def imitate(learnt, optimiser, batch):
        def step(held, given):
            (learnt, optimiser), (key, part) = held, given
            gradient = jax.grad(base.loss)(learnt, key, part)
            change, optimiser = base.optimiser.update(gradient, optimiser)
            return (jax.tree.map(jnp.add, learnt, change), optimiser), None

        keys = jax.random.split(jax.random.PRNGKey(1), len(batch.mask))
        return jax.lax.scan(step, (learnt, optimiser), (keys, batch))[0]

    learnt, _ = imitate(base.learnt(state), optimiser, shown(600))
    state = base.replace(state, learnt)

    def goes_right(act, deterministic: bool) -> float:
        params = agent.actor(state)
        keys = jax.random.split(jax.random.PRNGKey(2), 200)
        chunks = jax.vmap(lambda key: act(params, (), jnp.zeros(1), {}, key, deterministic)[0])(keys)
        return float((np.asarray(chunks)[:, :, 0] > 0.3).all(axis=1).mean())

    assert 0.3 < goes_right(base.act, True) < 0.7
    for _ in range(400):
        state, _ = agent.update(state, shown(2))
    assert goes_right(agent.act, False) > 0.9
    assert goes_right(agent.act, True) == 1.0
    assert 0.3 < goes_right(base.act, True) < 0.7


@pytest.mark.parametrize("cameras", [{}, {"wrist": (16, 16)}])
def test_the_base_acts_alone_by_its_own_noise_and_encoder(cameras: dict[str, tuple[int, int]]) -> None:
    layout = Layout(D, A, cameras)
    agent = make_algorithm("dsrl", {"horizon": H, "hidden": [5, 4], "flow_steps": 2})
    state = agent.create(jax.random.PRNGKey(0), layout)
    seen = {name: np.full((*size, 3), 200, np.uint8) for name, size in cameras.items()}
    key, row = jax.random.PRNGKey(9), np.ones(D, np.float32)
    alone, _ = agent.base.act(agent.actor(state), (), row, seen, key, True)
    changed = state._replace(actor=stir(state.actor, 1), values=stir(state.values, 2))
    np.testing.assert_array_equal(agent.base.act(agent.actor(changed), (), row, seen, key, True)[0], alone)
    assert (agent.act(agent.actor(changed), (), row, seen, key, True)[0] != alone).any()
    assert agent.act(agent.actor(state), (), row, seen, key, False)[0].shape == (H, A)
