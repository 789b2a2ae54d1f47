"""The contract that every learning algorithm meets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from robot_rl.data.replay import Batch


class Agent(NamedTuple):
    """An algorithm with its config: pure functions over an immutable pytree that holds everything that learns.

    Attributes:
        name, config: which, and how.
        updates_per_call: critic steps G in one ``update``.
        create: ``(key, state_size, action_size) -> state``.
        update: ``(state, batch) -> (state, info)``, one compiled call; ``batch`` has leading axes ``(G, n)`` and
            ``info`` scalar metrics named like ``critic/q_mean``.
        actor: ``state -> params``: what a policy process needs, flat name → array.
    """

    name: str
    config: Any
    updates_per_call: int
    create: Callable[[jax.Array, int, int], Any]
    update: Callable[[Any, Batch], tuple[Any, Mapping[str, jax.Array]]]
    actor: Callable[[Any], Mapping[str, jax.Array]]
