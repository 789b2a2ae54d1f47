"""Episodes of stores as a reward classifier learns from them: what a person has marked, and which frames differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from robot_rl.contract import DISCARDED, Ending, Reading, View
from robot_rl.contract.settings import ConfigError
from robot_rl.data.columns import columns_to_readings
from robot_rl.data.episode import Episode
from robot_rl.data.store import StoreReader
from robot_rl.rewards.labels import LabelledEpisode, Margin, Mark, MarkedEpisode, label

if TYPE_CHECKING:
    from robot_rl.rewards.training import Frames

SUMMARY = ("stamp_ns", "reward", "version")


@dataclass(frozen=True, eq=False)
class Recording:
    """An episode of a store.

    Attributes:
        store: folder.
        index: number in it.
        labelled: its name, whether it succeeded, and a label for each of its T + 1 readings.
        version: newest of the policies that acted; −1: none did.
    """

    store: Path
    index: int
    labelled: LabelledEpisode
    version: int

    def frames(self) -> Frames:
        """Readings whose pictures differ from those before them, with their labels."""
        from robot_rl.rewards.training import Frames

        readings = list(columns_to_readings(StoreReader(self.store).load_episode(self.index).columns))
        kept = [0, *(now for now in range(1, len(readings)) if not _same(readings[now - 1], readings[now]))]
        return Frames([readings[index] for index in kept], self.labelled.labels[kept])


def recordings(stores: Sequence[Path], task: str, views: dict[str, View], margin: Margin) -> list[Recording]:
    """All episodes of ``stores`` that say something: those that a person discarded, or that broke off, do not.

    Raises `ConfigError` for a store without episodes, of another task, or without the pictures of ``views``.
    """
    return [recording for store in stores for recording in _of_store(store, task, views, margin)]


def _of_store(store: Path, task: str, views: dict[str, View], margin: Margin) -> Iterator[Recording]:
    reader = StoreReader(store)
    schema, infos = reader.schema, reader.episodes()
    if schema is None or not infos:
        raise ConfigError(
            f"no episodes at {store}; record successes and near misses first: "
            f"robot-rl reward collect --task {task} --run {store.parent}"
        )
    if schema.task != task:
        raise ConfigError(f"the episodes at {store} are of the task {schema.task!r}, not of {task!r}")
    for camera, view in views.items():
        size = schema.images.get(camera)
        if size is None:
            had = ", ".join(schema.images) or "none"
            raise ConfigError(f"the episodes at {store} have no pictures of camera {camera}; they have: {had}")
        if tuple(size) != (view.size, view.size):
            raise ConfigError(f"pictures of camera {camera} at {store} are {tuple(size)}, and the task's {view.size}²")
    for info in infos:
        episode = reader.load_episode(info.index, SUMMARY)
        found = marked(episode, f"{store.parent.name}/{store.name}/{info.index:06d}")
        if info.reason == DISCARDED or (info.ending is Ending.ABORTED and not found.marks):
            continue
        exact = not info.meta.get("marks")  # ended by who judged, with the frame that shows it
        labelled = label(found, Margin(margin.before, 0.0) if exact else margin)
        yield Recording(store, info.index, labelled, int(episode["version"].max()))


def marked(episode: Episode, name: str) -> MarkedEpisode:
    """The stamps of an episode's T + 1 readings, and when the task was done.

    While a person collects, their word gives steps the reward 1. Elsewhere the last reading of a success shows it.
    """
    stamps, marks = episode["stamp_ns"], []
    if episode.info.meta.get("marks"):
        done = np.concatenate(([False], episode["reward"] > 0.0, [False]))  # at each reading, and after the last
        edges = np.flatnonzero(done[1:] != done[:-1]) + 1
        for first, beyond in zip(edges[::2], edges[1::2], strict=True):
            marks.append(Mark(int(stamps[first]), int(stamps[beyond - 1]) if beyond < len(stamps) else None))
    elif episode.info.success:
        marks.append(Mark(int(stamps[-1]) - 1))
    return MarkedEpisode(name, stamps, tuple(marks))


def _same(before: Reading, now: Reading) -> bool:
    """Whether all pictures are copies."""
    return all(np.array_equal(picture, now.images[camera]) for camera, picture in before.images.items())
