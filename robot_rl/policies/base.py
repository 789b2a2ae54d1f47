"""Policies of this package; `Policy` is what any policy is to a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from robot_rl.contract import ActionChunk, Observation, Policy, Shaped
from robot_rl.policies.encoder import NumpyEncoder

__all__ = ["Actor", "ActorPolicy", "Policy", "RandomPolicy"]


class Actor(Protocol):
    """What a learner trains, in numpy: features in, actions out. It keeps its own stream of noise."""

    def load(self, params: Mapping[str, np.ndarray]) -> None:
        """Go on with other parameters of the same sizes; the noise continues. Raises `ParameterError`."""

    def act(self, features: np.ndarray, deterministic: bool) -> np.ndarray:
        """Actions ``(h, a)`` float32 in [−1, 1] for ``features (d,)``."""


class RandomPolicy(Policy):
    """Uniform actions in [−1, 1]."""

    def __init__(self, task: Shaped, seed: int = 0) -> None:
        self._size = task.action.size
        self._rng = np.random.default_rng(seed)

    def act(self, observations: Sequence[Observation]) -> ActionChunk:
        return ActionChunk(observations[-1].stamp_ns, self._rng.uniform(-1.0, 1.0, (1, self._size)).astype(np.float32))


class ActorPolicy(Policy):
    """A trained actor; ``version`` is that of the parameters it acts by. Without an encoder it sees the state alone."""

    def __init__(
        self, actor: Actor, version: int = -1, deterministic: bool = False, encoder: NumpyEncoder | None = None
    ) -> None:
        self.actor = actor
        self.encoder = encoder
        self.version = version
        self.deterministic = deterministic

    def act(self, observations: Sequence[Observation]) -> ActionChunk:
        observation = observations[-1]
        features = observation.state
        if self.encoder is not None:
            features = self.encoder(features, observation.images)
        return ActionChunk(observation.stamp_ns, self.actor.act(features, self.deterministic), self.version)
