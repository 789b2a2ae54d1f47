"""An agent's numpy actor in an environment: parameters straight from the learner, chunks executed open loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from robot_rl.contract import Layout
from robot_rl.learner.agent import Agent
from robot_rl.policies.encoder import NumpyEncoder, split
from robot_rl.policies.loading import make_actor


class Player:
    """Acts by the parameters of ``agent`` in ``state`` (an agent's own); `load` takes newer ones, the noise goes on."""

    def __init__(self, agent: Agent, layout: Layout, state: Any, seed: int, deterministic: bool) -> None:
        self._agent, self._layout, self._deterministic = agent, layout, deterministic
        params, self._encoder = self._parts(state)
        self._actor = make_actor(params, agent.acting, seed)
        self._chunk = np.zeros((0, 0), np.float32)  # decided, not yet executed

    def load(self, state: Any) -> None:
        params, self._encoder = self._parts(state)
        self._actor.load(params)

    def begin(self) -> None:
        """A new episode: what was decided in the last one is forgotten."""
        self._chunk = self._chunk[:0]

    def act(self, state: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """The action ``(a,)`` for ``state (d,)`` and ``images`` (name → ``(h, w, 3)`` uint8)."""
        if not len(self._chunk):
            features = state if self._encoder is None else self._encoder(state, images)
            self._chunk = self._actor.act(features, self._deterministic)
        action, self._chunk = self._chunk[0], self._chunk[1:]
        return action

    def _parts(self, state: Any) -> tuple[dict[str, np.ndarray], NumpyEncoder | None]:
        params, eyes = split({name: np.asarray(value) for name, value in self._agent.actor(state).items()})
        return params, NumpyEncoder(eyes, self._layout.images) if eyes else None
