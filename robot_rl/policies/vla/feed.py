"""Stores that the improvement of a SmallVLA follows: steps as they come, and episodes once they are written whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from robot_rl.contract import INSTRUCTION
from robot_rl.data.episode import Correction, EpisodeInfo, Transitions
from robot_rl.data.reader import Observe
from robot_rl.data.schema import StoreError
from robot_rl.data.store import StoreReader
from robot_rl.learner.domain import TaskDomain

MOST = 1 << 30  # steps of an episode


class News(NamedTuple):
    """``steps`` that are new, ``corrected`` ones, and the episodes that are ``over``, as they are labelled now."""

    steps: Sequence[Transitions]
    corrected: Sequence[Correction]
    over: Sequence[EpisodeInfo]


class Feed:
    """A store that is followed.

    Images are read when an episode is asked for, so that none wait in memory.

    Args:
        path: of the store, which need not be there yet.
        observe: reading → state.
        instruction: where an episode's record has none; "" where the task has none either.
        shown: it holds demonstrations, of which successes count.
    """

    def __init__(self, path: Path, observe: Observe, instruction: str, shown: bool) -> None:
        self.path, self.shown = path, shown
        self._instruction = instruction
        self._steps = StoreReader(path, observe=observe, images=False, successes_only=shown)
        self._whole = StoreReader(path, observe=observe, successes_only=shown)
        self._handed: dict[int, int] = {}  # episode → steps of it that were handed out
        self._known: set[int] = set()
        self._fits = False

    def poll(self, domain: TaskDomain) -> News:
        """The store's news since the last call. Raises `StoreError` where it is of another task."""
        if not self._fits:
            if self._steps.schema is None:
                return News((), (), ())
            if misfit := domain.misfit(self._steps.schema):
                raise StoreError(f"{self.path} {misfit}")
            self._fits = True
        polled = self._steps.poll()
        for part in polled.new:
            self._handed[part.episode] = part.start + len(part)
        over = [one for one in self._steps.episodes() if one.index not in self._known and self._passed(one)]
        self._known.update(one.index for one in over)
        return News(polled.new, polled.corrected, over)

    def _passed(self, episode: EpisodeInfo) -> bool:
        """Whether an episode that is written counts here, and all of its steps were handed out."""
        if self.shown and not episode.success:
            return False
        whole = self._handed.get(episode.index, 0) >= episode.steps
        return whole or max(self._handed, default=-1) > episode.index

    def said(self, episode: EpisodeInfo) -> str:
        """The words by which ``episode`` was asked for; "" for none."""
        return str(episode.meta.get(INSTRUCTION, "") or self._instruction)

    def load(self, number: int) -> Transitions | None:
        """Episode ``number`` with its images, as it is labelled now; None where it is there no more."""
        return self._whole.take(number, 0, MOST)
