"""Grids of features in an agent: the head against a reference, its gradient, its shift; agents that learn and act."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from robot_rl.contract import AgentView, Layout, Observation, identity_of
from robot_rl.data.parameters import ParameterError, pack, unpack
from robot_rl.learner.agent import describe_agent
from robot_rl.learner.factory import make_agent
from robot_rl.learner.networks import encoder
from robot_rl.learner.rehearsal import blank_batch
from robot_rl.policies.loading import load_actor
from tests.robot_rl.recording import FEATURES, PIXELS, TASK

GRID = (4, 5, 7)
LAYOUT = Layout(3, 2, {"wrist": GRID})


def grids(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, *GRID)).astype(np.float16)


def params_of(seed: int = 0) -> dict[str, np.ndarray]:
    """Random parameters: no bias is 0, no scale 1."""
    rng = np.random.default_rng(seed)
    fresh = encoder.create(jax.random.PRNGKey(seed), LAYOUT)
    return {name: np.asarray(p) + 0.1 * rng.normal(size=p.shape).astype(np.float32) for name, p in fresh.items()}


def test_the_head_equals_the_formula() -> None:
    params, seen, state = params_of(), grids(2), np.ones((2, 3), np.float32)
    cells = np.maximum(seen.astype(np.float64) @ params["wrist/p"] + params["wrist/q"], 0.0)
    hidden = cells.reshape(2, -1) @ params["wrist/w"] + params["wrist/b"]
    normal = (hidden - hidden.mean(-1, keepdims=True)) / hidden.std(-1, keepdims=True)
    expected = np.concatenate((state, np.tanh(normal * params["wrist/g"] + params["wrist/c"])), axis=-1)
    found = encoder.features(params, state, {"wrist": seen})
    assert found.shape == (2, encoder.size(LAYOUT))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_each_cell_has_a_place_of_its_own() -> None:
    """The same content elsewhere is another embedding: nothing is pooled."""
    params, seen = params_of(), grids(1)
    moved = np.roll(seen, 1, axis=2)
    one, two = (encoder.features(params, np.zeros((1, 3), np.float32), {"wrist": grid}) for grid in (seen, moved))
    assert np.abs(one - two).max() > 0.05


def test_a_shift_moves_a_grid_by_a_cell_at_most() -> None:
    seen = np.broadcast_to(grids(1), (64, *GRID))
    moved = np.asarray(encoder.shift(jax.random.PRNGKey(0), {"wrist": seen})["wrist"])
    assert moved.dtype == np.float16
    padded = np.pad(seen[0], ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows, columns, _ = GRID
    allowed = [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    found = {next(k for k, one in enumerate(allowed) if np.array_equal(one, grid)) for grid in moved}
    assert len(found) == 9


@pytest.mark.parametrize(("name", "settings"), [("rlpd", {}), ("flash_sac", {"scale_rewards": False})])
def test_an_agent_learns_from_grids_and_acts_on_them(name: str, settings: dict[str, bool]) -> None:
    agent = make_agent(name, {"critic_steps": 1, **settings})
    layout = AgentView(TASK).layout(FEATURES.seen)
    state = agent.create(jax.random.PRNGKey(0), layout)
    before = {key: np.asarray(value) for key, value in agent.actor(state).items()}
    batch = blank_batch(agent, layout, 4)
    rng = np.random.default_rng(0)
    seen = {"wrist": rng.normal(size=batch.images["wrist"].shape).astype(np.float16)}
    batch = batch._replace(images=seen, next_images=seen, reward=np.ones_like(batch.reward))
    state, info = agent.update(state, batch)
    assert all(np.isfinite(value).all() for value in info.values())
    after = {key: np.asarray(value) for key, value in agent.actor(state).items()}
    heads = [key for key in after if key.endswith("wrist/p")]
    assert heads
    assert any(not np.array_equal(before[key], after[key]) for key in heads), "the head learns"

    told = {**_identity("a1"), **describe_agent(agent, FEATURES.seen)}
    data = pack(after, 1, told)
    policy = load_actor(data, AgentView(TASK), 0, True, FEATURES.seen, "a1")
    made = policy.act([_observation(rng)])
    assert made.actions.shape[1] == TASK.action.size
    assert unpack(data).meta["images"] == {"wrist": [2, 3, 4]}
    for digest, images in (("b2", FEATURES.seen), ("", PIXELS.seen)):
        with pytest.raises(ParameterError, match="trained on features of encoder a1, but this run has"):
            load_actor(data, AgentView(TASK), 0, True, images, digest)


def test_parameters_of_pixels_are_refused_where_there_are_features() -> None:
    agent = make_agent("rlpd", {"critic_steps": 1})
    layout = AgentView(TASK).layout(PIXELS.seen)
    params = {key: np.asarray(value) for key, value in agent.actor(agent.create(jax.random.PRNGKey(0), layout)).items()}
    told = {**_identity(""), **describe_agent(agent, PIXELS.seen)}
    del told["encoder"]  # as parameters from before there were encoders
    data = pack(params, 1, told)
    load_actor(data, AgentView(TASK), 0, True, PIXELS.seen)
    with pytest.raises(
        ParameterError, match="trained on no encoder's features, but this run has features of encoder a1"
    ):
        load_actor(data, AgentView(TASK), 0, True, FEATURES.seen, "a1")


def test_a_policy_that_sees_by_no_camera_acts_with_any_encoder() -> None:
    agent = make_agent("rlpd", {"critic_steps": 1})
    state = agent.create(jax.random.PRNGKey(0), AgentView(TASK).layout())
    params = {key: np.asarray(value) for key, value in agent.actor(state).items()}
    data = pack(params, 1, {**_identity(""), **describe_agent(agent, {})})
    policy = load_actor(data, AgentView(TASK), 0, True, FEATURES.seen, "a1")
    assert policy.act([_observation(np.random.default_rng(0))]).actions.shape[1] == TASK.action.size


def _identity(digest: str) -> dict[str, object]:
    return dict(identity_of(TASK, digest))


def _observation(rng: np.random.Generator) -> Observation:
    return Observation(0, 0, np.zeros(5, np.float32), {"wrist": rng.normal(size=(2, 3, 4)).astype(np.float16)})
