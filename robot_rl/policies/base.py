"""What a policy is to a session: an observation in, a chunk of actions out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from robot_rl.contract import ActionChunk, Observation


@runtime_checkable
class Policy(Protocol):
    """Decides. Pure but for its own noise: no clock, no I/O."""

    def __call__(self, observation: Observation) -> ActionChunk:
        """Actions for the next control periods, first one now."""


class Actor(Protocol):
    """A learner's product at work: state and images in, actions out. It keeps its own stream of noise."""

    def act(self, state: np.ndarray, images: Mapping[str, np.ndarray], deterministic: bool) -> np.ndarray:
        """Actions ``(h, a)`` float32 in [−1, 1] for ``state (d,)`` and ``images`` (camera → ``(h, w, 3)`` uint8)."""


class RandomPolicy:
    """Uniform actions in [−1, 1]."""

    def __init__(self, action_size: int, seed: int = 0) -> None:
        self._size = action_size
        self._rng = np.random.default_rng(seed)

    def __call__(self, observation: Observation) -> ActionChunk:
        return ActionChunk(observation.stamp_ns, self._rng.uniform(-1.0, 1.0, (1, self._size)).astype(np.float32))


class ActorPolicy:
    """A trained actor; ``version`` is that of the parameters it acts by."""

    def __init__(self, actor: Actor, version: int = -1, deterministic: bool = False) -> None:
        self.actor = actor
        self.version = version
        self.deterministic = deterministic

    def __call__(self, observation: Observation) -> ActionChunk:
        actions = self.actor.act(observation.state, observation.images, self.deterministic)
        return ActionChunk(observation.stamp_ns, actions, self.version)
