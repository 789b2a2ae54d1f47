"""Serves an agent: what JAX trains acts by the very function that it was written with, compiled, one action at a time.

This is the one module of `policies` that imports JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from robot_rl.contract import Layout, Planned, frame_spec
from robot_rl.data.parameters import ParameterError
from robot_rl.learner.agent import Agent
from robot_rl.learner.networks.guidance import Guide, Method, soft_mask

Tree = TypeVar("Tree")

SERVED = 8  # agents whose compiled functions are kept


class Stream(NamedTuple):
    """State of exploration: its key, the steps it was asked for, and what the agent hands from one to the next."""

    key: jax.Array
    steps: jax.Array | np.ndarray
    carry: Any


class AgentActor:
    """Acts by published parameters of ``agent``.

    Exploring and acting without noise have a stream of random numbers each. The latter begins alike for every seed, for
    an agent that draws even then.

    Args:
        layout: of the observations; ``images`` are those that the agent sees.
        params: as `Agent.actor` gives them.
        seeds: of the exploration noise, one or several numbers from 0 to 2³² − 1.
        guidance: how chunks are pulled towards a plan; None: plans are left alone, as by an agent that is not `guided`.
        device: default: a processor. One action is too little work for an accelerator, which the learner keeps busy.
    """

    def __init__(
        self,
        agent: Agent,
        layout: Layout,
        params: Mapping[str, Any],
        seeds: tuple[int, ...],
        device: jax.Device | None = None,
        guidance: Method | None = None,
    ) -> None:
        self._layout = layout
        self._device = device or _processor()
        self._step = compiled(agent.act)
        self._guided = None
        if guidance is not None and agent.guided:
            self._guided = compiled_guided(agent.act, guidance)
            self._plan_size = agent.horizon, layout.action_size
        self._params = self._place(params)
        self._streams = {False: self._stream(agent, seeds), True: self._stream(agent, (0,))}  # by deterministic

    def load(self, params: Mapping[str, Any]) -> None:
        """Go on with other parameters of the same shapes; the noise continues."""
        self._params = self._place(params)

    def warm_up(self, deterministic: bool) -> None:
        """Compile, so that the first action takes as long as all others. Noise stays where it is."""
        layout = self._layout
        images: dict[str, np.ndarray] = {name: np.zeros(*frame_spec(size)) for name, size in layout.images.items()}
        state = np.zeros(layout.state_size, np.float32)
        stream = self._streams[deterministic]
        actions, _ = self._step(self._params, stream, state, images, deterministic=deterministic)
        actions.block_until_ready()
        if self._guided is not None:
            nothing = np.zeros(self._plan_size, np.float32), np.zeros(self._plan_size[0], np.float32)
            actions, _ = self._guided(self._params, stream, state, images, *nothing, deterministic=deterministic)
            actions.block_until_ready()

    def act(
        self,
        state: np.ndarray,
        images: Mapping[str, np.ndarray],
        deterministic: bool,
        planned: Planned | None = None,
    ) -> np.ndarray:
        """Actions ``(H, a)`` float32 in [−1, 1] for ``state (d,)`` and ``images``, as in `Observation`.

        They take up ``planned`` where the actor is guided.

        Raises `ParameterError` when state or images are not of the layout's sizes; images beyond it are left alone.
        """
        state = np.asarray(state, np.float32)
        if state.shape != (self._layout.state_size,):
            raise ParameterError(f"state has shape {state.shape}; the policy is for ({self._layout.state_size},)")
        for name, size in self._layout.images.items():
            needed = frame_spec(size)
            if name not in images or images[name].shape != needed.shape:
                found = images[name].shape if name in images else "none"
                kind = "an image" if needed.dtype is np.uint8 else "a grid of features"
                raise ParameterError(f"camera {name}: the policy needs {kind} {needed.shape}, not {found}")
        seen = {name: images[name] for name in self._layout.images}
        step = partial(self._step, self._params, self._streams[deterministic], state, seen)
        if self._guided is not None and planned is not None and len(planned.actions):
            plan = self._plan(planned)
            step = partial(self._guided, self._params, self._streams[deterministic], state, seen, *plan)
        actions, self._streams[deterministic] = step(deterministic=deterministic)
        return np.array(actions)

    def _plan(self, planned: Planned) -> tuple[np.ndarray, np.ndarray]:
        """Y ``(H, a)`` and W ``(H,)`` of `Guide`."""
        target = np.zeros(self._plan_size, np.float32)
        rows = planned.actions[: len(target)]
        target[: len(rows)] = rows
        return target, soft_mask(len(target), planned.delay, len(rows))

    def _stream(self, agent: Agent, seeds: tuple[int, ...]) -> Stream:
        key = jax.random.PRNGKey(seeds[0])
        for seed in seeds[1:]:
            key = jax.random.fold_in(key, seed)
        return self._place(Stream(key, np.zeros((), np.uint32), agent.carry(self._layout)))

    def _place(self, tree: Tree) -> Tree:
        placed: Tree = jax.device_put(tree, self._device)
        return placed


def parameter_shapes(agent: Agent, layout: Layout) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters that ``agent`` publishes, by name; nothing is computed.

    Raises ValueError for a layout that the agent cannot work with.
    """
    shapes = jax.eval_shape(lambda key: agent.actor(agent.create(key, layout)), jax.random.PRNGKey(0))
    return {name: leaf.shape for name, leaf in shapes.items()}


@lru_cache(maxsize=SERVED)
def compiled(act: Callable[..., Any]) -> Any:
    """``(params, stream, state, images, *, deterministic) -> (actions, stream)``: one step of `Agent.act`, jitted."""
    return jax.jit(partial(_step, act), static_argnames="deterministic")


def _step(
    act: Callable[..., Any],
    params: Mapping[str, jax.Array],
    stream: Stream,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    deterministic: bool,
) -> tuple[jax.Array, Stream]:
    key = jax.random.fold_in(stream.key, stream.steps)
    actions, carry = act(params, stream.carry, state, images, key, deterministic)
    return actions, Stream(stream.key, stream.steps + 1, carry)


@lru_cache(maxsize=SERVED)
def compiled_guided(act: Callable[..., Any], method: Method) -> Any:
    """As `compiled`, with Y ``(H, a)`` and W ``(H,)`` of a `Guide` behind ``images``."""
    return jax.jit(partial(_guided_step, act, method), static_argnames="deterministic")


def _guided_step(
    act: Callable[..., Any],
    method: Method,
    params: Mapping[str, jax.Array],
    stream: Stream,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    target: jax.Array,
    weight: jax.Array,
    deterministic: bool,
) -> tuple[jax.Array, Stream]:
    guide = Guide(target, weight, method)
    return _step(partial(act, guide=guide), params, stream, state, images, deterministic)


def _processor() -> jax.Device:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX was told to use accelerators alone
        return jax.local_devices()[0]
