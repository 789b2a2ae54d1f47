"""Episodes of a run's stores as snippets to ask about and to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from robot_rl.contract import DISCARDED, Reading
from robot_rl.contract.settings import ConfigError
from robot_rl.data.columns import columns_to_readings
from robot_rl.data.store import StoreReader
from robot_rl.rewards.answers import Snippet, Span
from robot_rl.tasks.base import Task

KEPT = 8  # episodes read last that are kept in memory


class Recorded:
    """The episodes in ``stores``, names of folders of the run at ``root`` or absolute paths, that can be asked about.

    Raises `ConfigError` for a store without episodes, or of another task.

    Attributes:
        episodes: name → the whole episode, of those that were not discarded.
    """

    def __init__(self, root: Path, stores: Sequence[str], task: Task) -> None:
        self._task = task
        self._readers = {name: StoreReader(root / name) for name in stores}
        self.episodes: dict[str, Span] = {}
        for name, reader in self._readers.items():
            schema, infos = reader.schema, reader.episodes()
            if schema is None or not infos:
                raise ConfigError(f"no episodes at {reader.path}; record some first, or name others by --stores")
            if schema.task != task.name:
                raise ConfigError(
                    f"the episodes at {reader.path} are of the task {schema.task!r}, not of {task.name!r}"
                )
            whole = [Span(name, info.index, 0, info.steps) for info in infos if info.reason != DISCARDED]
            self.episodes |= {span.name: span for span in whole}
        self._load = lru_cache(KEPT)(self._readings)

    def has(self, span: Span) -> bool:
        """Whether the snippet is still there."""
        whole = self.episodes.get(span.name)
        return whole is not None and span.step + span.steps <= whole.steps

    def snippet(self, span: Span) -> Snippet:
        """The snippet at ``span``, pictures included."""
        readings = self._load(span.store, span.episode)[span.step + 1 : span.step + 1 + span.steps]
        return Snippet(span, readings, self._task.control_period)

    def states(self, span: Span) -> np.ndarray:
        """States ``(steps, d)`` float32 of the readings of a snippet, as the task has them."""
        return np.stack([self._task.state(reading) for reading in self.snippet(span).readings])

    def _readings(self, store: str, episode: int) -> tuple[Reading, ...]:
        return tuple(columns_to_readings(self._readers[store].load_episode(episode).columns))
