"""Episodes as the page lists them, and the curves that they make."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from robot_rl.data.reader import StoreReader
from robot_rl.data.schema import StoreError

WINDOW = 20  # episodes that a point of the curves is the mean of
POINTS = 300  # of a curve at most
SAMPLES = 600  # of the learner's ratio that are kept


class Row(NamedTuple):
    """An episode: its number, ending and reason; its steps, those of a person, and its reward in all."""

    number: int
    ending: str
    reason: str
    steps: int
    interventions: int
    reward: float


class Curves(NamedTuple):
    """Numbers of the episodes ``x``, and of the `WINDOW` up to each: the share that succeeded, the share of steps that
    nobody decided, and the mean return."""

    x: np.ndarray
    success: np.ndarray
    autonomy: np.ndarray
    reward: np.ndarray


def curves_of(rows: Sequence[Row]) -> Curves:
    """The curves of ``rows``, at `POINTS` of them at most."""
    if not rows:
        return Curves(*(np.zeros(1) for _ in Curves._fields))
    steps = np.array([row.steps for row in rows], dtype=float)
    taken = np.array([row.interventions for row in rows], dtype=float)
    success = _recent(np.array([row.ending == "success" for row in rows], dtype=float))
    autonomy = 1.0 - _recent(taken) / np.maximum(_recent(steps), 1e-9)
    reward = _recent(np.array([row.reward for row in rows]))
    kept = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), POINTS)).astype(int))
    return Curves(
        np.array([row.number for row in rows], dtype=float)[kept], success[kept], autonomy[kept], reward[kept]
    )


def _recent(values: np.ndarray) -> np.ndarray:
    """Mean of each value and those before it, `WINDOW` together."""
    total = np.cumsum(np.concatenate(([0.0], values)))
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - WINDOW, 0)
    means: np.ndarray = (total[last] - total[first]) / (last - first)
    return means


class History:
    """The episodes of a store, read again when `refresh` is called, and the learner's updates per step meanwhile.

    ``store``: folder of it; None where nothing is recorded.
    """

    def __init__(self, store: Path | None) -> None:
        self._reader = StoreReader(store) if store is not None else None
        self.rows: list[Row] = []
        self.utd: deque[tuple[float, float]] = deque(maxlen=SAMPLES)

    @property
    def recorded(self) -> bool:
        return self._reader is not None

    def refresh(self) -> None:
        """Read what the store holds now; one that cannot be read yet is left as it was."""
        if self._reader is None:
            return
        try:
            infos = self._reader.episodes()
        except StoreError:
            return
        self.rows = [
            Row(info.index, info.ending.value, info.reason, info.steps, info.interventions, info.total_reward)
            for info in infos
        ]

    def sample(self, steps: float, utd: float) -> None:
        """The learner's ratio of updates to data is ``utd`` after ``steps``."""
        if not self.utd or self.utd[-1][0] != steps:
            self.utd.append((steps, utd))
