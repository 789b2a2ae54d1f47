"""Published parameters → a policy that fits the task, or an error that says why not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from robot_rl.contract import Shaped, identity_of
from robot_rl.policies.actor import NumpyActor
from robot_rl.policies.base import Actor, ActorPolicy
from robot_rl.policies.encoder import NumpyEncoder, split
from robot_rl.policies.expo import ExpoActor
from robot_rl.policies.flash import FlashActor
from robot_rl.policies.flow import FlowActor
from robot_rl.policies.grasp import GraspActor
from robot_rl.policies.parameters import ParameterError, unpack

GAUSSIAN = {"kind": "gaussian"}
# What acts by each kind of `Agent.acting`; the rest of it are keyword arguments.
ACTORS: dict[str, Callable[..., Actor]] = {
    "expo": ExpoActor,
    "flash": FlashActor,
    "flow": FlowActor,
    "gaussian": NumpyActor,
    "grasp": GraspActor,
}


def make_actor(params: Mapping[str, np.ndarray], acting: Mapping[str, Any], seed: int) -> Actor:
    """The actor that ``acting`` describes (see `robot_rl.learner.agent.Agent`).

    Raises `ParameterError` for a kind or settings that this version does not know, or parameters that do not fit.
    """
    kind = acting.get("kind")
    if kind not in ACTORS:
        raise ParameterError(f"they are for an actor of kind {kind!r}; this version knows {', '.join(ACTORS)}")
    settings = {name: value for name, value in acting.items() if name != "kind"}
    try:
        inspect.signature(ACTORS[kind]).bind(params, seed=seed, **settings)
    except TypeError as error:
        raise ParameterError(f"they are for an actor of kind {kind!r} with settings {settings}: {error}") from error
    return ACTORS[kind](params, seed=seed, **settings)


class ActorLoader:
    """Makes a policy of each publication of a learner, one after the other.

    Parameters that differ from the ones before only in their values are taken over by the actor that acts already: its
    noise goes on. Others, of another kind, settings or sizes, get a new actor.

    Args:
        images: camera → (height, width) of the images that come with the observations.
    """

    def __init__(
        self, task: Shaped, seed: int, deterministic: bool, images: Mapping[str, tuple[int, int]] | None = None
    ) -> None:
        self._task, self._seed, self._deterministic = task, seed, deterministic
        self._images = dict(images or {})
        self._actor: Actor | None = None
        self._form: object = None  # of the parameters that the actor was made for

    def __call__(self, data: bytes) -> ActorPolicy:
        """The policy packed in ``data``.

        Raises `ParameterError` when the bytes are damaged, or the policy is of another task or shape, or needs images
        that there are none of; the policy before it stays as it was.
        """
        published, version, meta = unpack(data)
        acting = meta.get("acting", {})
        for key, value in describe(self._task, acting).items():
            if meta.get(key) != value:
                if key == "fields" and (hint := _hidden(meta.get(key), value)):
                    raise ParameterError(hint)
                raise ParameterError(f"it was trained with {key} {meta.get(key)!r}, but this run has {key} {value!r}")
        params, eyes = split(published)
        encoder = NumpyEncoder(eyes, self._images) if eyes else None
        form = acting, {name: array.shape for name, array in params.items()}
        if self._actor is not None and form == self._form:
            self._actor.load(params)
        else:
            # A process that starts anew shall not repeat the noise that it explored with before.
            self._actor = make_actor(params, acting, self._seed * 1_000_003 + version + 1)
            self._form = form
        return ActorPolicy(self._actor, version, self._deterministic, encoder)


def load_actor(
    data: bytes, task: Shaped, seed: int, deterministic: bool, images: Mapping[str, tuple[int, int]] | None = None
) -> ActorPolicy:
    """The policy packed in ``data``, by itself. Raises `ParameterError` as `ActorLoader` does."""
    return ActorLoader(task, seed, deterministic, images)(data)


def describe(task: Shaped, acting: Mapping[str, Any] = GAUSSIAN) -> dict[str, object]:
    """What a policy's parameters say about where they fit, and which actor acts by them."""
    return {**identity_of(task), "acting": dict(acting)}


def _hidden(trained: Any, here: Any) -> str:
    """How the fields of a state differ by what is hidden from the agent; "" where that is not all."""
    theirs, mine = (
        {name: part for name, *part in fields} if isinstance(fields, list) else {} for fields in (trained, here)
    )
    if not theirs or any(theirs[name] != mine[name] for name in theirs.keys() & mine.keys()):
        return ""
    more, less = (", ".join(name for name in a if name not in b) for a, b in ((mine, theirs), (theirs, mine)))
    if more and less:
        return ""
    if more:
        return f"it was trained without {more} of the state; say learner.without={more.replace(' ', '')}"
    return f"it was trained with {less} of the state, which learner.without hides from it here"
