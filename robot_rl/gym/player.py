"""An agent's numpy actor in an environment: parameters straight from the learner, chunks executed open loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from robot_rl.learner.agent import Agent
from robot_rl.policies.loading import make_actor


class Player:
    """Acts by the parameters of ``agent`` in ``state`` (an agent's own); `load` takes newer ones, the noise goes on."""

    def __init__(self, agent: Agent, state: Any, seed: int, deterministic: bool) -> None:
        self._agent, self._deterministic = agent, deterministic
        self._actor = make_actor(self._parameters(state), agent.acting, seed)
        self._chunk = np.zeros((0, 0), np.float32)  # decided, not yet executed

    def load(self, state: Any) -> None:
        self._actor.load(self._parameters(state))

    def begin(self) -> None:
        """A new episode: what was decided in the last one is forgotten."""
        self._chunk = self._chunk[:0]

    def act(self, state: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """The action ``(a,)`` for now."""
        if not len(self._chunk):
            self._chunk = self._actor.act(state, self._deterministic)
        action, self._chunk = self._chunk[0], self._chunk[1:]
        return action

    def _parameters(self, state: Any) -> dict[str, np.ndarray]:
        return {name: np.array(value) for name, value in self._agent.actor(state).items()}
