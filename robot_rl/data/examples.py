"""Examples: the episodes that did as well as the demonstrations, whatever their rewards mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from robot_rl.data.episode import Correction, Transitions


@dataclass(eq=False)
class _Episode:
    """Its return so far, how many of its steps arrived, the number after the last of them, and whether it is over."""

    total: float = 0.0
    steps: int = 0
    end: int = 0
    over: bool = False


class EpisodeReturns:
    """Undiscounted returns of episodes that are numbered 0, 1, … as they come.

    An episode has one once it is over, if all of its steps came; until then, and of a part of one, it is not a number.
    """

    def __init__(self) -> None:
        self._episodes: list[_Episode] = []
        self._values = np.empty(0)

    def add(self, number: int, transitions: Transitions) -> None:
        """Consecutive steps of the episode ``number``."""
        if number == len(self._episodes):
            self._episodes.append(_Episode())
        episode, counts = self._episodes[number], transitions.counts
        episode.total += float(transitions["reward"][counts].sum(dtype=np.float64))
        episode.steps += len(transitions)
        episode.end = transitions.start + len(transitions)
        episode.over |= bool((transitions["terminated"] | transitions["truncated"])[counts].any())
        self._value(number)

    def correct(self, number: int, correction: Correction) -> None:
        """All steps so far of the episode ``number``, labelled anew."""
        episode, counts = self._episodes[number], correction["counts"]
        episode.total = float(correction["reward"][counts].sum(dtype=np.float64))
        episode.over = bool((correction["terminated"] | correction["truncated"])[counts].any())
        self._value(number)

    def of(self, numbers: np.ndarray) -> np.ndarray:
        """Returns ``(n,)`` of the episodes ``numbers (n,)``."""
        values: np.ndarray = self._values[numbers]
        return values

    @property
    def known(self) -> np.ndarray:
        """Those that are numbers."""
        return self._values[~np.isnan(self._values)]

    def _value(self, number: int) -> None:
        if number >= len(self._values):
            self._values = np.append(self._values, np.full(number + 64, np.nan))
        episode = self._episodes[number]
        told = episode.over and episode.steps == episode.end
        self._values[number] = episode.total if told else np.nan


def standard(demonstrations: EpisodeReturns, others: Iterable[EpisodeReturns]) -> float:
    """The return that makes an episode an example: the median one of the demonstrations, or of all without any."""
    known = demonstrations.known
    if not len(known):
        known = np.concatenate([known, *(returns.known for returns in others)])
    return float(np.median(known)) if len(known) else float("inf")
