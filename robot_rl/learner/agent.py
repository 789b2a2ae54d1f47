"""The contract that every learning algorithm meets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch


class Agent(NamedTuple):
    """An algorithm with its config: pure functions over an immutable pytree that holds everything that learns.

    Attributes:
        name, config: which, and how.
        updates_per_call: critic steps G in one ``update``.
        create: ``(key, layout) -> state``. Raises ValueError for a layout that the algorithm cannot work with.
        update: ``(state, batch) -> (state, info)``, one compiled call; ``batch`` has leading axes ``(G, n)`` and
            ``info`` scalar metrics named like ``critic/q_mean``.
        actor: ``state -> params``: what a policy process needs, flat name → array.
        acting: JSON values that go with the parameters: ``kind`` names the actor in `robot_rl.policies`, the others are
            its settings.
        horizon: steps H of a window in a batch; above 1, its actions are chunks.
        demo_share: share of demonstrations in a minibatch that suits it; None: in proportion to how many there are.
        pretrain: calls of ``update`` on demonstrations alone, before the first online step, that suit it.
    """

    name: str
    config: Any
    updates_per_call: int
    create: Callable[[jax.Array, Layout], Any]
    update: Callable[[Any, Batch], tuple[Any, Mapping[str, jax.Array]]]
    actor: Callable[[Any], Mapping[str, jax.Array]]
    acting: Mapping[str, Any]
    horizon: int = 1
    demo_share: float | None = 0.5
    pretrain: int = 0


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
