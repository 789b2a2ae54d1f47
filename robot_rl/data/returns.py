"""How large returns are, counted over every step that ever arrived: what rewards are scaled by."""

from __future__ import annotations

import math

import numpy as np

from robot_rl.data.episode import Transitions
from robot_rl.data.replay import Batch


class ReturnStatistics:
    """Mean, variance and largest magnitude of the running discounted return of each step.

    ``G ← γ G + r`` along an episode, from 0 at its first step: the rewards so far, the newest one weighing most. Stores
    may take turns in the middle of their episodes; each has a running return of its own.
    """

    def __init__(self, discount: float) -> None:
        self.discount = discount
        self.count = 0
        self.largest = 0.0  # max |G|
        self._mean = 0.0
        self._squares = 0.0  # Σ (G − mean)², kept up to date as Welford does
        self._running: dict[str, tuple[int, int, float]] = {}  # store → its episode, next step, G

    @property
    def deviation(self) -> float:
        """√Var(G); 0 before the first step."""
        return math.sqrt(self._squares / self.count) if self.count else 0.0

    def put_into(self, batch: Batch) -> Batch:
        """``batch``, leading axis ``(updates,)``, with the statistics of now."""
        updates = len(batch.reward)
        return batch._replace(
            return_deviation=np.full(updates, self.deviation, np.float32),
            return_largest=np.full(updates, self.largest, np.float32),
        )

    def add(self, transitions: Transitions) -> None:
        """Consecutive steps of one episode."""
        episode, step, value = self._running.get(transitions.store, (-1, -1, 0.0))
        if (episode, step) != (transitions.episode, transitions.start):
            value = 0.0
        for reward in transitions.reward.tolist():
            value = self.discount * value + reward
            self.count += 1
            excess = value - self._mean
            self._mean += excess / self.count
            self._squares += excess * (value - self._mean)
            self.largest = max(self.largest, abs(value))
        end = transitions.start + len(transitions)
        self._running[transitions.store] = (transitions.episode, end, value)
