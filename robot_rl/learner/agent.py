"""The contract that every learning algorithm meets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch


class Agent(NamedTuple):
    """An algorithm with its config: pure functions over an immutable pytree that holds everything that learns.

    Attributes:
        name, config: which, a name that `robot_rl.learner.factory.make_agent` knows, and how, a dataclass.
        updates_per_call: critic steps G in one ``update``.
        create: ``(key, layout) -> state``. Raises ValueError for a layout that the algorithm cannot work with.
        update: ``(state, batch) -> (state, info)``, one compiled call; ``batch`` has leading axes ``(G, n)`` and
            ``info`` scalar metrics named like ``critic/q_mean``.
        actor: ``state -> params``: exactly what ``act`` needs, flat name → float32 array.
        act: ``(params, carry, state, images, key, deterministic) -> (actions, carry)`` for one observation: ``state
            (d,)`` float32, ``images`` camera → ``(h, w, 3)`` uint8, ``actions (H, a)`` float32 in [−1, 1]. It is
            compiled by whoever serves it, ``deterministic`` a constant (True: no exploration).
        carry: ``layout -> carry``: what acting begins with and hands from step to step, e.g. noise that is held.
        horizon: steps H of a window in a batch; above 1, its actions are chunks.
        demo_share: share of demonstrations in a minibatch that suits it; None: in proportion to how many there are.
        pretrain: calls of ``update`` on demonstrations alone, before the first online step, that suit it.
        columns: names in `Batch.columns` that it learns from, beside what every agent is given.
    """

    name: str
    config: Any
    updates_per_call: int
    create: Callable[[jax.Array, Layout], Any]
    update: Callable[[Any, Batch], tuple[Any, Mapping[str, jax.Array]]]
    actor: Callable[[Any], Mapping[str, jax.Array]]
    act: Callable[..., tuple[jax.Array, Any]]
    carry: Callable[[Layout], Any] = lambda layout: ()
    horizon: int = 1
    demo_share: float | None = 0.5
    pretrain: int = 0
    columns: tuple[str, ...] = ()


def describe_agent(agent: Agent, images: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """JSON values that go with published parameters: whose they are, and which ``images`` it sees, by (height, width).

    By them `robot_rl.policies.loading` makes the same agent again.
    """
    return {
        "agent": agent.name,
        "settings": dataclasses.asdict(agent.config),
        "images": {name: list(size) for name, size in images.items()},
    }


class Algorithm(NamedTuple):
    """An entry of `robot_rl.learner.config.AGENTS`.

    Attributes:
        config: frozen dataclass of its settings, ``learner.settings.<key>``, each with a default; its annotations are
            their types and bounds (`robot_rl.contract.ranges`). It has ``critic_steps``, which ``learner.utd`` sets,
            and ``discount``.
        make: config → agent, which is called as it is asked for, whatever name it has.
    """

    config: type
    make: Callable[[Any], Agent]
