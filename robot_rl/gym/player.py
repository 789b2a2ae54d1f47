"""An agent in an environment: parameters straight from the learner, chunks executed open loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from robot_rl.contract import Layout
from robot_rl.learner.agent import Agent
from robot_rl.policies.serving import AgentActor


class Player:
    """Acts by the parameters of ``agent`` in ``state`` (an agent's own); `load` takes newer ones, the noise goes on."""

    def __init__(self, agent: Agent, layout: Layout, state: Any, seeds: tuple[int, ...], deterministic: bool) -> None:
        self._agent, self._deterministic = agent, deterministic
        self._actor = AgentActor(agent, layout, agent.actor(state), seeds)
        self._chunk: np.ndarray = np.zeros((0, 0), np.float32)  # decided, not yet executed

    def load(self, state: Any) -> None:
        self._actor.load(self._agent.actor(state))

    def begin(self) -> None:
        """A new episode: what was decided in the last one is forgotten."""
        self._chunk = self._chunk[:0]

    def act(self, state: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """The action ``(a,)`` for ``state (d,)`` and ``images`` (name → ``(h, w, 3)`` uint8)."""
        if not len(self._chunk):
            self._chunk = self._actor.act(state, images, self._deterministic)
        action: np.ndarray = self._chunk[0]
        self._chunk = self._chunk[1:]
        return action
