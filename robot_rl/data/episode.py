"""Finished episodes on disk: one Zarr group each, written whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.contract import Ending, FrameSize, Source
from robot_rl.data.columns import (
    COUNTS,
    FEATURE,
    IMAGE,
    MISSING,
    NUMBERS,
    OBJECT,
    SENSED,
    STEP_TYPES,
    is_observed,
)
from robot_rl.data.schema import StoreError, StoreSchema

IMAGE_CHUNK = 16  # frames a chunk: small enough for random access, large enough to compress
CHECKSUM = "checksum"  # attribute: CRC-32 of the others as canonical JSON


@dataclass(frozen=True)
class EpisodeInfo:
    """An episode at a glance. ``total_reward`` is undiscounted, ``interventions`` counts steps decided by a person,
    ``duration`` is in seconds of the stamps' clock, ``seed`` and ``meta`` are what `EpisodeStore.begin` was given."""

    index: int
    ending: Ending
    reason: str
    steps: int
    total_reward: float
    interventions: int
    duration: float
    seed: int | None
    meta: Mapping[str, Any]

    @property
    def success(self) -> bool:
        return self.ending is Ending.SUCCESS

    def corrected(self, columns: Mapping[str, np.ndarray], ending: Ending, reason: str) -> EpisodeInfo:
        """The same of the steps in ``columns``, which the episode came down to."""
        return dataclasses.replace(self, ending=ending, reason=reason, **totals(columns))


def totals(columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Those attributes of an `EpisodeInfo` that are sums over its steps."""
    return {
        "steps": len(columns["reward"]),
        "total_reward": float(columns["reward"].sum(dtype=np.float64)),
        "interventions": int((columns["source"] == Source.PERSON).sum()),
        "duration": float(columns["stamp_ns"][-1] - columns["stamp_ns"][0]) * 1e-9,
    }


def span(columns: Mapping[str, np.ndarray], first: int, last: int) -> dict[str, np.ndarray]:
    """Columns of the steps ``first … last`` (exclusive)."""
    return {name: column[first : last + is_observed(name)] for name, column in columns.items()}


@dataclass(frozen=True, eq=False)
class Transitions:
    """Consecutive steps ``start … start + n`` of one episode.

    Attributes:
        store, episode: where they come from.
        start: index of the first step in its episode.
        columns: name → rows, see `robot_rl.data.columns`; ``action``, ``reward``, ``terminated``, ``truncated``,
            ``source`` and ``version`` at least. ``state (n+1, d)`` float32 is derived; transition i goes from its row i
            to row i + 1. ``counts`` is there where labels were corrected: a step that does not count is not learnt
            from.
    """

    store: str
    episode: int
    start: int
    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.columns["reward"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    @property
    def images(self) -> dict[str, np.ndarray]:
        """Camera → ``(n+1, h, w, 3)`` uint8."""
        return images_of(self.columns)

    def frames(self, sizes: Mapping[str, FrameSize]) -> dict[str, np.ndarray]:
        """Camera → images, or grids of features, ``(n+1, …)`` of ``sizes`` (see `robot_rl.contract.Layout`)."""
        return {camera: self.columns[frame_column(camera, size)] for camera, size in sizes.items()}

    @property
    def counts(self) -> np.ndarray:
        """``(n,)`` bool."""
        return self.columns.get(COUNTS, np.ones(len(self), bool))

    def span(self, first: int, last: int) -> Transitions:
        """Transitions ``first … last`` (exclusive) of these."""
        return Transitions(self.store, self.episode, self.start + first, span(self.columns, first, last))

    def by_person(self) -> list[Transitions]:
        """The runs of steps that a person decided."""
        person = np.concatenate(([False], self["source"] == Source.PERSON, [False]))
        edges = np.flatnonzero(person[1:] != person[:-1])
        return [self.span(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


@dataclass(frozen=True, eq=False)
class Correction:
    """Outcomes that the first n steps of an episode, all of them handed out before, have now.

    Attributes:
        store, episode: which.
        columns: ``reward``, ``terminated``, ``truncated`` and ``counts``, n rows each.
    """

    store: str
    episode: int
    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.columns["reward"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]


@dataclass(frozen=True, eq=False)
class Episode:
    """A whole episode of T steps: ``info`` and its columns by name, see `robot_rl.data.columns`."""

    info: EpisodeInfo
    columns: Mapping[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    @property
    def objects(self) -> dict[str, np.ndarray]:
        """Object name → ``(T+1, 7)`` [xyz m, quat_xyzw], base frame; not a number where the scene did not know it."""
        return {k.removeprefix(OBJECT): v for k, v in self.columns.items() if k.startswith(OBJECT)}

    @property
    def images(self) -> dict[str, np.ndarray]:
        """Camera → ``(T+1, h, w, 3)`` uint8."""
        return images_of(self.columns)


def images_of(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k.removeprefix(IMAGE): v for k, v in columns.items() if k.startswith(IMAGE)}


def frame_column(camera: str, size: FrameSize) -> str:
    """The column of what an agent sees of ``camera`` as frames of ``size``."""
    return f"{IMAGE if len(size) == 2 else FEATURE}{camera}"


def write_episode(path: Path, scratch: Path, info: EpisodeInfo, columns: Mapping[str, np.ndarray]) -> None:
    """Write an episode to ``path`` by way of ``scratch`` and one rename. Raises `StoreError` when the disk fails."""
    import zarr  # see `EpisodeStore`
    from zarr.codecs import ZstdCodec

    attributes = {
        **{name: getattr(info, name) for name in ("index", "reason", "steps", "total_reward")},
        **{name: getattr(info, name) for name in ("interventions", "duration", "seed")},
        "ending": info.ending.value,
        "meta": dict(info.meta),
        "crc32": {name: _checksum(array) for name, array in columns.items()},
    }
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        group = zarr.open_group(scratch, mode="w", zarr_format=3)
        codec = ZstdCodec(level=1)
        for name, array in columns.items():
            chunks = (
                (min(IMAGE_CHUNK, len(array)), *array.shape[1:]) if name.startswith((IMAGE, FEATURE)) else array.shape
            )
            group.create_array(name, data=array, chunks=chunks, compressors=codec)
        group.attrs.put(attributes | {CHECKSUM: _canonical(attributes)})
        os.rename(scratch, path)
    except OSError as error:
        raise StoreError(f"{path}: episode not written: {error}; its journal is kept") from error


def read_info(path: Path) -> EpisodeInfo:
    """An episode's summary as it was recorded, from one small file. Raises `StoreError` when it is damaged."""
    attributes = _attributes(path)
    try:
        ending = Ending(attributes.pop("ending"))
        del attributes["crc32"]
        return EpisodeInfo(ending=ending, **attributes)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: damaged: {error!r}") from error


def read_episode(
    path: Path, schema: StoreSchema, names: Iterable[str] | None = None, *, without: tuple[str, ...] = ()
) -> Episode:
    """A whole episode as it was recorded, or only its columns ``names``, but for those that begin with ``without``.

    Raises `StoreError` when anything asked for is missing, damaged or of another layout.
    """
    import zarr

    info = read_info(path)
    checksums = _attributes(path)["crc32"]
    shapes = _shapes(info.steps, schema)
    wanted = dict.fromkeys((*shapes, *checksums)) if names is None else names
    columns = {}
    for name in wanted:
        if name.startswith(without):
            continue
        if name not in checksums:
            raise StoreError(f"{path}: damaged: {name} is missing")
        try:
            columns[name] = np.asarray(zarr.open_array(path / name, mode="r", zarr_format=3)[...])
        except FileNotFoundError as error:
            raise StoreError(f"{path}: damaged: {name} is missing") from error
        except OSError:  # the disk, not the episode: too many open files, no permission, …
            raise
        except Exception as error:  # Zarr and its codecs raise many unrelated types on damaged bytes
            raise StoreError(f"{path}: damaged: {name}: {type(error).__name__}: {error}") from error
        if columns[name].shape != shapes.get(name, columns[name].shape):
            raise StoreError(f"{path}: damaged: {name} has shape {columns[name].shape}, expected {shapes[name]}")
        if _checksum(columns[name]) != checksums[name]:
            raise StoreError(f"{path}: damaged: {name} has a wrong checksum")
    return Episode(info, columns)


def _checksum(array: np.ndarray) -> int:
    """CRC-32 of the values; 0-byte arrays included."""
    return zlib.crc32(array.tobytes())


def _canonical(attributes: Mapping[str, Any]) -> int:
    """CRC-32 of the attributes as JSON that depends on nothing but their values."""
    return zlib.crc32(json.dumps(attributes, sort_keys=True, separators=(",", ":")).encode())


def _shapes(steps: int, schema: StoreSchema) -> dict[str, tuple[int, ...]]:
    """Shapes of the columns that an episode must have; faults, objects and signals have shapes of their own."""
    observed = {"stamp_ns": (), "mode": (), **NUMBERS, **{f"{IMAGE}{n}": (*s, 3) for n, s in schema.images.items()}}
    if schema.force_sensor:
        observed[SENSED] = MISSING[SENSED]
    observed |= {f"{FEATURE}{name}": size for name, size in schema.features.items()}
    return {
        **{name: (steps + 1, *shape) for name, shape in observed.items()},
        **dict.fromkeys(STEP_TYPES, (steps,)),
        "action": (steps, schema.action_size),
        "policy_action": (steps, schema.action_size),
        "target": (steps, 7),
    }


def _attributes(path: Path) -> dict[str, Any]:
    """The attributes of a group, as they were written. Raises `StoreError` when they are not."""
    try:
        attributes: dict[str, Any] = json.loads((path / "zarr.json").read_text())["attributes"]
        checksum = attributes.pop(CHECKSUM)
    except FileNotFoundError as error:
        raise StoreError(f"{path}: damaged: {error.filename} is missing") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path}: damaged: {error!r}") from error
    if checksum != _canonical(attributes):
        raise StoreError(f"{path}: damaged: its attributes have a wrong checksum")
    return attributes
