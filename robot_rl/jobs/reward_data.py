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
from robot_rl.data.episode import Episode, EpisodeInfo
from robot_rl.data.store import StoreReader
from robot_rl.rewards.labels import LabelledEpisode, LabelsError, Margin, Mark, MarkedEpisode, label

if TYPE_CHECKING:
    from robot_rl.rewards.training import Frames

SUMMARY = ("stamp_ns", "reward", "version")


@dataclass(frozen=True, eq=False)
class Recording:
    """An episode of a store.

    Attributes:
        store: folder.
        index: number in it.
        names: of the stages that were marked, in their order.
        stages: of each, the episode's name, whether the stage was reached, and a label for each of its T + 1 readings.
        version: newest of the policies that acted; −1: none did.
    """

    store: Path
    index: int
    names: tuple[str, ...]
    stages: tuple[LabelledEpisode, ...]
    version: int

    @property
    def labelled(self) -> LabelledEpisode:
        """The episode by its last stage, which is the success."""
        return self.stages[-1]

    def frames(self) -> Frames:
        """Readings whose pictures differ from those before them, with their labels."""
        from robot_rl.rewards.training import Frames

        readings = list(columns_to_readings(StoreReader(self.store).load_episode(self.index).columns))
        kept = [0, *(now for now in range(1, len(readings)) if not _same(readings[now - 1], readings[now]))]
        labels = np.stack([stage.labels[kept] for stage in self.stages], axis=1)
        return Frames([readings[index] for index in kept], labels)


def recordings(stores: Sequence[Path], task: str, views: dict[str, View], margin: Margin) -> list[Recording]:
    """All episodes of ``stores`` that say something: those that a person discarded, or that broke off, do not.

    Raises `ConfigError` for a store without episodes, of another task, or without the pictures of ``views``, and where
    episodes are marked by other stages than others; `LabelsError` for a stage that is out of order.
    """
    found = [recording for store in stores for recording in _of_store(store, task, views, margin)]
    for one in found:
        if one.names != found[0].names:
            first, other = (f"{of.labelled.name} marks {', '.join(of.names)}" for of in (found[0], one))
            raise ConfigError(f"{first}, and {other}: name stores with the same marks, --stores")
    return found


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
        name, names = f"{store.parent.name}/{store.name}/{info.index:06d}", stages_of(info)
        if info.reason == DISCARDED:
            continue
        found = [marked(episode, name, stage, names) for stage in range(1, len(names) + 1)]
        if info.ending is Ending.ABORTED and not found[0].marks:
            continue
        exact = not info.meta.get("marks")  # ended by who judged, with the frame that shows it
        labelled = tuple(label(one, Margin(margin.before, 0.0) if exact else margin) for one in found)
        yield Recording(store, info.index, names, labelled, int(episode["version"].max()))


def stages_of(info: EpisodeInfo) -> tuple[str, ...]:
    """Names of the stages that are marked in an episode; "success" alone where it says nothing of them."""
    return tuple(info.meta.get("stages") or (Ending.SUCCESS.value,))


def marked(episode: Episode, name: str, stage: int, names: Sequence[str]) -> MarkedEpisode:
    """The stamps of an episode's T + 1 readings, and when stage number ``stage`` of ``names`` had been reached.

    While a person collects, their word gives steps the reward k/n from stage k of n on. Elsewhere the last reading of a
    success shows it. Raises `LabelsError` where a stage is reached without the one before it.
    """
    stamps, marks = episode["stamp_ns"], []
    if episode.info.meta.get("marks"):
        reached = np.rint(episode["reward"] * len(names)).astype(int)
        _check_order(reached, name, names)
        done = np.concatenate(([False], reached >= stage, [False]))  # at each reading, and after the last
        edges = np.flatnonzero(done[1:] != done[:-1]) + 1
        for first, beyond in zip(edges[::2], edges[1::2], strict=True):
            marks.append(Mark(int(stamps[first]), int(stamps[beyond - 1]) if beyond < len(stamps) else None))
    elif episode.info.success:
        marks.append(Mark(int(stamps[-1]) - 1))
    return MarkedEpisode(name, stamps, tuple(marks))


def _check_order(reached: np.ndarray, name: str, names: Sequence[str]) -> None:
    """Raises `LabelsError` where a step of ``reached (T,)`` stages skips one."""
    skips = np.flatnonzero(np.diff(reached, prepend=0) > 1)
    if len(skips):
        step = int(skips[0])
        before = int(reached[step - 1]) if step else 0
        raise LabelsError(
            f"episode {name}: stage {names[reached[step] - 1]} out of order, in step {step}, before "
            f"{names[before]}; correct one of them: python -m demos.relabel STORE EPISODE STEP running "
            f"--reward {(before + 1) / len(names):.3g}"
        )


def _same(before: Reading, now: Reading) -> bool:
    """Whether all pictures are copies."""
    return all(np.array_equal(picture, now.images[camera]) for camera, picture in before.images.items())
