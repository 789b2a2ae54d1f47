"""Imitation of chunks: the average, masks, whose steps count, how it acts, and that it begins at another's clone."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any, get_args

import jax
import numpy as np
import pytest

from robot_rl.contract import Layout, Source
from robot_rl.contract.settings import ConfigError
from robot_rl.data.replay import Batch
from robot_rl.learner.algorithms import bc
from robot_rl.learner.algorithms.bc import BcConfig, Model
from robot_rl.learner.factory import make_agent
from robot_rl.learner.loop import LearnerLoop, LoopConfig
from robot_rl.learner.networks.average import decay_after
from tests.robot_rl.recording import DOMAIN, transitions

D, A, H, N = 3, 2, 4, 16
LAYOUT = Layout(D, A)
TINY = BcConfig(horizon=H, steps=3, noise_levels=9, width=16, blocks=1, hidden=(32,), critic_steps=2)
CONFIGS = {model: replace(TINY, model=model) for model in get_args(Model)}
CONFIGS["energy"] = replace(CONFIGS["energy"], steps=10)  # each is a fifth of the way at most
WEIGHTS = np.random.default_rng(9).normal(size=(D, H * A)) / 2.0


def batch_of(*lead: int, seed: int = 0, images: tuple[int, int] | None = None) -> Batch:
    """Windows of a person who acts by `WEIGHTS`; every third one ends after two steps."""
    rng = np.random.default_rng(seed)
    state = rng.normal(size=(*lead, D)).astype(np.float32)
    valid = (np.arange(H) < np.resize((H, H, 2), lead)[..., None]).astype(np.float32)
    action = np.tanh(state @ WEIGHTS).reshape(*lead, H, A) * valid[..., None]
    return Batch(
        state=state,
        action=action.astype(np.float32),
        reward=np.zeros((*lead, H), np.float32),
        mask=np.ones(lead, np.float32),
        next_state=state,
        valid=valid,
        images={"wrist": rng.integers(0, 256, (*lead, *images, 3)).astype(np.uint8)} if images else None,
        columns={bc.SOURCE: np.full(lead, Source.PERSON, np.uint8)},
    )


def fresh(model: str = "flow", layout: Layout = LAYOUT) -> bc.BcState:
    return bc.create(jax.random.PRNGKey(0), layout, CONFIGS[model])


def same(one: Any, two: Any) -> bool:
    return bool(jax.tree.all(jax.tree.map(lambda a, b: bool((np.asarray(a) == np.asarray(b)).all()), one, two)))


def test_decay_of_the_average_by_hand() -> None:
    """1 − 2^−3/4, 1 − 16^−3/4 = 7/8, and the bound from (1 + k)^−3/4 = 1e-4 on, k = 215443."""
    np.testing.assert_allclose(decay_after(0), 0.0)
    np.testing.assert_allclose(decay_after(1), 0.4053964, rtol=1e-6)
    np.testing.assert_allclose(decay_after(15), 0.875, rtol=1e-6)
    np.testing.assert_allclose(decay_after(10**6), 0.9999, rtol=1e-6)


def test_the_average_follows_each_step_and_alone_is_published_and_judged() -> None:
    config, state = CONFIGS["gaussian"], fresh("gaussian")
    expected = state.average_actor
    for k in range(3):
        batch = batch_of(1, N, seed=k)
        state, info = bc.imitate(state, batch, config=config)
        d = min(0.9999, 1.0 - (1.0 + k) ** -0.75)
        expected = jax.tree.map(lambda mean, new, d=d: d * mean + (1.0 - d) * new, expected, state.learnt)
    assert int(state.made) == 3 and np.isfinite(info["imitation/loss"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), state.average_actor, expected)
    params = bc.published(state, config)
    assert all(np.array_equal(params[f"gaussian/{name}"], p) for name, p in state.average_actor.policy.items())
    held_out = jax.tree.map(lambda column: column[0], batch_of(1, N, seed=7))
    other = state._replace(learnt=fresh("gaussian").learnt)
    assert bc.imitation_loss(state, held_out, config=config) == bc.imitation_loss(other, held_out, config=config)


def test_after_the_end_a_chunk_repeats_its_last_step() -> None:
    batch = jax.tree.map(lambda column: column[0], batch_of(1, 3))
    chunk = np.asarray(bc.padded(batch))
    np.testing.assert_array_equal(chunk[:2], batch.action[:2])
    np.testing.assert_array_equal(chunk[2], batch.action[2, [0, 1, 1, 1]])


@pytest.mark.parametrize("model", get_args(Model))
def test_steps_after_the_end_teach_nothing(model: str) -> None:
    """The loss of windows of two steps is the same whatever the policy would do later: no slope of those outputs."""
    batch, state = jax.tree.map(lambda column: column[0], batch_of(1, N)), fresh(model)
    short = batch._replace(valid=np.tile(np.float32([1, 1, 0, 0]), (N, 1)))
    loss = jax.jit(lambda learnt, b: bc.loss_of(learnt, jax.random.PRNGKey(1), b, CONFIGS[model]))
    if model == "gaussian":  # its last layer's biases are one for each output, means and spreads
        slope = jax.grad(loss)(state.learnt, short).policy["b1"].reshape(2, H, A)
        assert (slope[:, :2] != 0.0).all() and (slope[:, 2:] == 0.0).all()
    else:  # tokens do not mix at the beginning: what is after the end has no way into the loss
        other = short._replace(action=short.action + np.float32([0, 0, 5, 5])[:, None])
        assert loss(state.learnt, short) == loss(state.learnt, other) != loss(state.learnt, batch)


@pytest.mark.parametrize("model", ["flow"])
def test_only_windows_that_a_person_begins_count(model: str) -> None:
    config, state, batch = CONFIGS[model], fresh(model), batch_of(2, N)
    policy = batch._replace(columns={bc.SOURCE: np.full((2, N), Source.POLICY, np.uint8)})
    after, info = bc.update(state, policy, config=config)
    assert float(info["policy/loss"]) == 0.0
    untouched = jax.tree.map(lambda a, b: np.abs(a - b).max(), after.learnt, state.learnt)
    assert max(jax.tree.leaves(untouched)) < 1e-6  # but for the decay of weights
    mixed = batch._replace(columns={bc.SOURCE: np.resize(np.uint8([Source.PERSON, Source.POLICY]), (2, N))})
    other = np.where(np.resize([0, 1], (2, N))[..., None, None] > 0, np.float32(0.9), mixed.action)
    one, two = (bc.update(state, given, config=config) for given in (mixed, mixed._replace(action=other)))
    assert same(one, two)


@pytest.mark.parametrize("model", get_args(Model))
def test_it_imitates_hands_out_the_executed_steps_and_draws_as_it_should(model: str) -> None:
    agent = make_agent("bc", {**_settings(CONFIGS[model]), "learning_rate": 1e-2, "executed": 3, "held_noise": 0.0})
    state = agent.measure(agent.create(jax.random.PRNGKey(0), LAYOUT), batch_of(4, N).state.reshape(-1, D))
    held_out = jax.tree.map(lambda column: column[0], batch_of(1, N, seed=99))._replace(columns={})
    losses = []
    for call in range(6):
        state, _ = agent.imitate(state, batch_of(50, N, seed=call)._replace(columns={}))
        losses.append(float(agent.imitation_loss(state, held_out)))
    assert losses[-1] < losses[0]
    params, act = agent.actor(state), jax.jit(agent.act, static_argnums=5)
    rows = batch_of(1, 40, seed=5)
    whole = rows.valid[0, :, 2] > 0.0
    drawn = np.stack([act(params, (), s, {}, jax.random.PRNGKey(i), True)[0] for i, s in enumerate(rows.state[0])])
    assert drawn.shape == (40, 3, A) and np.abs(drawn).max() <= 1.0
    error = np.abs(drawn - rows.action[0, :, :3])[whole].mean()
    assert error < 0.5 * np.abs(rows.action[0, :, :3])[whole].mean()
    again = [act(params, (), rows.state[0, 0], {}, jax.random.PRNGKey(i), model != "gaussian")[0] for i in range(2)]
    assert not np.array_equal(*again)  # a Gaussian while exploring, the others always
    if model == "gaussian":
        used = [act(params, (), rows.state[0, 0], {}, jax.random.PRNGKey(i), True)[0] for i in range(2)]
        assert np.array_equal(*used)


def test_a_policy_begins_at_anothers_and_refuses_one_of_another_model_or_size() -> None:
    agent, teacher = make_agent("bc", _settings(TINY)), make_agent("bc", _settings(TINY))
    taught = teacher.measure(teacher.create(jax.random.PRNGKey(3), LAYOUT), batch_of(4, N).state.reshape(-1, D))
    params = teacher.actor(taught)
    state = agent.adopt(agent.create(jax.random.PRNGKey(0), LAYOUT), params)
    assert same(agent.actor(state), params)
    for settings, words in (({"model": "diffusion"}, "no diffusion of agent bc"), ({"width": 8}, "of other sizes")):
        other = make_agent("bc", {**_settings(TINY), **settings})
        with pytest.raises(ValueError, match=words):
            other.adopt(other.create(jax.random.PRNGKey(0), LAYOUT), params)


def two_ways(*lead: int, seed: int, strays: float) -> Batch:
    """Windows that go left in every number, but for a share of ``strays`` that go right, whatever the state."""
    batch = batch_of(*lead, seed=seed)
    rng = np.random.default_rng(seed)
    way = np.where(rng.random((*lead, 1, 1)) < strays, 0.6, -0.6)
    action = (way + rng.normal(0.0, 0.05, batch.action.shape)).astype(np.float32)
    return batch._replace(action=action, valid=np.ones_like(batch.valid), columns={})


@pytest.mark.parametrize("model", ["flow", "diffusion", "energy"])
def test_the_most_usual_of_several_candidates_acts(model: str) -> None:
    """A sixth of the windows strays: drawn one by one, so do chunks; of 16 candidates, none."""
    settings = {**_settings(CONFIGS[model]), "steps": max(5, CONFIGS[model].steps)}
    agent = make_agent("bc", {**settings, "learning_rate": 5e-3, "candidates": 16})
    state = agent.create(jax.random.PRNGKey(0), LAYOUT)
    state = agent.measure(state, two_ways(4, N, seed=0, strays=0.0).state.reshape(-1, D))
    assert agent.imitate is not None and agent.then is not None
    assert (agent.then.words, agent.then.horizon, agent.then.passes) == ("counts", H, 16)
    for call in range(3):
        state, _ = agent.imitate(state, two_ways(100, 64, seed=call, strays=1 / 6))
    imitated, held_out = state, two_ways(256, seed=99, strays=1 / 6)
    losses = [float(agent.then.imitation_loss(state, held_out))]
    for call in range(2):
        state, info = agent.then.imitate(state, two_ways(50, 64, seed=call, strays=1 / 6))
        losses.append(float(agent.then.imitation_loss(state, held_out)))
    assert losses[0] > losses[-1] and np.isfinite(float(info["imitation/loss"]))
    assert same(state.inner.average_actor, imitated.inner.average_actor)  # what was imitated stays
    one = make_agent("bc", settings)
    params = agent.actor(state)
    alone, chosen = ([_goes_right(each, params, key) for key in range(60)] for each in (one, agent))
    assert 2 <= sum(alone) <= 25 and sum(chosen) == 0
    again = agent.adopt(agent.create(jax.random.PRNGKey(7), LAYOUT), params)
    assert same(agent.actor(again), params)
    with pytest.raises(ValueError, match="no counts are among these parameters, which candidates=16 chooses by"):
        agent.adopt(again, {name: value for name, value in params.items() if "counts" not in name})


def _goes_right(agent: Any, params: Any, key: int) -> bool:
    chunk, _ = _compiled(agent.act)(params, (), np.zeros(D, np.float32), {}, jax.random.PRNGKey(key), True)
    return bool(np.mean(chunk) > 0.0)


_compiled = functools.lru_cache(lambda act: jax.jit(act, static_argnums=5))


def test_counts_follow_what_a_person_shows_later_and_them_alone() -> None:
    """Once for sixteen steps of the policy, which are two here."""
    config = replace(CONFIGS["flow"], candidates=4)
    state, batch = bc.create(jax.random.PRNGKey(0), LAYOUT, config), batch_of(2, N)
    early, late = (bc.update(state._replace(made=np.int32(made)), batch, config=config) for made in (8, 14))
    assert same(early[0].counts, state.counts)
    counts = late[0].counts
    assert not same(counts.learnt, state.counts.learnt) and same(counts.prior, state.counts.prior)
    assert float(counts.seen) == 1.0 and {"policy/norm", "counts/norm"} <= late[1].keys()
    mixed = batch._replace(columns={bc.SOURCE: np.resize(np.uint8([Source.PERSON, Source.POLICY]), (2, N))})
    by_policy = np.resize([0, 1], (2, N))[..., None, None] > 0
    other = mixed._replace(action=np.where(by_policy, np.float32(0.9), mixed.action))
    due = state._replace(made=np.int32(14))
    one, two = (bc.update(due, given, config=config)[0].counts for given in (mixed, other))
    assert same(one, two) and not same(one, counts)


def test_a_learner_goes_on_with_demonstrations_and_corrections_alone() -> None:
    """Of 20 online steps a person drove those from 4 to 9; there is nobody to take turns with."""
    agent = make_agent("bc", _settings(CONFIGS["gaussian"]))
    config = LoopConfig(utd=1.0, start_after=5, batch_size=8, capacity=200, demo_capacity=200, imitate=100)
    config = replace(config, demo_share=agent.demo_share)
    learner = LearnerLoop(agent, DOMAIN, config=config)
    for number in range(2):
        learner.add_demonstration(transitions(12, number, number, source=np.full(12, Source.PERSON, np.uint8)))
    while learner.imitating:
        assert learner.update()
    imitated = learner.parameters()
    source = np.where((np.arange(20) >= 4) & (np.arange(20) < 10), Source.PERSON, Source.POLICY).astype(np.uint8)
    learner.add(transitions(20, 9, 9, source=source, reward=np.zeros(20, np.float32)))
    assert len(learner.sources.demo_buffer) == 24 + 6
    batch = learner.sources.sampler.sample(np.random.default_rng(0), 4, 64, agent.horizon)
    assert (batch.columns[bc.SOURCE] == Source.PERSON).all()
    while learner.update():
        pass
    assert learner.version == 15 and not learner.halted and learner.trust == ""
    assert learner.parameters() != imitated


def test_images_teach_the_encoder() -> None:
    layout, config = Layout(D, A, {"wrist": (16, 16)}), CONFIGS["gaussian"]
    state = fresh("gaussian", layout)
    after, _ = bc.imitate(state, batch_of(2, N, images=(16, 16)), config=config)
    assert not np.array_equal(after.average_actor.encoder["wrist/w"], state.average_actor.encoder["wrist/w"])
    assert np.array_equal(bc.published(after, config)["encoder/wrist/w"], after.average_actor.encoder["wrist/w"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"horizon": 4, "executed": 5}, "executed=5 must be at most horizon=4"),
        ({"horizon": 4, "prefix": 4}, "prefix=4 must be below horizon=4"),
        ({"model": "diffusion", "steps": 20, "noise_levels": 10}, "steps=20 must be at most noise_levels=10"),
        ({"model": "gaussian", "prefix": 2}, "prefix=2 is for model=flow and model=diffusion; gaussian"),
        ({"model": "energy", "prefix": 2}, "prefix=2 is for model=flow and model=diffusion; energy continues nothing"),
        ({"model": "gaussian", "candidates": 2}, "candidates=2 is for flow, diffusion and energy"),
        ({"model": "vae"}, "model='vae' must be one of flow, diffusion, energy, gaussian"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_agent("bc", settings)


def _settings(config: BcConfig) -> dict[str, Any]:
    return {
        name: getattr(config, name)
        for name in ("model", "horizon", "steps", "noise_levels", "width", "blocks", "hidden")
    }
