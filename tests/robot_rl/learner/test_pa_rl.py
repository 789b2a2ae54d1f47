"""Particles that climb the critics and a flow that imitates them, against an independent numpy reference."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.contract.ranges import RangeError
from robot_rl.data.replay import Batch
from robot_rl.learner.algorithms import pa_rl
from robot_rl.learner.algorithms.pa_rl import PaRlConfig, PaRlState, Particles
from robot_rl.learner.factory import make_algorithm
from tests.robot_rl.references import dense_relu, flow, stir, windows

N, D, A, H = 8, 3, 2, 3
K = H * A
TINY = PaRlConfig(
    horizon=H,
    hidden=(5, 4),
    critics=3,
    discount=0.9,
    samples=4,
    kept=2,
    local_steps=3,
    local_size=0.3,
    temperature=2.0,
    flow_steps=2,
    critic_steps=2,
)
SETTINGS = {"horizon": H, "hidden": [5, 4], "flow_steps": 2}
DIFFERENCE = 1e-5  # between two points whose values make a slope


def tiny() -> PaRlState:
    """A small agent with no zero biases, a flow that differs from its base and targets that differ from the critics."""
    state = pa_rl.create(jax.random.PRNGKey(0), Layout(D, A), TINY)
    parts = ("base", "critics", "target_critics", "flow")
    return state._replace(**{name: stir(getattr(state, name), i) for i, name in enumerate(parts)})


def batch_of(*lead: int) -> Batch:
    return windows(*lead, state=D, action=A, horizon=H)


def members(critics, state: np.ndarray, chunk: np.ndarray) -> np.ndarray:
    """Q ``(3,)`` of one chunk."""
    inputs = np.concatenate((state, chunk))[None]
    return np.array([dense_relu(critics, inputs, member)[0, 0] for member in range(3)])


def worth_of(critics, features: np.ndarray, chunks: np.ndarray) -> np.ndarray:
    """Their mean ``(n, m)``, of ``chunks (n, m, K)`` at ``features (n, D)``."""
    rows = zip(features, chunks, strict=True)
    return np.array([[members(critics, seen, chunk).mean() for chunk in row] for seen, row in rows])


def climb(critics, state: np.ndarray, chunk: np.ndarray) -> tuple[np.ndarray, int]:
    """The best point on the way of one chunk, by slopes of differences, and its number."""
    way = [np.asarray(chunk, np.float64)]
    for _ in range(TINY.local_steps):
        at = way[-1]
        slope = np.array(
            [
                (members(critics, state, at + d).mean() - members(critics, state, at - d).mean()) / (2 * DIFFERENCE)
                for d in DIFFERENCE * np.eye(K)
            ]
        )
        way.append(np.clip(at + TINY.local_size * slope / np.sqrt((slope**2).mean()), -1.0, 1.0))
    worth = [members(critics, state, at).mean() for at in way]
    return way[int(np.argmax(worth))], int(np.argmax(worth))


def made(state: PaRlState, features: np.ndarray, key) -> tuple[np.ndarray, np.ndarray]:
    """The particles ``(N, M, K)`` and their values ``(N, M)``."""
    noise = np.asarray(jax.random.normal(key, (N, TINY.samples, K)))
    chunks = np.zeros((N, TINY.kept, K))
    for row, seen in enumerate(features):
        proposed = flow(state.flow, seen, noise[row], TINY.flow_steps)
        worth = worth_of(state.critics, seen[None], proposed[None])[0]
        for i, kept in enumerate(np.argsort(worth)[::-1][: TINY.kept]):
            chunks[row, i], _ = climb(state.critics, seen, proposed[kept])
    return chunks, worth_of(state.critics, features, chunks)


def drawn(key, chunks: np.ndarray, worth: np.ndarray) -> np.ndarray:
    """Of each row one of the ``chunks``, by the softmax of their values in units of the spread."""
    scores = (worth - worth.mean(1, keepdims=True)) / worth.std(1, keepdims=True)
    index = np.asarray(jax.random.categorical(key, scores / TINY.temperature))
    return chunks[np.arange(len(chunks)), index]


def test_a_chunk_climbs_and_stays_at_the_best_point_that_it_came_to() -> None:
    state, batch = tiny(), batch_of(N)
    chunks = np.random.default_rng(3).uniform(-1, 1, (N, 2, K)).astype(np.float32)
    expected = [climb(state.critics, batch.state[row], chunks[row, i]) for row, i in np.ndindex(N, 2)]
    assert {TINY.local_steps} < {number for _, number in expected}, "some go too far"
    found = jax.jit(partial(pa_rl.climbed, config=TINY))(state.critics, batch.state, chunks)
    np.testing.assert_allclose(found.chunks.reshape(-1, K), [point for point, _ in expected], atol=1e-4)


def test_target_is_the_pessimistic_value_of_the_best_particle() -> None:
    state, batch, key = tiny(), batch_of(N), jax.random.PRNGKey(5)
    particle_key, subset_key = jax.random.split(key)
    chunks, worth = made(state, batch.next_state, particle_key)
    chosen = np.asarray(jax.random.permutation(subset_key, 3)[:2])
    best = chunks[np.arange(N), worth.argmax(axis=1)]
    inputs = np.concatenate((batch.next_state, best), axis=1)
    value = np.min([dense_relu(state.target_critics, inputs, member)[:, 0] for member in chosen], axis=0)
    expected = batch.reward @ np.array([1.0, 0.9, 0.81]) + 0.9**3 * batch.mask * value
    found = jax.jit(partial(pa_rl.critic_target, config=TINY))(key, state, batch)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert (batch.mask == 0).any(), "where the task ended, the rewards alone"


def test_the_flow_imitates_a_likely_one_of_particles_and_executed_chunk() -> None:
    state, batch, key = tiny(), batch_of(N), jax.random.PRNGKey(2)
    particle_key, draw_key = jax.random.split(key)
    chunks, worth = made(state, batch.state, particle_key)
    executed = batch.action.reshape(N, 1, K)
    own = worth_of(state.critics, batch.state, executed)
    expected = drawn(draw_key, np.concatenate((chunks, executed), 1), np.concatenate((worth, own), 1))
    found = jax.jit(partial(pa_rl.examples, config=TINY))(key, state.flow, state.critics, batch)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    taken = (np.abs(found - executed[:, 0]) < 1e-6).all(1)
    assert taken.any() and not taken.all()


def test_windows_that_were_cut_short_teach_the_flow_nothing() -> None:
    state, batch, key = tiny(), batch_of(N), jax.random.PRNGKey(2)
    example = np.random.default_rng(0).uniform(-1, 1, (N, K)).astype(np.float32)
    whole = batch.valid[:, -1] > 0
    other = np.where(whole[:, None], example, -example)

    def slope(example: np.ndarray) -> dict[str, np.ndarray]:
        return jax.tree.map(np.asarray, jax.grad(pa_rl.distillation_loss)(state.flow, key, example, batch))

    assert whole.any() and not whole.all()
    np.testing.assert_equal(slope(example), slope(other))
    assert (slope(example)["w0"] != slope(-example)["w0"]).any()


def test_an_update_leaves_the_base_alone_and_moves_all_else() -> None:
    state = tiny()
    after, info = pa_rl.update(state, batch_of(1, N), config=TINY)
    assert all(np.isfinite(value) for value in info.values())
    same = jax.tree.map(np.array_equal, state._asdict(), after._asdict())
    assert all(jax.tree.leaves(same["base"]))
    for name in ("critics", "target_critics", "flow"):
        assert not any(jax.tree.leaves(same[name])), name
    for name, old in state.target_critics.items():
        np.testing.assert_allclose(after.target_critics[name], 0.995 * old + 0.005 * after.critics[name], atol=1e-6)


def test_the_best_particle_acts_and_exploring_a_likely_one() -> None:
    state, key, row = tiny(), jax.random.PRNGKey(4), np.ones(D, np.float32)
    particle_key, draw_key = jax.random.split(key)
    among = pa_rl.particles(particle_key, state.flow, state.critics, row[None], TINY)
    best = among.chunks[0, among.values[0].argmax()].reshape(H, A)
    np.testing.assert_allclose(pa_rl.act(pa_rl.published(state), (), row, {}, key, True, TINY)[0], best, atol=1e-6)
    likely = drawn(draw_key, np.asarray(among.chunks), np.asarray(among.values))[0].reshape(H, A)
    np.testing.assert_allclose(pa_rl.act(pa_rl.published(state), (), row, {}, key, False, TINY)[0], likely, atol=1e-6)


def test_equal_values_are_equally_likely() -> None:
    chunks = np.arange(4.0, dtype=np.float32).reshape(1, 4, 1).repeat(4000, axis=0)
    drawn = pa_rl.likely(jax.random.PRNGKey(0), Particles(chunks, np.full((4000, 4), 7.0, np.float32)), TINY)
    np.testing.assert_allclose(np.bincount(np.asarray(drawn[:, 0], int)) / 4000, 0.25, atol=0.03)


@pytest.mark.parametrize("cameras", [{}, {"wrist": (16, 16)}])
def test_it_begins_as_its_base_which_acts_alone_whatever_is_learnt(cameras: dict[str, tuple[int, int]]) -> None:
    agent = make_algorithm("pa_rl", SETTINGS)
    state, row = agent.create(jax.random.PRNGKey(0), Layout(D, A, cameras)), np.ones(D, np.float32)
    base = stir(state.base, 1)
    state = agent.base.replace(state, base)
    seen = {name: np.full((*size, 3), 200, np.uint8) for name, size in cameras.items()}
    features = base.features(row[None], {name: image[None] for name, image in seen.items()})
    key = jax.random.PRNGKey(1)
    noise = jax.random.normal(key, (1, K))
    expected = np.asarray(base.chunks(features, noise, 2)).reshape(H, A)
    assert all(np.array_equal(state.flow[name], base.flow[name]) for name in base.flow)
    learnt = state._replace(flow=stir(state.flow, 2), critics=stir(state.critics, 3))
    for held in (state, learnt):
        np.testing.assert_allclose(agent.base.act(agent.actor(held), (), row, seen, key, True)[0], expected, atol=1e-6)
    assert (agent.act(agent.actor(learnt), (), row, seen, key, True)[0] != expected).any()


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"subset": 3}, "subset=3 must be at most critics=2"), ({"kept": 9}, "kept=9 must be at most samples=8")],
)
def test_more_than_there_are_is_refused(settings: dict[str, int], words: str) -> None:
    with pytest.raises(RangeError, match=words):
        replace(PaRlConfig(), **settings)


@pytest.mark.slow
def test_the_flow_goes_where_the_reward_is_further_than_one_climb() -> None:
    """The base goes anywhere, one climb reaches 0.1, and the further left both steps go, the better."""
    agent = make_algorithm("pa_rl", {"horizon": 2, "hidden": [32, 32], "learning_rate": 2e-3})
    state, rng = agent.create(jax.random.PRNGKey(0), Layout(1, 1)), np.random.default_rng(0)
    keys, row = jax.random.split(jax.random.PRNGKey(3), 20), np.zeros(1, np.float32)

    def chunks() -> np.ndarray:
        return np.asarray(jax.vmap(lambda key: agent.act(agent.actor(state), (), row, {}, key, True)[0])(keys))

    assert np.median(chunks()) > -0.5

    def tried() -> Batch:
        lead = (4, 64)
        action = rng.uniform(-1, 1, (*lead, 2, 1)).astype(np.float32)
        return Batch(
            state=np.zeros((*lead, 1), np.float32),
            action=action,
            reward=np.concatenate((np.zeros((*lead, 1), np.float32), -action.mean(axis=-2)), -1),
            mask=np.zeros(lead, np.float32),
            next_state=np.zeros((*lead, 1), np.float32),
            valid=np.ones((*lead, 2), np.float32),
        )

    for _ in range(300):
        state, _ = agent.update(state, tried())
    assert np.median(chunks()) < -0.9
