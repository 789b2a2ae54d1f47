"""Imitation alone acts, and is trained alone, until the critics' choice has earned it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.factory import make_agent

D, A, N = 2, 2, 32
LAYOUT = Layout(D, A)
SETTINGS: dict[str, dict[str, Any]] = {
    "chunked": {"hidden": [64], "horizon": 2, "samples": 4, "critic_steps": 1, "learning_rate": 3e-3},
    "expo": {"hidden": [16], "base_hidden": [64], "critics": 3, "critic_steps": 1, "learning_rate": 3e-3},
    "dsrl": {"hidden": [64], "horizon": 2, "critic_steps": 1, "learning_rate": 3e-3},
    "gorl": {"hidden": [64], "horizon": 2, "critic_steps": 1, "learning_rate": 3e-3},
}


def batch(name: str, steps: int, seed: int) -> Batch:
    """The person pushes left where the first number is negative, right where it is positive."""
    rng = np.random.default_rng(seed)
    rows, horizon = (steps, N), SETTINGS[name].get("horizon", 1)
    state = rng.choice((-1.0, 1.0), (*rows, D)).astype(np.float32)
    action = np.repeat((0.6 * state)[..., None, :], horizon, axis=-2)
    ones = np.ones((*rows, horizon), np.float32)
    single = horizon == 1
    return Batch(
        state=state,
        action=action[..., 0, :] if single else action,
        reward=(ones * 0.1)[..., 0] if single else ones * 0.1,
        mask=np.ones(rows, np.float32),
        next_state=state,
        valid=ones[..., 0] if single else ones,
        columns={"example": np.ones(rows, np.float32)},
    )


def critics_of(state: Any) -> list[jax.Array]:
    """Of the algorithm's state: `GorlState.steered` has them, or the state itself."""
    steered = getattr(state, "steered", state)
    return jax.tree.leaves(steered.critics if hasattr(steered, "critics") else steered.values.critics)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_base_is_trained_alone_and_acts_alone_until_it_is_the_others_turn(name: str) -> None:
    agent = make_agent(name, SETTINGS[name])
    state = agent.measure(agent.create(jax.random.PRNGKey(0), LAYOUT), batch(name, 4, 0).state.reshape(-1, D))
    critics = critics_of(state.inner.inner)
    losses = []
    for call in range(8):
        state, _ = agent.imitate(state, batch(name, 50, call))
        held_out = jax.tree.map(lambda column: column[0], batch(name, 1, 99))
        losses.append(float(agent.imitation_loss(state, held_out)))
    assert losses[-1] < 0.7 * losses[0]
    after = critics_of(state.inner.inner)
    assert all((one == other).all() for one, other in zip(critics, after, strict=True))

    def acts(state: Any, deterministic: bool) -> np.ndarray:
        params = agent.actor(state)
        act = jax.jit(lambda s, key: agent.act(params, (), s, {}, key, deterministic)[0][0])
        return np.stack([act(row, jax.random.PRNGKey(i)) for i, row in enumerate(batch(name, 1, 5).state[0])])

    alone = acts(state, True)
    assert np.abs(alone - 0.6 * batch(name, 1, 5).state[0]).mean() < 0.25
    np.testing.assert_array_equal(acts(agent.turn(state, 1.0, 0.0), True), alone)
    assert (acts(agent.turn(state, 0.0, 1.0), True) != alone).any()
    np.testing.assert_array_equal(acts(agent.turn(state, 0.0, 1.0), False), acts(state, False))
    assert (acts(agent.turn(state, 1.0, 0.0), False) != acts(state, False)).any()


def imitated(name: str) -> tuple[Any, Any]:
    """An agent and its state after some imitation."""
    agent = make_agent(name, SETTINGS[name])
    state = agent.measure(agent.create(jax.random.PRNGKey(0), LAYOUT), 7.0 * batch(name, 4, 0).state.reshape(-1, D))
    return agent, agent.imitate(state, batch(name, 20, 0))[0]


@pytest.mark.parametrize(("name", "source"), [(name, name) for name in SETTINGS] + [("dsrl", "chunked")])
def test_it_starts_from_what_another_run_imitated(name: str, source: str) -> None:
    theirs, learnt = imitated(source)
    agent, row, key = make_agent(name, SETTINGS[name]), np.ones(D, np.float32), jax.random.PRNGKey(3)
    fresh = agent.create(jax.random.PRNGKey(1), LAYOUT)
    adopted = agent.adopt(fresh, theirs.actor(learnt))
    chunks = [
        np.asarray(one.act(one.actor(state), (), row, {}, key, True)[0])
        for one, state in ((theirs, theirs.turn(learnt, 0.0, 0.0)), (agent, adopted))
    ]
    np.testing.assert_allclose(chunks[0], chunks[1], rtol=1e-5, atol=1e-6)
    assert (np.asarray(agent.act(agent.actor(fresh), (), row, {}, key, True)[0]) != chunks[1]).any()


def test_it_does_not_start_from_something_else() -> None:
    chunked, learnt = imitated("chunked")
    params = chunked.actor(learnt)
    for name, message in (("expo", "no base of agent expo"), ("dsrl", "other sizes than agent dsrl has here")):
        agent = make_agent(name, SETTINGS[name])
        wrong = agent.create(jax.random.PRNGKey(0), Layout(D, A + 1) if name == "dsrl" else LAYOUT)
        with pytest.raises(ValueError, match=message):
            agent.adopt(wrong, params)
    with pytest.raises(ValueError, match="nothing that agent chunked starts from"):
        chunked.adopt(learnt, chunked.actor(chunked.create(jax.random.PRNGKey(0), LAYOUT)))
