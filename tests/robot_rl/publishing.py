"""Published policies for tests: an actor of one hidden layer whose mean and deviation are the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np

from robot_rl.contract import Shaped, layout_of
from robot_rl.data.parameters import pack
from robot_rl.learner.factory import make_agent
from robot_rl.policies.loading import describe

ACTOR = "agent/edit/actor"  # of RLPD without a clone, among published parameters


def parameters(task: Shaped, mean: float = 0.0, hidden: int = 4) -> dict[str, np.ndarray]:
    """``tanh μ`` is the deterministic action on every axis, σ = 1."""
    layout = layout_of(task)
    agent = make_agent("rlpd", {"hidden": [hidden]})
    fresh = agent.actor(agent.create(jax.random.PRNGKey(0), layout))
    actor = {
        "w0": np.zeros((layout.state_size, hidden), np.float32),
        "b0": np.zeros(hidden, np.float32),
        "w1": np.zeros((hidden, 2 * layout.action_size), np.float32),
        "b1": np.repeat(np.float32([mean, 0.0]), layout.action_size),
    }
    published = {name: np.asarray(value) for name, value in fresh.items()}
    return published | {f"{ACTOR}/{name}": value for name, value in actor.items()}


def policy(
    task: Shaped,
    version: int = 1,
    mean: float = 0.0,
    hidden: int = 4,
    params: Mapping[str, np.ndarray] | None = None,
    change: Mapping[str, object] | None = None,
) -> bytes:
    """`parameters` of RLPD, packed, with ``params`` instead of some, and ``change`` instead of what is said of them."""
    agent = make_agent("rlpd", {"hidden": [hidden]})
    said = {**describe(task, agent), **(change or {})}
    return pack({**parameters(task, mean, hidden), **(params or {})}, version, said)
