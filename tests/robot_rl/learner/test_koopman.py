"""Koopman features: their loss by hand, a linear system found, and edits that see them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent
from robot_rl.learner.checkpoint import tree_to_leaves
from robot_rl.learner.factory import make_agent
from robot_rl.learner.networks import clone, koopman
from robot_rl.learner.networks.noise import no_noise
from robot_rl.learner.networks.parts import part
from robot_rl.learner.warm import WarmCarry, WarmConfig, warm, widened
from robot_rl.policies.serving import parameter_shapes
from tests.robot_rl.learner.test_warm import GRID, LAYOUT, SMALL, A, D, N, acts, batch, imitated, shown

K = 4


def test_the_loss_is_the_one_computed_by_hand() -> None:
    params = koopman.create(jax.random.PRNGKey(0), 2, 1, 3)
    state, after = np.float32([[0.3, -0.2]]), np.float32([[0.1, 0.4]])
    action = np.float32([[0.5]])
    z, z_after = (np.asarray(koopman.encode(params, one)) for one in (state, after))
    matrices = {name: np.asarray(value) for name, value in part(params, "matrices").items()}
    ahead = z @ matrices["A"] + action @ matrices["B"] - z_after
    back = z @ matrices["D"] - state
    expected = (ahead**2).sum() / 3 + (back**2).sum() / 2
    assert float(koopman.loss(params, state, action, after)) == pytest.approx(expected, rel=1e-5)


def test_features_of_a_system_that_is_linear_in_them_predict_it_and_do_not_collapse() -> None:
    rng = np.random.default_rng(0)
    state, action = rng.normal(size=(512, 2)).astype(np.float32), rng.uniform(-1, 1, (512, 1)).astype(np.float32)
    after = state @ np.float32([[0.9, 0.1], [-0.1, 0.9]]) + action @ np.float32([[0.0, 0.5]])
    params, adam = koopman.create(jax.random.PRNGKey(1), 2, 1, 6), optax.adam(3e-3)

    @jax.jit
    def step(held: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], jax.Array]:
        loss, slope = jax.value_and_grad(koopman.loss)(held[0], state, action, after)
        change, optimiser = adam.update(slope, held[1])
        return (optax.apply_updates(held[0], change), optimiser), loss

    (params, _), losses = jax.lax.scan(step, (params, adam.init(params)), None, length=800)
    assert losses[-1] < 0.05 * losses[0]
    error = koopman.predict(params, state, action) - koopman.encode(params, after)
    spread = np.asarray(koopman.encode(params, after)).var(axis=0)
    assert float((error**2).mean()) < 0.05 * spread.mean() and spread.mean() > 0.05
    without = koopman.predict(params, state, 0.0 * action) - koopman.encode(params, after)
    assert float((without**2).mean()) > 2.0 * float((error**2).mean()), "actions move them"


@pytest.mark.parametrize("name", ["flash_sac", "rlpd"])
def test_an_edit_sees_what_the_clone_s_action_leads_to_and_begins_at_nothing(name: str) -> None:
    settings = SMALL[name] | {"held_noise": 0.0}
    agent = make_agent(name, settings | {"koopman": K})
    state = imitated(agent)
    np.testing.assert_allclose(acts(agent, state), shown(batch(1, 77).state[0]), atol=0.15)
    before = np.asarray(agent.actor(state)["agent/ahead/matrices/A"])
    for seed in range(3):
        state, info = agent.update(state, batch(1, seed))
    assert np.isfinite(info["koopman/loss"])
    assert not np.array_equal(agent.actor(state)["agent/ahead/matrices/A"], before), "they are learnt on"
    led = acts(agent, agent.turn(state, 1.0, 1.0))
    assert 0.0 < np.abs(led - acts(agent, state)).max() <= agent.config.reach + 1e-6
    params = {key: np.shape(value) for key, value in agent.actor(state).items()}
    assert params == parameter_shapes(agent, LAYOUT)
    without = {key: np.shape(value) for key, value in make_agent(name, settings).actor(_fresh(name, settings)).items()}
    wider = {key for key, shape in params.items() if key in without and without[key] != shape}
    assert wider and all("edit" in key for key in wider), "the edit alone has more inputs"


def test_the_features_of_another_run_are_taken_over_with_its_clone() -> None:
    agent = make_agent("rlpd", SMALL["rlpd"] | {"koopman": K})
    given = agent.actor(imitated(agent, 50))
    fresh = agent.create(jax.random.PRNGKey(9), LAYOUT)
    taken = agent.actor(agent.adopt(fresh, given))
    np.testing.assert_array_equal(taken["agent/ahead/matrices/B"], given["agent/ahead/matrices/B"])
    plain = make_agent("rlpd", SMALL["rlpd"])
    without = plain.actor(imitated(plain, 50))
    kept = agent.actor(agent.adopt(fresh, without))
    np.testing.assert_array_equal(kept["agent/ahead/matrices/B"], agent.actor(fresh)["agent/ahead/matrices/B"])


def test_the_edit_sees_the_same_features_when_it_learns_and_when_it_acts() -> None:
    """Of the clone's action in each state, and of none other; no gradient reaches them."""
    given: list[Any] = []

    def update(state: Any, seen: Batch) -> tuple[Any, dict[str, jax.Array]]:
        return state, {"state": seen.state, "after": seen.next_state}

    def act(params: Any, carry: Any, state: jax.Array, *_: Any) -> tuple[jax.Array, Any]:
        given.append(state)
        return jnp.zeros((1, A)), carry

    spy = Agent(
        "spy",
        WarmConfig(koopman=K),
        1,
        lambda key, layout: layout.state_size,
        update,
        lambda state: {},
        act,
    )
    agent = warm(spy)
    state = agent.create(jax.random.PRNGKey(0), LAYOUT)
    assert state.inner == D + K
    state = state._replace(inner=(), started=jnp.float32(1.0))
    rows = batch(1, 3)
    _, info = agent.update(state, rows)
    for where, seen in ((rows.state, info["state"]), (rows.next_state, info["after"])):
        expected = koopman.predict(state.ahead, where, clone.apply(state.clone, where[0], rows.action[0])[None])
        np.testing.assert_allclose(seen, np.concatenate((where, expected), axis=-1), rtol=1e-4, atol=1e-5)
    agent.act(agent.actor(state), WarmCarry((), no_noise(LAYOUT)), rows.state[0, 0], {}, jax.random.PRNGKey(0), True)
    np.testing.assert_allclose(given[0], info["state"][0, 0], rtol=1e-4, atol=1e-5)
    slope = jax.grad(lambda one: widened(one, False, jnp.ones((2, D)), jnp.ones((2, A))).sum())(state.ahead)
    assert all(not np.any(value) for value in slope.values())


@pytest.mark.parametrize(
    ("name", "settings", "layout"),
    [
        ("hil", {}, Layout(D, A, options=3)),
        ("rlpd_lagrangian", {}, LAYOUT),
        ("sac", {"parameter_dtype": "bfloat16", "dtype": "bfloat16"}, LAYOUT),
        ("rlpd", {}, Layout(D, A, {"wrist": GRID})),
    ],
)
def test_all_kinds_of_agents_learn_with_features(name: str, settings: dict[str, Any], layout: Layout) -> None:
    agent = make_agent(name, SMALL[name] | settings | {"koopman": K})
    state = agent.create(jax.random.PRNGKey(0), layout)
    rows = batch(1, 0)
    if layout.images:
        pictures = {"wrist": np.ones((1, N, *GRID), np.float16)}
        rows = rows._replace(images=pictures, next_images=pictures)
    state, info = agent.update(state, rows)
    assert all(np.isfinite(value).all() for value in info.values())
    seen = {camera: np.ones(GRID, np.float16) for camera in layout.images}
    action, _ = agent.act(
        agent.actor(state), agent.carry(layout), np.ones(D, np.float32), seen, jax.random.PRNGKey(0), True
    )
    assert action.shape == (1, A) and np.isfinite(action).all()


def test_without_features_a_state_has_what_it_had() -> None:
    """Checkpoints of before can be gone on from."""
    state = make_agent("rlpd", SMALL["rlpd"]).create(jax.random.PRNGKey(0), LAYOUT)
    assert not [path for path in tree_to_leaves(state) if "ahead" in path]


def _fresh(name: str, settings: dict[str, Any]) -> Any:
    return make_agent(name, settings).create(jax.random.PRNGKey(0), LAYOUT)
