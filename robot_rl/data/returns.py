"""How large returns are, counted over every step that ever arrived: what rewards are scaled by."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from robot_rl.data.episode import Correction, Transitions
from robot_rl.data.replay import RETURN_DEVIATION, RETURN_LARGEST, Batch


@dataclass(eq=False)
class _Sums:
    """Of the returns of some steps: how many, ΣG, ΣG², max |G|. Exact, so that no order of adding matters."""

    count: int = 0
    total: Fraction = Fraction(0)
    squares: Fraction = Fraction(0)
    largest: float = 0.0

    def add(self, value: float) -> None:
        exact = Fraction(value)
        self.count += 1
        self.total += exact
        self.squares += exact * exact
        self.largest = max(self.largest, abs(value))

    def join(self, other: _Sums, sign: int = 1) -> None:
        """Take in the steps of ``other``, or with sign −1 take them back, but for the largest."""
        self.count += sign * other.count
        self.total += sign * other.total
        self.squares += sign * other.squares
        self.largest = max(self.largest, other.largest)


@dataclass(eq=False)
class _Episode:
    """An episode's share: runs of steps that arrived, ``[first, end]`` each, their sums, and G after the last."""

    runs: list[list[int]] = field(default_factory=list)
    sums: _Sums = field(default_factory=_Sums)
    value: float = 0.0


class ReturnStatistics:
    """Mean, variance and largest magnitude of the running discounted return of each step that counts.

    ``G ← γ G + r`` along an episode, from 0 at its first step: the rewards so far, the newest one weighing most. Stores
    may take turns in the middle of their episodes. The statistics are those of the labels that hold: a correction takes
    what the episode was counted with back, whatever came in between.
    """

    def __init__(self, discount: float) -> None:
        self.discount = discount
        self._episodes: dict[tuple[str, int], _Episode] = {}
        self._sums = _Sums()

    @property
    def count(self) -> int:
        """Steps."""
        return self._sums.count

    @property
    def largest(self) -> float:
        """max |G|."""
        return self._sums.largest

    @property
    def deviation(self) -> float:
        """√Var(G); 0 before the first step."""
        if not self.count:
            return 0.0
        return math.sqrt(float(self._sums.squares / self.count - (self._sums.total / self.count) ** 2))

    def put_into(self, batch: Batch) -> Batch:
        """``batch``, leading axis ``(updates,)``, with the statistics of now."""
        updates = len(batch.reward)
        columns = {
            RETURN_DEVIATION: np.full(updates, self.deviation, np.float32),
            RETURN_LARGEST: np.full(updates, self.largest, np.float32),
        }
        return batch._replace(columns={**batch.columns, **columns})

    def add(self, transitions: Transitions) -> None:
        """Consecutive steps of one episode."""
        episode = self._episodes.setdefault((transitions.store, transitions.episode), _Episode())
        if episode.runs and episode.runs[-1][1] == transitions.start:
            episode.runs[-1][1] += len(transitions)
        else:
            episode.runs.append([transitions.start, transitions.start + len(transitions)])
            episode.value = 0.0
        new = _Sums()
        for reward, counts in zip(transitions["reward"].tolist(), transitions.counts.tolist(), strict=True):
            if counts:
                episode.value = self.discount * episode.value + reward
                new.add(episode.value)
        episode.sums.join(new)
        self._sums.join(new)

    def correct(self, correction: Correction) -> None:
        """An episode's steps labelled anew."""
        episode = self._episodes.get((correction.store, correction.episode))
        if episode is None:
            return
        old, episode.sums = episode.sums, _Sums()
        for first, end in episode.runs:
            episode.value = 0.0
            for step in range(first, min(end, len(correction))):
                if correction["counts"][step]:
                    episode.value = self.discount * episode.value + float(correction["reward"][step])
                    episode.sums.add(episode.value)
        self._sums.join(old, -1)
        self._sums.join(episode.sums)
        self._sums.largest = max(each.sums.largest for each in self._episodes.values())
