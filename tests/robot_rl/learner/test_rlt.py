"""Edits of a base's chunks against an independent numpy reference, finite differences, and the ends of runs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import jax
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.contract.ranges import RangeError
from robot_rl.data.replay import Batch
from robot_rl.learner import frozen
from robot_rl.learner.algorithms import rlt
from robot_rl.learner.algorithms.rlt import RltConfig, RltState
from robot_rl.learner.factory import make_algorithm
from tests.robot_rl.references import dense_relu, flow, slopes, stir, windows

N, D, A, H = 8, 3, 2, 3
K = H * A
TINY = RltConfig(
    horizon=H, hidden=(5, 4), critics=3, discount=0.9, flow_steps=2, edit=0.7, edit_cost=0.2, critic_steps=2
)
REACH = np.array([0.7, 2.0])  # of the last axis, an option: to any other
SETTINGS = {"horizon": H, "hidden": [5, 4], "flow_steps": 2}


def tiny() -> RltState:
    """A small agent with no zero biases and targets that differ from the critics."""
    state = rlt.create(jax.random.PRNGKey(0), Layout(D, A, options=2), TINY)
    parts = ("base", "critics", "target_critics", "actor")
    return state._replace(**{name: stir(getattr(state, name), i, 0.2) for i, name in enumerate(parts)})


def batch_of(*lead: int) -> Batch:
    """Windows of all kinds, of which a person drove the latter half."""
    source = (np.arange(lead[-1]) >= lead[-1] // 2) * np.ones(lead, np.float32)
    columns = {"source": source, "return_largest": np.full(lead[:-1], 3.0, np.float32)}
    return windows(*lead, state=D, action=A, horizon=H)._replace(columns=columns)


def values(critics, state: np.ndarray, chunk: np.ndarray) -> np.ndarray:
    """Q ``(E, n)``."""
    inputs = np.concatenate((state, chunk), -1)
    return np.stack([dense_relu(critics, inputs, member)[:, 0] for member in range(3)])


def delta(actor, state: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return np.tanh(dense_relu(actor, np.concatenate((state, reference), -1), 0))


def changed(reference: np.ndarray, edit: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The chunk, axis by axis and step by step."""
    chunk = np.empty_like(edit)
    for row, step, axis in np.ndindex(len(edit), H, A):
        i = step * A + axis
        chunk[row, i] = np.clip(reference[row, i] + REACH[axis] * edit[row, i] + 0.1 * noise[row, axis], -1.0, 1.0)
    return chunk


def drawn_chunks(state: RltState, features: np.ndarray, base_key, noise_key) -> tuple[np.ndarray, np.ndarray]:
    """References and what the policy makes of them."""
    reference = flow(state.base.flow, features, jax.random.normal(base_key, (N, K)), 2)
    noise = np.asarray(jax.random.normal(noise_key, (N, A)), np.float64)
    return reference, changed(reference, delta(state.actor, features, reference), noise)


@cache
def target_of(phase: rlt.Phase):
    """y of a key, a state and a batch, compiled once."""
    return jax.jit(partial(rlt.critic_target, config=replace(TINY, phase=phase)))


@pytest.mark.parametrize("phase", ["always", "agreed"])
def test_target_is_the_pessimistic_value_of_what_the_policy_makes_of_the_bases_chunk(phase: rlt.Phase) -> None:
    state, batch, key = tiny(), batch_of(N), jax.random.PRNGKey(5)
    base_key, noise_key, subset_key = jax.random.split(key, 3)
    after = batch.next_state
    reference, chunk = drawn_chunks(state, after, base_key, noise_key)
    if phase == "agreed":
        better = (values(state.target_critics, after, chunk) > values(state.target_critics, after, reference)).all(0)
        assert better.any() and not better.all()
        chunk = np.where(better[:, None], chunk, reference)
    members = jax.random.permutation(subset_key, 3)[:2]
    value = values(state.target_critics, after, chunk)[members].min(axis=0)
    expected = batch.reward @ np.array([1.0, 0.9, 0.81]) + 0.9**3 * batch.mask * value
    found = target_of(phase)(key, state, batch)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_target_of_a_window_with_the_end_in_it_is_its_rewards_and_at_a_time_limit_it_is_not() -> None:
    state, key = tiny(), jax.random.PRNGKey(1)
    reward = np.tile(np.array([1.0, 10.0, 100.0], np.float32), (N, 1))
    ended = batch_of(N)._replace(mask=np.zeros(N, np.float32), reward=reward)
    np.testing.assert_allclose(target_of("always")(key, state, ended), 1 + 9 + 81, rtol=1e-6)
    limited = ended._replace(mask=np.ones(N, np.float32))
    assert (np.abs(target_of("always")(key, state, limited) - 91) > 1e-3).all()


def test_critics_learn_of_windows_whose_future_is_known() -> None:
    state, batch = tiny(), batch_of(N)
    chunk, target = batch.action.reshape(N, K), np.arange(N, dtype=np.float32)
    known = np.array([1, 1, 0, 1, 1, 1, 0, 1])  # whole, ended, cut by a time limit, whole
    error = values(state.critics, batch.state, chunk) - target
    batch = batch._replace(mask=np.array([1, 0, 1, 1, 1, 0, 1, 1], np.float32))
    loss, _ = frozen.critic_loss(state.critics, chunk, target, batch)
    np.testing.assert_allclose(loss, (known * error**2).mean(), rtol=2e-5)


def test_the_reference_is_the_bases_chunk_or_what_a_person_did_to_the_windows_end() -> None:
    state, batch, key = tiny(), batch_of(N), jax.random.PRNGKey(2)
    proposed = flow(state.base.flow, batch.state, jax.random.normal(key, (N, K)), 2)
    executed = batch.action.reshape(N, K)
    expected = np.where(np.isin(np.arange(N), (4, 7))[:, None], executed, proposed)
    np.testing.assert_allclose(rlt.references(key, state.base, batch, TINY), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("largest", "unit"), [(3.0, 3.0), (0.0, 1.0)])
def test_the_actors_loss(largest: float, unit: float) -> None:
    state, batch, key = tiny(), batch_of(N), jax.random.PRNGKey(4)
    batch = batch._replace(columns=batch.columns | {"return_largest": np.float32(largest)})
    reference = np.random.default_rng(1).uniform(-1, 1, (N, K))
    drop_key, noise_key = jax.random.split(key)
    kept = np.asarray(jax.random.bernoulli(drop_key, 0.5, (N, 1)))
    assert 0 < kept.sum() < N
    edit = delta(state.actor, batch.state, kept * reference)
    chunk = changed(reference, edit, np.asarray(jax.random.normal(noise_key, (N, A))))
    q = values(state.critics, batch.state, chunk).mean(axis=0)
    cost = (edit**2).sum(axis=-1)
    loss, size = rlt.actor_loss(state.actor, key, state.critics, state.reach, reference, batch, TINY)
    np.testing.assert_allclose(loss, (0.2 * unit * cost - q).mean(), rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(size, cost.mean(), rtol=2e-5)


def test_the_actors_gradient() -> None:
    with jax.enable_x64(True):
        state, batch = (jax.tree.map(lambda x: np.asarray(x, np.float64), part) for part in (tiny(), batch_of(N)))
        batch = batch._replace(columns=batch.columns | {"return_largest": 1.0})
        reference, key = 0.3 * batch.action.reshape(N, K), jax.random.PRNGKey(4)

        def loss(actor):
            return rlt.actor_loss(actor, key, state.critics, state.reach, reference, batch, TINY)[0]

        measured, derived = slopes(loss, state.actor, 3)
    np.testing.assert_allclose(measured, derived, rtol=1e-5, atol=1e-8)
    assert np.abs(derived).min() > 1e-6


def test_an_update_leaves_the_base_and_its_reach_alone_and_moves_all_else() -> None:
    state = tiny()
    after, info = rlt.update(state, batch_of(1, N), config=TINY)
    assert all(np.isfinite(value) for value in info.values())
    same = jax.tree.map(np.array_equal, state._asdict(), after._asdict())
    assert all(jax.tree.leaves((same["base"], same["reach"])))
    for name in ("critics", "target_critics", "actor"):
        assert not any(jax.tree.leaves(same[name])), name
    for name, old in state.target_critics.items():
        np.testing.assert_allclose(after.target_critics[name], 0.995 * old + 0.005 * after.critics[name], atol=1e-6)


@pytest.mark.parametrize("cameras", [{}, {"wrist": (16, 16)}])
def test_it_starts_as_the_base_to_the_bit_and_the_base_acts_alone(cameras: dict[str, tuple[int, int]]) -> None:
    agent = make_algorithm("rlt", SETTINGS)
    state = agent.create(jax.random.PRNGKey(0), Layout(D, A, cameras))
    seen = {name: np.full((*size, 3), 200, np.uint8) for name, size in cameras.items()}
    row = np.ones(D, np.float32)
    for seed in range(3):
        key = jax.random.PRNGKey(seed)
        alone, _ = agent.base.act(agent.actor(state), (), row, seen, key, True)
        np.testing.assert_array_equal(agent.act(agent.actor(state), (), row, seen, key, True)[0], alone)
        learnt = state._replace(actor=stir(state.actor, 1))
        assert (agent.act(agent.actor(learnt), (), row, seen, key, True)[0] != alone).any()
        np.testing.assert_array_equal(agent.base.act(agent.actor(learnt), (), row, seen, key, True)[0], alone)
        explored = np.asarray(agent.act(agent.actor(state), (), row, seen, key, False)[0])
        moved = np.where(np.abs(explored) < 1.0, explored - alone, np.nan)  # alike for all steps, but at the ends
        assert np.nanmax(np.nanmax(moved, axis=0) - np.nanmin(moved, axis=0)) < 1e-6 < np.nanmax(np.abs(moved))


def test_it_starts_from_a_flow_of_chunked() -> None:
    agent, theirs = (make_algorithm(name, SETTINGS) for name in ("rlt", "chunked"))
    layout, row, key = Layout(D, A), np.ones(D, np.float32), jax.random.PRNGKey(1)
    flow_of = theirs.create(jax.random.PRNGKey(0), layout)
    taken = agent.base.replace(agent.create(key, layout), agent.base.found(theirs.actor(flow_of)))
    acted = agent.base.act(agent.actor(taken), (), row, {}, key, True)[0]
    np.testing.assert_allclose(acted, theirs.base.act(theirs.actor(flow_of), (), row, {}, key, True)[0], atol=1e-6)
    with pytest.raises(ValueError, match="no flow of chunks among these parameters"):
        agent.base.found({"policy/w0": np.zeros(3)})


def test_where_the_critics_do_not_agree_the_base_acts() -> None:
    state, rows = tiny(), np.random.default_rng(0).normal(size=(40, D)).astype(np.float32)
    keys = jax.random.split(jax.random.PRNGKey(0), len(rows))

    def acted(phase: rlt.Phase, edits: bool = True) -> np.ndarray:
        config = replace(TINY, phase=phase)
        act = partial(rlt.act, rlt.published(state, config), (), deterministic=True, config=config, edits=edits)
        chunks = jax.vmap(lambda row, key: act(state=row, images={}, key=key)[0])(rows, keys)
        return np.asarray(chunks).reshape(len(rows), K)

    always, alone = acted("always"), acted("always", edits=False)
    better = (values(state.critics, rows, always) > values(state.critics, rows, alone)).all(axis=0)
    assert better.any() and not better.all()
    np.testing.assert_array_equal(acted("agreed"), np.where(better[:, None], always, alone))


def test_a_subset_larger_than_the_ensemble_is_refused() -> None:
    with pytest.raises(RangeError, match="subset=3 must be at most critics=2"):
        RltConfig(subset=3)


@pytest.mark.slow
def test_the_edit_goes_where_the_reward_is_as_far_as_it_reaches() -> None:
    """The base goes nowhere (0 ± 0.2); the further right both steps go, the better, and the edit reaches 0.5."""
    agent = make_algorithm("rlt", {"horizon": 2, "hidden": [32, 32], "learning_rate": 2e-3, "edit_cost": 0.0})
    state, rng = agent.create(jax.random.PRNGKey(0), Layout(1, 1)), np.random.default_rng(0)
    begun = np.asarray(agent.act(agent.actor(state), (), np.zeros(1, np.float32), {}, jax.random.PRNGKey(3), True)[0])

    def tried() -> Batch:
        lead = (4, 64)
        action = rng.uniform(-1, 1, (*lead, 2, 1)).astype(np.float32)
        return Batch(
            state=np.zeros((*lead, 1), np.float32),
            action=action,
            reward=np.concatenate((np.zeros((*lead, 1), np.float32), action.mean(axis=-2)), -1),
            mask=np.zeros(lead, np.float32),
            next_state=np.zeros((*lead, 1), np.float32),
            valid=np.ones((*lead, 2), np.float32),
            columns={"source": np.zeros(lead, np.float32), "return_largest": np.ones(4, np.float32)},
        )

    for _ in range(300):
        state, _ = agent.update(state, tried())
    ended = np.asarray(agent.act(agent.actor(state), (), np.zeros(1, np.float32), {}, jax.random.PRNGKey(3), True)[0])
    np.testing.assert_allclose(ended, np.clip(begun + 0.5, -1.0, 1.0), atol=0.05)
