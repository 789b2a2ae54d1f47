"""Published parameters → a policy that fits the task, or an error that says why not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from robot_rl.contract import ENCODER, FrameSize, Layout, Shaped, differences, identity_of, layout_of
from robot_rl.data.parameters import ParameterError, unpack
from robot_rl.learner.agent import Agent, describe_agent
from robot_rl.learner.factory import make_agent
from robot_rl.learner.networks.guidance import Method
from robot_rl.policies.base import ActorPolicy
from robot_rl.policies.serving import SERVED, AgentActor, parameter_shapes


class _Make(NamedTuple):
    """Parameters of one make differ in their values alone."""

    agent: str  # name
    settings: str  # of the agent, JSON
    images: tuple[tuple[str, FrameSize], ...]
    shapes: tuple[tuple[str, tuple[int, ...]], ...]  # of the parameters, by name


class Published(NamedTuple):
    """Parameters that fit."""

    make: _Make
    layout: Layout
    params: dict[str, np.ndarray]
    version: int

    @property
    def agent(self) -> Agent:
        """The agent that acts by them."""
        return _agent(self.make.agent, self.make.settings)


class ActorLoader:
    """Makes a policy of each publication of a learner, one after the other.

    Parameters that differ from the ones before only in their values are taken over by the actor that acts already: its
    noise goes on. Others, of another agent, settings or sizes, get a new actor, which is compiled when it is made.

    Args:
        images: camera → size of the images, or grids of features, that come with the observations.
        encoder: digest of the encoder whose features these are; "" for images.
        guidance: see `AgentActor`.
    """

    def __init__(
        self,
        task: Shaped,
        seed: int,
        deterministic: bool,
        images: Mapping[str, FrameSize] | None = None,
        encoder: str = "",
        guidance: Method | None = None,
    ) -> None:
        self._task, self._seed, self._deterministic = task, seed, deterministic
        self._guidance = guidance
        self._images, self._encoder = dict(images or {}), encoder
        self._actor: AgentActor | None = None
        self._make: _Make | None = None  # of the actor's parameters

    def __call__(self, data: bytes) -> ActorPolicy:
        """The policy packed in ``data``.

        Raises `ParameterError` when the bytes are damaged, or the policy is of another task or shape, or needs images
        that there are none of; the policy before it stays as it was.
        """
        found = self.read(data)
        if self._actor is not None and found.make == self._make:
            self._actor.load(found.params)
        else:
            # A process that starts anew shall not repeat the noise that it explored with before.
            self._actor = AgentActor(
                found.agent, found.layout, found.params, (self._seed, found.version + 1), guidance=self._guidance
            )
            self._actor.warm_up(self._deterministic)
            self._make = found.make
        return ActorPolicy(self._actor, found.version, self._deterministic)

    def check(self, data: bytes) -> None:
        """Raises `ParameterError` when ``data`` is no policy for this task and these images."""
        self.read(data)

    def warm_up(self, agent: Agent) -> None:
        """Compile what policies of ``agent`` need that see all images, before the first of them is there."""
        settings, layout = _text(describe_agent(agent, self._images)["settings"]), self._layout(self._images)
        shapes = _shapes(agent.name, settings, layout)
        params = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        made = _agent(agent.name, settings)
        AgentActor(made, layout, params, (0,), guidance=self._guidance).warm_up(self._deterministic)

    def read(self, data: bytes) -> Published:
        """The parameters packed in ``data``. Raises `ParameterError` as the call does."""
        params, version, meta = unpack(data)
        for key, there, here in differences(meta, identity_of(self._task, self._encoder)):
            if key == "fields" and (hint := _hidden(there, here)):
                raise ParameterError(hint)
            if key == ENCODER and not meta.get("images"):
                continue  # it sees by no camera
            if key == ENCODER:
                theirs, ours = (
                    f"features of encoder {one}" if one else "no encoder's features" for one in (there, here)
                )
                raise ParameterError(
                    f"it was trained on {theirs}, but this run has {ours}; set encoder= as it was then"
                )
            raise ParameterError(f"it was trained with {key} {there!r}, but this run has {key} {here!r}")
        try:
            name, settings, images = meta["agent"], _text(meta["settings"]), meta["images"]
        except KeyError as error:
            raise ParameterError(f"they do not say which agent acts by them: {error} is missing") from error
        layout = self._layout({camera: tuple(size) for camera, size in images.items()})
        self._check_images(layout.images)
        shapes = tuple(sorted((key, np.shape(value)) for key, value in params.items()))
        make = _Make(name, settings, tuple(sorted(layout.images.items())), shapes)
        if make != self._make:
            check_shapes(name, dict(shapes), _shapes(name, settings, layout))
        if wrong := [key for key, value in params.items() if not np.isfinite(value).all()]:
            raise ParameterError(f"{', '.join(wrong)} of agent {name} {'is' if len(wrong) == 1 else 'are'} not finite")
        return Published(make, layout, params, version)

    def _layout(self, images: Mapping[str, FrameSize]) -> Layout:
        return layout_of(self._task, images)

    def _check_images(self, needed: Mapping[str, FrameSize]) -> None:
        if missing := [name for name in needed if name not in self._images]:
            raise ParameterError(f"the policy needs images of {missing}; this run has cameras={sorted(self._images)}")
        for name, size in needed.items():
            if size != self._images[name]:
                kind = "images of (height, width)" if len(size) == 2 else "features of (rows, columns, channels)"
                raise ParameterError(f"camera {name}: the policy needs {kind} {size}, not {self._images[name]}")


def check_shapes(agent: str, found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raises `ParameterError` with all that is wrong."""
    wrong = [f"{key} is missing" for key in expected if key not in found]
    wrong += [f"{key} is unknown" for key in found if key not in expected]
    wrong += [
        f"{key} is {shape}, not {expected[key]}"
        for key, shape in found.items()
        if key in expected and shape != expected[key]
    ]
    if wrong:
        raise ParameterError(f"they are not what agent {agent} acts by in this task: {', '.join(sorted(wrong))}")


@lru_cache(maxsize=SERVED)
def _agent(name: str, settings: str) -> Agent:
    """Raises `ParameterError` for an agent or settings that this version does not know."""
    try:
        return make_agent(name, json.loads(settings))
    except ValueError as error:
        raise ParameterError(f"no agent of this version acts by them: {error}") from error


def _shapes(name: str, settings: str, layout: Layout) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters that an agent publishes for ``layout``, by name.

    Raises `ParameterError` for an agent, settings or a layout that cannot be worked with.
    """
    return _traced_shapes(
        name, settings, layout.state_size, layout.action_size, tuple(layout.images.items()), layout.options
    )


@lru_cache(maxsize=SERVED)
def _traced_shapes(
    name: str,
    settings: str,
    state_size: int,
    action_size: int,
    images: tuple[tuple[str, FrameSize], ...],
    options: int,
) -> dict[str, tuple[int, ...]]:
    agent = _agent(name, settings)
    try:
        return parameter_shapes(agent, Layout(state_size, action_size, dict(images), options))
    except ValueError as error:
        raise ParameterError(f"agent {name} cannot do this task: {error}") from error


def _text(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True)


def load_actor(
    data: bytes,
    task: Shaped,
    seed: int,
    deterministic: bool,
    images: Mapping[str, FrameSize] | None = None,
    encoder: str = "",
    guidance: Method | None = None,
) -> ActorPolicy:
    """The policy packed in ``data``, by itself. Raises `ParameterError` as `ActorLoader` does."""
    return ActorLoader(task, seed, deterministic, images, encoder, guidance)(data)


def describe(task: Shaped, agent: Agent, images: Mapping[str, FrameSize] | None = None) -> dict[str, object]:
    """JSON values that go with parameters of ``agent`` for ``task``, as a learner publishes them."""
    return identity_of(task) | describe_agent(agent, images or {})


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
