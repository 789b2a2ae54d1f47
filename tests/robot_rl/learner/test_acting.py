"""How agents act: each against networks in float64 numpy, and its exploration against its distribution."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.learner.agent import Agent
from robot_rl.learner.algorithms import flash_sac, rlpd
from robot_rl.learner.factory import make_agent, make_algorithm
from robot_rl.learner.networks import flash
from robot_rl.learner.networks.parts import join, part
from tests.robot_rl import flash_reference, references
from tests.robot_rl.references import dense_relu, dense_tanh, stir

D, A = 5, 3
LAYOUT = Layout(D, A)
SEEING = Layout(D, A, {"wrist": (8, 8), "front": (6, 9)})
SETTINGS: dict[str, dict[str, Any]] = {
    "rlpd": {"hidden": [16, 8]},
    "sac": {"hidden": [16, 8]},
    "rlpd_lagrangian": {"hidden": [16, 8]},
    "hil": {"hidden": [16, 8]},
    "flash_sac": {"actor_width": 8, "critic_width": 4, "blocks": 1},
    "chunked": {"hidden": [16, 8], "horizon": 2, "samples": 6, "flow_steps": 3},
    "expo": {
        "hidden": [16, 8],
        "base_hidden": [8, 8],
        "critics": 5,
        "candidates": 4,
        "base_steps": 3,
        "edit_scale": 0.4,
    },
}
LIKE_HIL = {"activation": "tanh", "actor_layer_norm": True}
KEY = jax.random.PRNGKey(7)


def stirred(agent: Agent, layout: Layout, seed: int = 0) -> dict[str, jax.Array]:
    """Published parameters with no zero biases; variances stay positive."""
    fresh = agent.actor(agent.create(jax.random.PRNGKey(seed), layout))
    return {name: abs(p) if "moments/v" in name else p for name, p in stir(fresh, seed).items()}


def acting(agent: Agent, params: Any, deterministic: bool, carry: Any = ()) -> Any:
    """``(state, images, key) -> actions``, compiled."""
    return jax.jit(lambda state, images, key: agent.act(params, carry, state, images, key, deterministic)[0])


def states(count: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, D)).astype(np.float32)


def images_of(layout: Layout) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    return {name: rng.integers(0, 256, (*size, 3), np.uint8) for name, size in layout.images.items()}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("layout", [LAYOUT, SEEING, Layout(0, A, {"wrist": (8, 8)}), Layout(D, A, options=2)])
def test_what_is_published_is_what_acting_takes(name: str, layout: Layout) -> None:
    """Each parameter has a say, with exploration or without; of cameras, all are seen."""
    agent = make_agent(name, SETTINGS[name])
    shapes = jax.eval_shape(lambda key: agent.actor(agent.create(key, layout)), KEY)
    carry = agent.carry(layout)
    arguments = shapes, carry, jnp.zeros(layout.state_size), images_of(layout), KEY
    used: set[str] = set()
    for deterministic in (False, True):
        act = partial(agent.act, deterministic=deterministic)
        actions, after = jax.eval_shape(act, *arguments)
        assert (actions.shape, actions.dtype) == ((agent.horizon, A), jnp.float32)
        same = jax.tree.map(
            lambda old, new: (jnp.shape(old), jnp.result_type(old)) == (new.shape, new.dtype), carry, after
        )
        assert jax.tree.all(same), "the next step gets what this one got"
        traced = jax.make_jaxpr(act)(*arguments).jaxpr
        read = {id(variable) for equation in traced.eqns for variable in equation.invars}
        used |= {key for key, variable in zip(sorted(shapes), traced.invars, strict=False) if id(variable) in read}
    assert used == set(shapes)


@pytest.mark.parametrize("name", ["rlpd", "sac", "rlpd_lagrangian"])
@pytest.mark.parametrize(("settings", "dense"), [({}, dense_relu), (LIKE_HIL, dense_tanh)])
def test_a_gaussian_acts_by_its_mean_of_state_and_images(name: str, settings: dict[str, Any], dense: Any) -> None:
    agent, images = make_algorithm(name, {**SETTINGS[name], **settings}), images_of(SEEING)
    params = stirred(agent, SEEING)
    act = acting(agent, params, deterministic=True)
    seen = [references.embedding(part(params, "encoder"), camera, images[camera]) for camera in ("front", "wrist")]
    for state in states(5):
        mean, _ = np.split(dense(part(params, "actor"), np.concatenate((state, *seen))), 2)
        np.testing.assert_allclose(act(state, images, KEY)[0], np.tanh(mean), atol=1e-4)


def test_draws_of_a_gaussian_follow_its_distribution() -> None:
    agent, state = make_algorithm("rlpd", SETTINGS["rlpd"]), states(1)[0]
    params = stirred(agent, LAYOUT)
    mean, log_std = np.split(dense_relu(part(params, "actor"), state), 2)
    std = np.exp(np.clip(log_std, np.log(1e-5), np.log(5.0)))
    draw = acting(agent, params, deterministic=False)
    draws = jax.vmap(lambda key: draw(state, {}, key)[0])(jax.random.split(KEY, 20_000))
    below = (draws < np.tanh(mean)).mean(axis=0)  # tanh is monotonic: the median stays the median
    assert np.abs(below - 0.5).max() < 4 * 0.5 / np.sqrt(20_000)
    inside = ((draws > np.tanh(mean - std)) & (draws < np.tanh(mean + std))).mean(axis=0)
    assert np.abs(inside - 0.6827).max() < 4 * 0.466 / np.sqrt(20_000)


@pytest.mark.parametrize("layer_norm", [True, False])
def test_hil_takes_the_option_that_the_grasp_critic_values_most(layer_norm: bool) -> None:
    agent = make_algorithm("hil", {**SETTINGS["hil"], "layer_norm": layer_norm})
    params = stirred(agent, Layout(D, A, options=3), seed=5)
    act, chosen = acting(agent, params, deterministic=True), []
    for state in states(30):
        action = np.asarray(act(state, {}, KEY)[0])
        mean, _ = np.split(dense_tanh(part(params, "arm"), state), 2)
        np.testing.assert_allclose(action[:-1], np.tanh(mean), atol=1e-5)
        chosen.append(int(dense_tanh(part(params, "grasp"), state, 0).argmax()))
        assert action[-1] == chosen[-1] - 1.0  # −1, 0 or 1
    assert set(chosen) == {0, 1, 2}


def test_hil_draws_options_by_their_values() -> None:
    """P(o) ∝ exp(G(o)/T); none but the best as T → 0."""
    layout, state = Layout(D, A, options=3), states(1)[0]
    params = stirred(make_algorithm("hil", SETTINGS["hil"]), layout)
    values = dense_tanh(part(params, "grasp"), state, 0)
    spread = float(np.ptp(values))
    odds = np.exp((values - values.max()) / spread)
    drawn = {}
    for temperature in (spread, 1e-4 * spread, 0.0):
        act = acting(make_algorithm("hil", {**SETTINGS["hil"], "grasp_temperature": temperature}), params, False)
        drawn[temperature] = np.asarray(
            jax.vmap(lambda key, act=act: act(state, {}, key)[0])(jax.random.split(KEY, 4000))
        )
    found = [(drawn[spread][:, -1] == value).mean() for value in (-1.0, 0.0, 1.0)]
    assert np.abs(found - odds / odds.sum()).max() < 4 * 0.5 / np.sqrt(4000)
    assert drawn[spread][:, 0].std() > 0.0
    for cold in (1e-4 * spread, 0.0):
        assert set(drawn[cold][:, -1].tolist()) == {values.argmax() - 1.0}


def test_hil_without_a_gripper_leaves_all_axes_to_the_arm() -> None:
    agent = make_algorithm("hil", SETTINGS["hil"])
    params = stirred(agent, LAYOUT)
    assert not part(params, "grasp")
    mean, _ = np.split(dense_tanh(part(params, "arm"), states(1)[0]), 2)
    np.testing.assert_allclose(acting(agent, params, True)(states(1)[0], {}, KEY)[0], np.tanh(mean), atol=1e-5)


def flash_parameters() -> dict[str, jax.Array]:
    """Of a newest and an average actor that differ, in norms, offsets and running moments."""
    agent = make_algorithm("flash_sac", SETTINGS["flash_sac"])
    params = stirred(agent, LAYOUT)
    names = ("newest", "average")
    assert not np.array_equal(params["newest/w1"], params["average/w1"])
    bounded = {name: flash.bound(part(params, name)) for name in names}
    return join(**bounded, **{f"{name}_moments": part(params, f"{name}_moments") for name in names})


def test_flash_explores_by_the_newest_actor_and_judges_by_the_average() -> None:
    agent, params = make_algorithm("flash_sac", SETTINGS["flash_sac"]), flash_parameters()
    start = agent.carry(LAYOUT)
    still = acting(agent, params, True, start)
    explore = jax.jit(lambda state, key: agent.act(params, start, state, {}, key, False))
    for number, state in enumerate(states(20)):
        expected, _ = flash_reference.reference(part(params, "average"), state[None], part(params, "average_moments"))
        np.testing.assert_allclose(still(state, {}, KEY), np.tanh(expected[:, :A]), atol=1e-3)
        outputs, _ = flash_reference.reference(part(params, "newest"), state[None], part(params, "newest_moments"))
        action, held = explore(state, jax.random.PRNGKey(number))
        expected, _ = flash_reference.reference_policy(outputs, np.asarray(held.noise))
        np.testing.assert_allclose(action, expected, atol=1e-3)


def held_noises(count: int, repeats: int) -> np.ndarray:
    """The noise ``(count, A)`` of so many steps in a row."""

    def step(held: flash_sac.HeldNoise, key: jax.Array) -> tuple[flash_sac.HeldNoise, jax.Array]:
        held = flash_sac.hold(key, held, repeats)
        return held, held.noise[0]

    _, noises = jax.jit(partial(jax.lax.scan, step))(flash_sac.no_noise(LAYOUT), jax.random.split(KEY, count))
    return np.asarray(noises)


def test_noise_is_held_for_times_that_fall_with_their_square() -> None:
    drawn = held_noises(20_000, 16)
    changes = np.flatnonzero(np.abs(np.diff(drawn, axis=0)).max(axis=1) > 0.0)
    held = np.diff(changes)
    assert held.min() == 1 and held.max() == 16
    chances = 1.0 / np.arange(1, 17) ** 2
    expected = len(held) * chances / chances.sum()
    found = np.bincount(held, minlength=17)[1:]
    assert ((found - expected) ** 2 / expected).sum() < 37.7  # χ² with 15 degrees of freedom: 1 in 1000
    fresh = drawn[changes + 1]
    assert np.abs(fresh.mean(axis=0)).max() < 4 / np.sqrt(len(fresh))
    assert np.abs(fresh.var(axis=0) - 1).max() < 4 * np.sqrt(2 / len(fresh))
    assert np.abs(drawn[0]).min() > 0.0, "the first step has noise already"


def test_every_step_has_noise_of_its_own_when_none_is_repeated() -> None:
    assert (np.diff(held_noises(50, 1), axis=0) != 0.0).all()


def candidates_of(params: dict[str, jax.Array], state: np.ndarray, noise: np.ndarray, edit_noise: Any) -> np.ndarray:
    """EXPO's ``(2N, a)``: actions of the base, then the same edited."""
    imitated = references.flow(part(params, "base"), state, noise, 3)
    inputs = np.hstack((np.tile(state, (len(imitated), 1)), imitated))
    shifts, _ = references.draw(part(params, "edit"), inputs, edit_noise)
    return np.concatenate((imitated, np.clip(imitated + 0.4 * shifts, -1.0, 1.0)))


def judged(params: dict[str, jax.Array], state: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Q ``(E, 2N)``."""
    inputs = np.hstack((np.tile(state, (len(candidates), 1)), candidates))
    return np.stack([dense_relu(part(params, "critics"), inputs, member)[:, 0] for member in range(5)])


def test_expo_without_noise_takes_the_candidate_with_the_best_mean_of_all_critics() -> None:
    agent = make_algorithm("expo", SETTINGS["expo"])
    params = stirred(agent, LAYOUT)
    act, chosen = acting(agent, params, deterministic=True), set()
    noise = np.array(jax.random.normal(jax.random.PRNGKey(0), (4, A)))
    noise[0] = 0.0
    for state in states(20):
        candidates = candidates_of(params, state, noise, 0.0)
        best = int(judged(params, state, candidates).mean(axis=0).argmax())
        chosen.add(best >= 4)
        np.testing.assert_allclose(act(state, {}, KEY)[0], candidates[best], atol=1e-4)
    assert chosen == {False, True}


def test_expo_with_noise_takes_the_candidate_with_the_best_minimum_of_two_critics() -> None:
    agent = make_algorithm("expo", SETTINGS["expo"])
    params, state = stirred(agent, LAYOUT), states(1)[0]
    act, asked, otherwise = acting(agent, params, deterministic=False), set(), 0
    for key in jax.random.split(KEY, 60):
        subset_key, policy_key = jax.random.split(key)
        pair = np.asarray(rlpd.draw_subset(subset_key, 5, 2))
        noise_key, edit_key = jax.random.split(policy_key)
        noise = np.asarray(jax.random.normal(noise_key, (1, 4, A)))[0]
        candidates = candidates_of(params, state, noise, np.asarray(jax.random.normal(edit_key, (1, 4, A)))[0])
        q = judged(params, state, candidates)
        best = q[pair].min(axis=0).argmax()
        np.testing.assert_allclose(act(state, {}, key)[0], candidates[best], atol=1e-4)
        asked.add(tuple(sorted(pair.tolist())))
        otherwise += best != q.mean(axis=0).argmax()
    assert len(asked) == 10 and all(one != other for one, other in asked)
    assert otherwise > 5


@pytest.mark.parametrize("extraction", ["best_of_n", "one_step", "aloe"])
def test_a_chunk_is_the_one_of_n_that_the_critics_like_best(extraction: str) -> None:
    agent = make_algorithm("chunked", {**SETTINGS["chunked"], "extraction": extraction})
    params, best = stirred(agent, LAYOUT), set()
    policy, critics = part(params, "one_step" if extraction == "one_step" else "flow"), part(params, "critics")
    count, steps = (6 if extraction == "best_of_n" else 1), (1 if extraction == "one_step" else 3)
    assert bool(critics) == (count > 1)
    for deterministic in (False, True):
        act = acting(agent, params, deterministic)
        for number, state in enumerate(states(12)):
            key = jax.random.PRNGKey(number)
            chunks = references.flow(policy, state, np.asarray(jax.random.normal(key, (1, count, 2 * A)))[0], steps)
            inputs = np.hstack((np.tile(state, (count, 1)), chunks))
            values = [dense_relu(critics, inputs, member)[:, 0] for member in range(2)] if critics else [np.zeros(1)]
            chosen = int(np.mean(values, axis=0).argmax())
            best.add(chosen)
            np.testing.assert_allclose(act(state, {}, key), chunks[chosen].reshape(2, A), atol=1e-4)
    assert len(best) == 1 if count == 1 else len(best) > 2
