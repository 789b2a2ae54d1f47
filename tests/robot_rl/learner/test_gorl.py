"""Steering stage by stage: what a coming decoder learns, who takes over when, and where steering alone cannot go."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.algorithms import dsrl, gorl
from robot_rl.learner.algorithms.dsrl import DsrlConfig
from robot_rl.learner.algorithms.gorl import GorlConfig, GorlState
from robot_rl.learner.networks.parts import part
from tests.robot_rl.references import dense_relu, equal, flow, stir, windows

N, D, A, H = 6, 3, 2, 3
K = H * A
TINY = GorlConfig(horizon=H, hidden=(5, 4), critics=3, flow_steps=2, critic_steps=2, stage=2)
CAMERAS = {"wrist": (16, 16)}


def tiny(seed: int = 0) -> GorlState:
    """A small agent whose base, decoder and coming decoder are three flows."""
    state = gorl.create(jax.random.PRNGKey(seed), Layout(D, A), TINY)
    steered = {name: stir(getattr(state.steered, name), seed + i, 0.2) for i, name in enumerate(("base", "actor"))}
    return state._replace(coming=stir(state.coming, seed + 9, 0.2), steered=state.steered._replace(**steered))


def batch_of(*lead: int) -> Batch:
    return windows(*lead, state=D, action=A, horizon=H)


def test_the_coming_decoder_learns_what_the_steered_one_does() -> None:
    state, batch, key = tiny(), batch_of(N), jax.random.PRNGKey(5)
    steer_key, flow_key = jax.random.split(key)
    outputs = dense_relu(state.steered.actor, batch.state)
    mean, log_std = outputs[:, :K], outputs[:, K:]
    w = mean + np.exp(log_std) * np.asarray(jax.random.normal(steer_key, (N, K)))
    chunk = flow(state.steered.base.flow, batch.state, w, TINY.flow_steps)
    noise_key, time_key = jax.random.split(flow_key)
    noise = np.asarray(jax.random.normal(noise_key, (N, K)))
    t = np.asarray(jax.random.uniform(time_key, (N,)))[:, None]
    said = dense_relu(state.coming, np.concatenate((batch.state, (1 - t) * noise + t * chunk, t), axis=-1))
    after, loss = gorl.decoder_step(state, key, batch, TINY)
    np.testing.assert_allclose(loss, ((said - (chunk - noise)) ** 2).mean(), rtol=2e-5)
    assert equal(after.steered, state.steered)
    assert equal(after.base, state.base)
    assert not equal(after.coming, state.coming)


def test_the_divergence_of_the_noise_is_that_from_white_noise() -> None:
    """Against the mean of the difference of log-densities over many draws."""
    mean, log_std = jnp.array([[0.5, -1.0, 0.2]]), jnp.log(jnp.array([[0.5, 1.5, 1.0]]))
    w, divergence = TINY.noise(jax.random.PRNGKey(0), jnp.repeat(mean, 200_000, 0), jnp.repeat(log_std, 200_000, 0))
    own = -0.5 * ((w - mean) / jnp.exp(log_std)) ** 2 - log_std
    np.testing.assert_allclose(divergence[0], (own + 0.5 * w**2).mean(), rtol=1e-2)
    np.testing.assert_array_equal(TINY.noise(jax.random.PRNGKey(0), 0.0 * mean, 0.0 * mean)[1], 0.0)


def test_a_stage_steers_as_dsrl_does_and_at_its_end_the_coming_decoder_takes_over() -> None:
    state, batch = tiny(), batch_of(2, N)
    first, info = gorl.update(state, batch, config=TINY)
    assert all(np.isfinite(value) for value in info.values())
    alone, _ = dsrl.learn(state.steered._replace(key=jax.random.split(state.key, 4)[0]), batch, TINY)
    for name in ("values", "noise_critic", "actor", "log_alpha"):
        for ours, theirs in zip(
            jax.tree.leaves(getattr(first.steered, name)), jax.tree.leaves(getattr(alone, name)), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert int(first.made) == 1
    assert equal(first.steered.base, state.steered.base)

    second, _ = gorl.update(first, batch, config=TINY)
    assert int(second.made) == 0
    assert equal(second.steered.base.flow, second.coming)
    assert not equal(second.coming, first.coming)
    fresh = dsrl.steering(jax.random.split(first.key, 4)[3], D, K, TINY)
    assert equal({name: getattr(second.steered, name) for name in fresh}, fresh)
    assert not equal(second.steered.values, state.steered.values)
    assert equal(second.base, state.base)


@pytest.mark.parametrize("cameras", [{}, CAMERAS])
def test_the_base_acts_alone_and_the_decoder_when_steered(cameras: dict[str, tuple[int, int]]) -> None:
    agent = gorl.make_agent(TINY)
    state = agent.create(jax.random.PRNGKey(0), Layout(D, A, cameras))
    seen = {name: np.full((*size, 3), 200, np.uint8) for name, size in cameras.items()}
    row, key = np.ones(D, np.float32), jax.random.PRNGKey(9)
    params = agent.actor(state)
    alone, steered = agent.base.act(params, (), row, seen, key, True)[0], agent.act(params, (), row, seen, key, True)[0]
    other = state._replace(steered=state.steered._replace(base=stir(state.steered.base, 1)))
    params = agent.actor(other)
    np.testing.assert_array_equal(agent.base.act(params, (), row, seen, key, True)[0], alone)
    assert (agent.act(params, (), row, seen, key, True)[0] != steered).any()
    by_dsrl = dsrl.act(agent.actor(state), (), row, seen, key, True, TINY)[0]
    np.testing.assert_array_equal(steered, by_dsrl)
    assert equal(part(params, "flow"), state.base.flow)


def test_a_base_taken_over_is_what_decoders_begin_as() -> None:
    state = tiny()
    base = stir(state.base, 3)
    begun = gorl.base_of(TINY).replace(state, base)
    assert equal(begun.base, base)
    assert equal(begun.steered.base, base)
    assert equal(begun.coming, base.flow)


@pytest.mark.slow
def test_stages_lead_to_where_steering_alone_cannot() -> None:
    """People push by −0.2 to 0.2, and the harder a push to the right, the better it is."""
    rng = np.random.default_rng(0)
    config = replace(TINY, horizon=1, hidden=(32, 32), learning_rate=2e-3, flow_steps=5, stage=400)

    def pushes(count: int, most: float) -> Batch:
        action = rng.uniform(-most, most, (count, 256, 1, 1)).astype(np.float32)
        ones = np.ones((count, 256, 1), np.float32)
        zeros = np.zeros((count, 256), np.float32)
        return Batch(0.0 * ones, action, action[..., 0], zeros, 0.0 * ones, valid=ones)

    def push(agent, state) -> float:
        keys = jax.random.split(jax.random.PRNGKey(2), 200)
        acted = jax.vmap(lambda key: agent.act(agent.actor(state), (), jnp.zeros(1), {}, key, False)[0])(keys)
        return float(np.mean(acted))

    pushed = {}
    same = {name: getattr(config, name) for name in ("horizon", "hidden", "learning_rate", "critic_steps")}
    for agent in (dsrl.make_agent(DsrlConfig(**same)), gorl.make_agent(config)):
        state, base = agent.create(jax.random.PRNGKey(0), Layout(1, 1)), agent.base
        assert base is not None
        learnt = base.learnt(state)
        optimiser = base.optimiser.init(learnt)
        step = jax.jit(jax.grad(base.loss))
        for number in range(500):
            shown = jax.tree.map(lambda column: column[0], pushes(1, 0.2))
            change, optimiser = base.optimiser.update(step(learnt, jax.random.PRNGKey(number), shown), optimiser)
            learnt = jax.tree.map(jnp.add, learnt, change)
        state = base.replace(state, learnt)
        for _ in range(2000):
            state, _ = agent.update(state, pushes(2, 1.0))
        pushed[agent.name] = push(agent, state)
    assert pushed["dsrl"] < 0.3, pushed
    assert pushed["gorl"] > 0.5, pushed
