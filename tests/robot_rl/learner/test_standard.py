"""Inputs in any units: whatever an environment's observations are measured in, an agent does and learns the same."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent
from robot_rl.learner.factory import make_agent
from robot_rl.learner.standard import LIMIT, Scale, scale_of, standardise

D, A, N = 4, 2, 16
LAYOUT = Layout(D, A)
SMALL = {
    "flash_sac": {"actor_width": 4, "critic_width": 4, "blocks": 1, "bins": 11, "critic_steps": 2},
    "rlpd": {"hidden": [8], "critics": 2, "critic_steps": 2},
}
UNITS = np.float32([1024.0, 1.0 / 1024.0, 1024.0, 1.0])  # of two: exact in binary


def states(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, D)) * [3.0, 0.1, 1.0, 20.0] + [5.0, 0.2, 0.0, -7.0]).astype(np.float32)


def batch(steps: int, units: np.ndarray, seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    rows = (steps, N)
    return Batch(
        state=(states(steps * N, seed) * units).reshape(*rows, D),
        action=rng.uniform(-1.0, 1.0, (*rows, A)).astype(np.float32),
        reward=rng.random(rows, np.float32),
        mask=np.ones(rows, np.float32),
        next_state=(states(steps * N, seed + 1) * units).reshape(*rows, D),
        valid=np.ones(rows, np.float32),
        columns={name: np.ones(steps, np.float32) for name in ("return_deviation", "return_largest")},
    )


def curve(agent: Agent, units: np.ndarray, demonstrated: bool) -> np.ndarray:
    """Actions at a few states after a few updates, of demonstrations that were imitated first or without any."""
    state = agent.create(jax.random.PRNGKey(1), LAYOUT)
    if demonstrated:
        state = agent.measure(state, states(200) * units)
        state, _ = agent.imitate(state, batch(3, units, 30))
        state = agent.turn(state, 1.0, 1.0)
    for seed in range(3):
        state, _ = agent.update(state, batch(2, units, 10 * seed))
    act = jax.jit(lambda s: agent.act(agent.actor(state), agent.carry(LAYOUT), s, {}, jax.random.PRNGKey(2), True)[0])
    return np.stack([act(row) for row in states(5, 99) * units])


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("demonstrated", [True, False])
def test_units_do_not_matter(name: str, demonstrated: bool) -> None:
    agent = make_agent(name, SMALL[name])
    plain = curve(agent, np.ones(D, np.float32), demonstrated)
    assert np.abs(plain).max() > 1e-3
    np.testing.assert_allclose(curve(agent, UNITS, demonstrated), plain, atol=1e-5)
    np.testing.assert_allclose(curve(agent, np.full(D, 1e-3, np.float32), demonstrated), plain, atol=2e-3)


def test_what_is_seen_has_mean_0_and_deviation_1() -> None:
    rows = states(500)
    seen = np.asarray(standardise(scale_of(jnp.asarray(rows)), jnp.asarray(rows)))
    np.testing.assert_allclose(seen.mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(seen.std(axis=0), 1.0, atol=1e-4)


def test_numbers_that_hardly_change_are_not_blown_up() -> None:
    rows = states(100)
    rows[:, 0] = 4.0
    rows[:, 1] = 0.0
    rows[:, 2] = 2.0 + 1e-4 * rows[:, 2]
    scale = scale_of(jnp.asarray(rows))
    np.testing.assert_allclose(scale.gain[:3], [0.25, 1.0, 0.5], rtol=1e-3)
    assert np.isfinite(standardise(scale, jnp.full(D, 1e6))).all()
    assert np.abs(standardise(scale, jnp.full(D, 1e6))).max() == LIMIT


def test_units_that_were_chosen_are_not_scaled_up() -> None:
    scale = scale_of(jnp.asarray(states(100)), 1.0)
    deviation = states(100).std(axis=0)
    np.testing.assert_allclose(scale.gain, 1.0 / np.maximum(deviation, 1.0), rtol=1e-4)


def test_the_first_minibatches_tell_the_scale_once_where_there_are_no_demonstrations() -> None:
    agent = make_agent("rlpd", SMALL["rlpd"])
    ones = np.ones(D, np.float32)
    state = agent.create(jax.random.PRNGKey(0), LAYOUT)
    assert not np.asarray(state.scale.gain).any()
    state, _ = agent.update(state, batch(2, ones, 0))
    known: Scale = state.scale
    np.testing.assert_allclose(known.mean, batch(2, ones, 0).state.mean(axis=(0, 1)), rtol=1e-4)
    state, _ = agent.update(state, batch(2, 7.0 * ones, 1))
    assert all((one == other).all() for one, other in zip(known, state.scale, strict=True))


def test_inputs_can_be_left_as_they_are() -> None:
    agent = make_agent("rlpd", SMALL["rlpd"] | {"scale_inputs": False})
    assert not any("scale/" in name for name in agent.actor(agent.create(jax.random.PRNGKey(0), LAYOUT)))
