"""Published parameters → a policy that fits the task, or an error that says why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from robot_rl.policies.actor import NumpyActor
from robot_rl.policies.base import Actor, ActorPolicy
from robot_rl.policies.parameters import ParameterError, unpack
from robot_rl.tasks.base import Task

GAUSSIAN = {"kind": "gaussian"}
# How each kind of `Agent.acting` is made: (parameters, settings, seed) → actor.
ACTORS: dict[str, Callable[[Mapping[str, np.ndarray], Mapping[str, Any], int], Actor]] = {
    "gaussian": lambda params, settings, seed: NumpyActor(params, seed),
}


def make_actor(params: Mapping[str, np.ndarray], acting: Mapping[str, Any], seed: int) -> Actor:
    """The actor that ``acting`` describes (see `robot_rl.learner.agent.Agent`).

    Raises `ParameterError` for a kind that this version does not know, or parameters that do not fit it.
    """
    kind = acting.get("kind")
    if kind not in ACTORS:
        raise ParameterError(f"they are for an actor of kind {kind!r}; this version knows {', '.join(ACTORS)}")
    return ACTORS[kind](params, {name: value for name, value in acting.items() if name != "kind"}, seed)


def load_actor(data: bytes, task: Task, seed: int, deterministic: bool) -> ActorPolicy:
    """The policy packed in ``data``.

    Raises `ParameterError` when the bytes are damaged, or the policy is of another task or shape.
    """
    params, version, meta = unpack(data)
    wanted = describe(task, meta.get("acting", {}))
    for key, value in wanted.items():
        if meta.get(key) != value:
            raise ParameterError(f"it was trained with {key} {meta.get(key)!r}, but this run has {key} {value!r}")
    # Another stream of noise for each version: restarting the same one would repeat it with every publication.
    actor = make_actor(params, meta.get("acting", {}), seed * 1_000_003 + version + 1)
    return ActorPolicy(actor, version, deterministic)


def describe(task: Task, acting: Mapping[str, Any] = GAUSSIAN) -> dict[str, object]:
    """What a policy's parameters say about where they fit, and which actor acts by them."""
    return {
        "task": task.name,
        "state_size": task.state_size,
        "axes": list(task.action.axes),
        "acting": dict(acting),
    }
