"""Start from a clone that is drawn: two ways stay two ways, whose noise a step had, and what the edit sees of it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent
from robot_rl.learner.factory import make_agent
from robot_rl.learner.networks import clone, koopman
from robot_rl.learner.warm import MATCHED, WarmConfig, edited, matched, warm
from tests.robot_rl.learner.test_warm import GRID, SMALL, A, D, N, batch
from tests.robot_rl.references import stir

LAYOUT = Layout(D, A)
K = 4  # Koopman features
DRAWN = {"clone": "drawn", "edit": 0.2}
KEY = jax.random.PRNGKey(3)


def two_ways(steps: int, seed: int) -> Batch:
    """People go to one side or to the other, by 0.6, whatever they see."""
    given = batch(steps, seed)
    side = np.random.default_rng(seed).choice((-0.6, 0.6), (steps, N, 1)).astype(np.float32)
    return given._replace(action=np.concatenate((side, 0.0 * side), axis=-1))


def imitated(agent: Agent, shown: Any = two_ways, calls: int = 12) -> Any:
    state = agent.create(jax.random.PRNGKey(0), LAYOUT)
    state = agent.measure(state, shown(8, 0).state.reshape(-1, D))
    for call in range(calls):
        state, info = agent.imitate(state, shown(50, call)._replace(columns={}))
    assert np.isfinite(info["imitation/loss"])
    return state


def actions(agent: Agent, state: Any, steps: int, deterministic: bool = True) -> np.ndarray:
    """``(steps, a)``: of one episode, in which nothing is seen to change."""
    params, row = agent.actor(state), np.zeros(D, np.float32)

    def step(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        chunk, carry = agent.act(params, carry, row, {}, key, deterministic)
        return carry, chunk[0]

    return np.asarray(jax.lax.scan(step, agent.carry(LAYOUT), jax.random.split(KEY, steps))[1])


def test_two_ways_stay_two_ways_and_a_mean_goes_between() -> None:
    drawn, mean = (
        actions(agent, imitated(agent), 400)[:, 0]
        for agent in (
            make_agent("rlpd", SMALL["rlpd"] | DRAWN | {"imitation_rate": 2e-3}),
            make_agent("rlpd", SMALL["rlpd"] | {"held_noise": 0.0}),
        )
    )
    assert (np.abs(np.abs(drawn) - 0.6) < 0.25).mean() > 0.8
    assert 0.25 < (drawn > 0.0).mean() < 0.75
    assert np.abs(mean).max() < 0.2


@pytest.mark.parametrize(("leads", "deterministic"), [(0.0, True), (0.0, False), (1.0, True)])
def test_one_draw_serves_so_many_steps_in_use_and_while_exploring(leads: float, deterministic: bool) -> None:
    agent = make_agent("rlpd", SMALL["rlpd"] | DRAWN | {"hold": 3})
    state = agent.turn(imitated(agent, calls=1), 0.0, leads)
    acted = actions(agent, state, 30, deterministic)
    changed = (np.diff(acted, axis=0) != 0.0).any(axis=1)
    np.testing.assert_array_equal(changed, np.arange(1, 30) % 3 == 0)


@pytest.mark.parametrize("name", SMALL)
def test_every_agent_begins_as_the_clone_and_is_bounded_around_it(name: str) -> None:
    agent = make_agent(name, SMALL[name] | DRAWN)
    state = imitated(agent, calls=1)
    alone = actions(agent, state, 20)
    for seed in range(3):
        state, info = agent.update(state, batch(1, seed))
    assert all(np.isfinite(value).all() for value in info.values())
    np.testing.assert_array_equal(actions(agent, state, 20), alone)
    led = actions(agent, agent.turn(state, 0.0, 1.0), 20)
    assert 0.0 < np.abs(led - alone).max() <= agent.config.reach + 1e-6


def test_the_noise_of_a_step_is_the_drawn_one_that_comes_nearest_and_mostly_serves_the_next_too() -> None:
    made = stir(clone.create(jax.random.PRNGKey(0), LAYOUT, "drawn"), 1, 0.1)
    rows = jax.tree.map(np.concatenate, batch(40, 5)._replace(columns={}))
    key = jax.random.PRNGKey(2)
    now, after = jax.jit(matched, static_argnums=3)(key, made, rows, 4, jnp.array([0.1, 0.0]))
    noise = jax.random.normal(jax.random.split(key, 3)[0], (MATCHED, *rows.action.shape))
    each = np.asarray(clone.apply(made, rows.state, noise))
    nearest = np.abs(each - rows.action)[..., 0].argmin(axis=0), np.arange(len(rows.state))
    np.testing.assert_allclose(now, each[nearest], rtol=1e-5, atol=1e-6)
    kept = np.asarray(clone.apply(made, rows.next_state, noise[nearest]))
    within = (np.abs(kept) < 1.0).any(axis=-1)  # at both ends other noise would tell nothing
    assert within.mean() > 0.5
    same = np.isclose(after, kept, rtol=1e-4, atol=1e-5).all(axis=-1)[within]
    assert 0.70 < same.mean() < 0.80, "three of four, by 640 rows and more: σ = 0.017"


@pytest.mark.parametrize("features", [0, K])
def test_the_edit_sees_what_it_edits_and_makes_of_it_what_was_done(features: int) -> None:
    """As it learns and as it acts; and without demonstrations it sees nothing of a clone."""
    given: list[Any] = []

    def update(state: Any, seen: Batch) -> tuple[Any, dict[str, jax.Array]]:
        return state, {"state": seen.state, "edit": seen.action, "after": seen.next_state}

    def act(params: Any, carry: Any, state: jax.Array, *_: Any) -> tuple[jax.Array, Any]:
        given.append(state)
        return jnp.zeros((1, A)), carry

    config = WarmConfig(clone="drawn", edit=2.0, koopman=features)
    spy = Agent("spy", config, 1, lambda key, layout: layout.state_size, update, lambda state: {}, act)
    agent = warm(spy)
    state = agent.create(jax.random.PRNGKey(0), LAYOUT)
    assert state.inner == D + A + features
    state = state._replace(inner=(), clone=stir(state.clone, 1, 0.2), started=jnp.float32(1.0))
    rows = batch(1, 3)
    _, info = agent.update(state, rows)
    states, after = np.asarray(info["state"]), np.asarray(info["after"])
    np.testing.assert_array_equal(states[..., :D], rows.state)
    np.testing.assert_array_equal(after[..., :D], rows.next_state)
    drawn = states[..., D : D + A]
    np.testing.assert_allclose(edited(drawn, info["edit"], state.reach), rows.action, atol=1e-5)
    assert np.ptp(drawn) > 0.1 and np.abs(drawn).max() <= 1.0
    if features:
        expected = koopman.predict(state.ahead, rows.state, drawn)
        np.testing.assert_allclose(states[..., D + A :], expected, rtol=1e-4, atol=1e-5)
    acted, _ = agent.act(agent.actor(state), agent.carry(LAYOUT)._replace(inner=()), rows.state[0, 0], {}, KEY, True)
    np.testing.assert_allclose(given[0][D : D + A], acted[0], atol=1e-6)

    bare = state._replace(started=jnp.float32(0.0))
    _, info = agent.update(bare, rows)
    np.testing.assert_array_equal(info["edit"], rows.action)
    np.testing.assert_array_equal(np.asarray(info["state"])[..., D : D + A], 0.0)
    agent.act(agent.actor(bare), agent.carry(LAYOUT)._replace(inner=()), rows.state[0, 0], {}, KEY, True)
    np.testing.assert_array_equal(given[1][D : D + A], 0.0)


def test_what_acts_is_an_average_and_another_run_goes_on_from_it() -> None:
    agent = make_agent("flash_sac", SMALL["flash_sac"] | DRAWN)
    state = imitated(agent, calls=2)
    learnt, average = state.inner.imitated.learnt, state.inner.clone
    assert not np.array_equal(learnt.policy["out/w"], average.policy["out/w"])
    published = {name: np.asarray(value) for name, value in agent.actor(state).items()}
    np.testing.assert_array_equal(published["agent/clone/out/w"], average.policy["out/w"])
    taken = agent.adopt(agent.create(jax.random.PRNGKey(9), LAYOUT), published)
    np.testing.assert_array_equal(actions(agent, taken, 9), actions(agent, state, 9))
    again, _ = agent.imitate(taken, two_ways(1, 0)._replace(columns={}))
    np.testing.assert_array_equal(taken.inner.imitated.learnt.policy["out/w"], average.policy["out/w"])
    assert not np.array_equal(again.inner.clone.policy["out/w"], average.policy["out/w"])


@pytest.mark.parametrize(
    ("name", "settings", "layout"),
    [
        ("hil", {}, Layout(D, A, options=3)),
        ("sac", {"parameter_dtype": "bfloat16", "dtype": "bfloat16"}, LAYOUT),
        ("rlpd", {"koopman": K}, Layout(D, A, {"wrist": GRID})),
    ],
)
def test_all_kinds_of_agents_learn_from_it(name: str, settings: dict[str, Any], layout: Layout) -> None:
    agent = make_agent(name, SMALL[name] | DRAWN | settings)
    state, rows = agent.create(jax.random.PRNGKey(0), layout), batch(1, 0)
    if layout.images:
        pictures = {"wrist": np.ones((1, N, *GRID), np.float16)}
        rows = rows._replace(images=pictures, next_images=pictures)
    state, _ = agent.imitate(state, rows._replace(columns={}, next_images=None))
    state, info = agent.update(state, rows)
    assert all(np.isfinite(value).all() for value in info.values())
    seen = {camera: np.ones(GRID, np.float16) for camera in layout.images}
    acted, _ = agent.act(agent.actor(state), agent.carry(layout), np.ones(D, np.float32), seen, KEY, True)
    assert acted.shape == (1, A) and np.abs(acted).max() <= 1.0
