"""Particles that climb the critics and a flow that imitates them, against an independent numpy reference."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import optax
import pytest

from robot_rl.contract import Layout
from robot_rl.contract.ranges import RangeError
from robot_rl.data.replay import Batch
from robot_rl.learner.algorithms import pa_rl
from robot_rl.learner.algorithms.chunked import fill
from robot_rl.learner.algorithms.pa_rl import PaRlConfig, PaRlState
from robot_rl.learner.factory import make_algorithm
from robot_rl.learner.frozen import critic_step
from robot_rl.learner.networks.flow import flow_loss, flow_sample
from tests.robot_rl.references import dense_relu, equal, flow, stir, windows

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


def tiny(options: int = 0) -> PaRlState:
    """A small agent with no zero biases, a flow that differs from its base and targets that differ from the critics."""
    state = pa_rl.create(jax.random.PRNGKey(0), Layout(D, A, options=options), TINY)
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


def climb(critics, moves: np.ndarray, state: np.ndarray, chunk: np.ndarray) -> tuple[np.ndarray, int]:
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
        slope *= np.tile(moves, H)
        way.append(np.clip(at + TINY.local_size * slope / np.sqrt((slope**2).mean()), -1.0, 1.0))
    worth = [members(critics, state, at).mean() for at in way]
    return way[int(np.argmax(worth))], int(np.argmax(worth))


def made(state: PaRlState, features: np.ndarray, key) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The particles ``(n, M, K)``, their values ``(n, M)``, and σ ``(n,)``."""
    noise = np.asarray(jax.random.normal(key, (len(features), TINY.samples, K)))
    chunks, spread = np.zeros((len(features), TINY.kept, K)), np.zeros(len(features))
    for row, seen in enumerate(features):
        proposed = flow(state.flow, seen, noise[row], TINY.flow_steps)
        worth = worth_of(state.critics, seen[None], proposed[None])[0]
        spread[row] = worth.std()
        for i, kept in enumerate(np.argsort(worth)[::-1][: TINY.kept]):
            chunks[row, i], _ = climb(state.critics, state.moves, seen, proposed[kept])
    return chunks, worth_of(state.critics, features, chunks), spread


def drawn(key, worth: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Numbers by the softmax of values in units of the spread."""
    return np.asarray(jax.random.categorical(key, worth / (TINY.temperature * spread)[:, None]))


@pytest.mark.parametrize("options", [0, 2])
def test_a_chunk_climbs_and_stays_at_the_best_point_that_it_came_to(options: int) -> None:
    state, batch = tiny(options), batch_of(N)
    assert state.moves.tolist() == [1.0, 0.0 if options else 1.0]
    chunks = np.random.default_rng(3).uniform(-1, 1, (N, 2, K)).astype(np.float32)
    way = partial(climb, state.critics, state.moves)
    expected = [way(batch.state[row], chunks[row, i]) for row, i in np.ndindex(N, 2)]
    assert {TINY.local_steps} < {number for _, number in expected}, "some go too far"
    found = jax.jit(partial(pa_rl.climbed, config=TINY))(pa_rl.policy_of(state), batch.state, chunks)
    np.testing.assert_allclose(found.chunks.reshape(-1, K), [point for point, _ in expected], atol=1e-4)


def test_target_is_the_pessimistic_value_of_the_best_particle() -> None:
    state, batch, key = tiny(), batch_of(N), jax.random.PRNGKey(5)
    particle_key, subset_key = jax.random.split(key)
    chunks, worth, _ = made(state, batch.next_state, particle_key)
    chosen = np.asarray(jax.random.permutation(subset_key, 3)[:2])
    best = chunks[np.arange(N), worth.argmax(axis=1)]
    inputs = np.concatenate((batch.next_state, best), axis=1)
    value = np.min([dense_relu(state.target_critics, inputs, member)[:, 0] for member in chosen], axis=0)
    expected = batch.reward @ np.array([1.0, 0.9, 0.81]) + 0.9**3 * batch.mask * value
    found = jax.jit(partial(pa_rl.critic_target, config=TINY))(key, state, batch)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert (batch.mask == 0).any(), "where the task ended, the rewards alone"


def test_the_flow_imitates_particles_whole_and_of_what_was_executed_the_steps_there_were() -> None:
    state, batch, key = tiny(), batch_of(N), jax.random.PRNGKey(1)
    particle_key, fill_key, draw_key = jax.random.split(key, 3)
    chunks, worth, spread = made(state, batch.state, particle_key)
    executed = np.asarray(fill(fill_key, batch))[:, None]
    worth = np.concatenate((worth, worth_of(state.critics, batch.state, executed)), axis=1)
    index = drawn(draw_key, worth, spread)
    own = index == TINY.kept
    cut = batch.valid[:, -1] == 0
    assert (own & cut).any() and (own & ~cut).any() and (~own & cut).any(), "every case"
    example, counts = jax.jit(partial(pa_rl.examples, config=TINY))(key, pa_rl.policy_of(state), batch)
    pool = np.concatenate((chunks, executed), axis=1)
    np.testing.assert_allclose(example, pool[np.arange(N), index], atol=1e-4)
    steps = np.repeat(batch.valid, A, axis=-1)
    np.testing.assert_array_equal(counts, np.where(own[:, None], steps, 1.0))


def test_an_update_is_two_steps_of_the_critics_and_then_one_of_the_flow_and_leaves_the_base_alone() -> None:
    state, batch = tiny(), batch_of(2, N)
    keys = jax.random.split(state.key, 5)
    step = jax.jit(partial(critic_step, config=TINY, critic_target=pa_rl.critic_target))
    learnt, rows = state, None
    for key, row in zip(keys[3:], (0, 1), strict=True):
        part = jax.tree.map(lambda column, row=row: column[row], batch)
        learnt, (rows, _) = step(learnt, key, part)
    example, counts = jax.jit(partial(pa_rl.examples, config=TINY))(keys[1], pa_rl.policy_of(learnt), rows)
    gradient = jax.grad(flow_loss)(learnt.flow, keys[2], rows.state, example, counts)
    change, _ = optax.adam(TINY.learning_rate).update(gradient, state.flow_optimiser)
    after, info = pa_rl.update(state, batch, config=TINY)
    assert all(np.isfinite(value) for value in info.values())
    for found, expected in (
        (after.critics, learnt.critics),
        (after.target_critics, learnt.target_critics),
        (after.flow, optax.apply_updates(state.flow, change)),
    ):
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), found, expected)
    assert equal(after.base, state.base) and equal(after.moves, state.moves)


def test_the_best_particle_acts_and_exploring_a_likely_one() -> None:
    state, row = tiny(), np.ones(D, np.float32)
    act = jax.jit(partial(pa_rl.act, config=TINY), static_argnames="deterministic")
    others = 0
    for key in jax.random.split(jax.random.PRNGKey(4), 6):
        particle_key, draw_key = jax.random.split(key)
        chunks, worth, spread = made(state, row[None], particle_key)
        best, index = worth[0].argmax(), drawn(draw_key, worth, spread)[0]
        for deterministic, number in ((True, best), (False, index)):
            found, _ = act(pa_rl.published(state), (), row, {}, key, deterministic=deterministic)
            np.testing.assert_allclose(found, chunks[0, number].reshape(H, A), atol=1e-4)
        others += index != best
    assert 0 < others < 6


@pytest.mark.parametrize("values", [[7.0, 7.0, 7.0, 7.0], [0.0, 1.0, 2.0, 5.0]])
def test_the_more_a_chunk_is_worth_the_likelier_it_is(values: list[float]) -> None:
    worth, spread = np.tile(np.float32(values), (4000, 1)), np.full(4000, np.std(values), np.float32)
    expected = np.exp(np.array(values) / (TINY.temperature * max(np.std(values), 1.0)))
    index = np.asarray(pa_rl.likely(jax.random.PRNGKey(0), worth, spread, TINY))
    np.testing.assert_allclose(np.bincount(index, minlength=4) / 4000, expected / expected.sum(), atol=0.03)


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


def test_it_starts_from_a_flow_of_chunked() -> None:
    agent, theirs = (make_algorithm(name, SETTINGS) for name in ("pa_rl", "chunked"))
    layout, key = Layout(D, A), jax.random.PRNGKey(1)
    flow_of = theirs.create(jax.random.PRNGKey(0), layout)
    taken = agent.base.replace(agent.create(key, layout), agent.base.found(theirs.actor(flow_of)))
    assert equal(taken.flow, flow_of.policies.flow) and equal(taken.base.flow, flow_of.policies.flow)


@pytest.mark.slow
def test_the_flow_goes_where_the_reward_is_and_its_base_stays() -> None:
    """The further left both steps go, the better; the flow itself comes to lie there, where nothing was chosen."""
    agent = make_algorithm("pa_rl", {"horizon": 2, "hidden": [32, 32], "learning_rate": 2e-3})
    state, rng = agent.create(jax.random.PRNGKey(0), Layout(1, 1)), np.random.default_rng(0)
    noise = rng.normal(size=(200, 2)).astype(np.float32)

    def median(flow: dict[str, jax.Array]) -> float:
        return float(np.median(flow_sample(flow, np.zeros((200, 1), np.float32), noise, 5)))

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

    begun = median(state.flow)
    for _ in range(300):
        state, _ = agent.update(state, tried())
    assert abs(begun) < 0.3 and abs(median(state.base.flow) - begun) < 1e-6
    assert median(state.flow) < -0.8
