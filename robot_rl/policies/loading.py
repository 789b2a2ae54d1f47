"""Published parameters → a policy that fits the task, or an error that says why not."""

from __future__ import annotations

from robot_rl.policies.actor import NumpyActor
from robot_rl.policies.base import ActorPolicy
from robot_rl.policies.parameters import ParameterError, unpack
from robot_rl.tasks.base import Task


def load_actor(data: bytes, task: Task, seed: int, deterministic: bool) -> ActorPolicy:
    """The policy packed in ``data``.

    Raises `ParameterError` when the bytes are damaged, or the policy is of another task or shape.
    """
    params, version, meta = unpack(data)
    wanted = {"task": task.name, "state_size": task.state_size, "axes": list(task.action.axes)}
    for key, value in wanted.items():
        if meta.get(key) != value:
            raise ParameterError(f"it was trained with {key} {meta.get(key)!r}, but this run has {key} {value!r}")
    # Another stream of noise for each version: restarting the same one would repeat it with every publication.
    return ActorPolicy(NumpyActor(params, seed * 1_000_003 + version + 1), version, deterministic)


def describe(task: Task) -> dict[str, object]:
    """What a policy's parameters say about where they fit."""
    return {"task": task.name, "state_size": task.state_size, "axes": list(task.action.axes)}
