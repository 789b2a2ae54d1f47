"""Policies of this package; `Policy` is what any policy is to a session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from robot_rl.contract import ActionChunk, ContractError, Observation, Planned, Policy, Shaped

__all__ = ["Actor", "ActorPolicy", "Newest", "Policy", "RandomPolicy"]


class Actor(Protocol):
    """A learner's product at work: state and images in, actions out. It keeps its own stream of noise."""

    def act(
        self,
        state: np.ndarray,
        images: Mapping[str, np.ndarray],
        deterministic: bool,
        planned: Planned | None = None,
    ) -> np.ndarray:
        """Actions ``(h, a)`` float32 in [−1, 1] for ``state (d,)`` and ``images`` (camera → ``(h, w, 3)`` uint8).

        ``planned``: what they may take up.
        """


class RandomPolicy(Policy):
    """Uniform actions in [−1, 1]."""

    def __init__(self, task: Shaped, seed: int = 0) -> None:
        self._size = task.action.size
        self._rng = np.random.default_rng(seed)

    def act(self, observations: Sequence[Observation]) -> ActionChunk:
        return ActionChunk(observations[-1].stamp_ns, self._rng.uniform(-1.0, 1.0, (1, self._size)).astype(np.float32))


class ActorPolicy(Policy):
    """A trained actor; ``version`` is that of the parameters it acts by."""

    def __init__(self, actor: Actor, version: int = -1, deterministic: bool = False) -> None:
        self.actor = actor
        self.version = version
        self.deterministic = deterministic

    def act(self, observations: Sequence[Observation]) -> ActionChunk:
        observation = observations[-1]
        actions = self.actor.act(observation.state, observation.images, self.deterministic, observation.planned)
        return ActionChunk(observation.stamp_ns, actions, self.version)


class Newest(Policy):
    """A policy that acts by the newest parameters it was given; nobody may ask it before the first.

    Args:
        load: makes a policy of packed parameters.
    """

    def __init__(self, load: Callable[[bytes], Policy]) -> None:
        self._load = load
        self._policy: Policy | None = None
        self._instruction = ""

    def take(self, data: bytes) -> None:
        """Act by ``data`` from now on. Raises what ``load`` does; those before stay."""
        self._policy = self._load(data)
        self._policy.begin(self._instruction)

    def begin(self, instruction: str) -> None:
        self._instruction = instruction
        if self._policy is not None:
            self._policy.begin(instruction)

    def act(self, observations: Sequence[Observation]) -> ActionChunk:
        if self._policy is None:
            raise ContractError("no parameters have been published yet")
        return self._policy.act(observations)
