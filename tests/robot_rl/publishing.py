"""Published policies for tests: an actor of one hidden layer whose mean and deviation are the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robot_rl.contract import Shaped
from robot_rl.data.parameters import pack
from robot_rl.learner.factory import make_agent
from robot_rl.policies.loading import describe


def parameters(task: Shaped, mean: float = 0.0, hidden: int = 4) -> dict[str, np.ndarray]:
    """``tanh μ`` is the deterministic action on every axis, σ = 1."""
    state_size, size = sum(field.size for field in task.fields), task.action.size
    return {
        "actor/w0": np.zeros((state_size, hidden), np.float32),
        "actor/b0": np.zeros(hidden, np.float32),
        "actor/w1": np.zeros((hidden, 2 * size), np.float32),
        "actor/b1": np.repeat(np.float32([mean, 0.0]), size),
    }


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
