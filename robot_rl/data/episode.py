"""Finished episodes on disk: one Zarr group each, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from robot_rl.contract import Ending, Source
from robot_rl.data.schema import StoreError, StoreSchema

IMAGE_CHUNK = 16  # frames a chunk: small enough for random access, large enough to compress
TRANSITION_ARRAYS = ("action", "policy_action", "reward", "terminated", "truncated", "source", "version", "cost")
ADDED = {"cost": np.float32}  # arrays that episodes of earlier versions lack; they are read as zeros
STEP_ARRAYS = (*TRANSITION_ARRAYS, "q", "decision_ms", "period_ms", "late")


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


@dataclass(frozen=True, eq=False)
class Transitions:
    """Consecutive steps ``start … start + n`` of one episode.

    Attributes:
        store, episode: where they come from.
        start: index of the first step in its episode.
        state: ``(n+1, d)`` float32; transition i goes from row i to row i+1.
        images: camera → ``(n+1, h, w, 3)`` uint8.
        action, policy_action: ``(n, a)`` float32.
        reward: ``(n,)`` float32.   terminated, truncated: ``(n,)`` bool.   source: ``(n,)`` uint8, see `Source`.
        version: ``(n,)`` int64, the policy parameters that acted.
        cost: ``(n,)`` float32, 0–1, see `robot_rl.contract.Step`.
    """

    store: str
    episode: int
    start: int
    state: np.ndarray
    images: Mapping[str, np.ndarray]
    action: np.ndarray
    policy_action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    source: np.ndarray
    version: np.ndarray
    cost: np.ndarray

    def __len__(self) -> int:
        return len(self.reward)

    @staticmethod
    def of(store: str, episode: int, start: int, columns: Mapping[str, np.ndarray]) -> Transitions:
        """From an episode's columns, whose rows begin at step ``start``."""
        images = {k.removeprefix("image/"): v for k, v in columns.items() if k.startswith("image/")}
        return Transitions(
            store, episode, start, columns["state"], images, *(columns[name] for name in TRANSITION_ARRAYS)
        )

    def span(self, first: int, last: int) -> Transitions:
        """Transitions ``first … last`` (exclusive) of these."""
        after = {name: image[first : last + 1] for name, image in self.images.items()}
        return Transitions(
            self.store,
            self.episode,
            self.start + first,
            self.state[first : last + 1],
            after,
            *(getattr(self, name)[first:last] for name in TRANSITION_ARRAYS),
        )

    def by_person(self) -> list[Transitions]:
        """The runs of steps that a person decided."""
        person = np.concatenate(([False], self.source == Source.PERSON, [False]))
        edges = np.flatnonzero(person[1:] != person[:-1])
        return [self.span(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


@dataclass(frozen=True, eq=False)
class Episode:
    """A whole episode of T steps: ``info`` and its arrays by name.

    ``state (T+1, d)``, ``stamp_ns (T+1,)``, ``image/<camera> (T+1, h, w, 3)``; and a row a step: ``action``,
    ``policy_action``, ``reward``, ``terminated``, ``truncated``, ``source``, ``q (T, 7)`` [rad],
    ``objects/<name> (T, 7)`` [xyz m, quat_xyzw, base frame], ``decision_ms``, ``period_ms``, ``version``, ``late``,
    ``cost``.
    """

    info: EpisodeInfo
    columns: Mapping[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    @property
    def objects(self) -> dict[str, np.ndarray]:
        """Object name → ``(T, 7)`` [xyz m, quat_xyzw], base frame."""
        return {k.removeprefix("objects/"): v for k, v in self.columns.items() if k.startswith("objects/")}

    @property
    def images(self) -> dict[str, np.ndarray]:
        """Camera → ``(T+1, h, w, 3)`` uint8."""
        return {k.removeprefix("image/"): v for k, v in self.columns.items() if k.startswith("image/")}

    def transitions(self, store: str = "") -> Transitions:
        return Transitions.of(store, self.info.index, 0, self.columns)


def write_episode(path: Path, scratch: Path, info: EpisodeInfo, columns: Mapping[str, np.ndarray], fsync: bool) -> None:
    """Write an episode to ``path`` by way of ``scratch`` and one rename. Raises `StoreError` when the disk fails."""
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        group = zarr.open_group(scratch, mode="w", zarr_format=3)
        codec = ZstdCodec(level=1)
        for name, array in columns.items():
            chunks = (min(IMAGE_CHUNK, len(array)), *array.shape[1:]) if name.startswith("image/") else array.shape
            group.create_array(name, data=array, chunks=chunks, compressors=codec)
        group.attrs.put(
            {
                **{name: getattr(info, name) for name in ("index", "reason", "steps", "total_reward")},
                **{name: getattr(info, name) for name in ("interventions", "duration", "seed")},
                "ending": info.ending.value,
                "meta": dict(info.meta),
                "crc32": {name: _checksum(array) for name, array in columns.items()},
            }
        )
        if fsync:
            _sync_tree(scratch)
        os.rename(scratch, path)
        if fsync:
            sync(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: episode not written: {error}; its journal is kept") from error


def read_info(path: Path) -> EpisodeInfo:
    """An episode's summary, from one small file. Raises `StoreError` when it is damaged."""
    try:
        attributes = _attributes(path)
        ending = Ending(attributes.pop("ending"))
        del attributes["crc32"]
        return EpisodeInfo(ending=ending, **attributes)
    except FileNotFoundError as error:
        raise StoreError(f"{path}: damaged: {error.filename} is missing") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: damaged: {error!r}") from error


def read_episode(path: Path, schema: StoreSchema, names: Iterable[str] | None = None) -> Episode:
    """A whole episode, or only its arrays ``names``.

    Raises `StoreError` when anything asked for is missing, damaged or of another layout.
    """
    info = read_info(path)
    checksums = _attributes(path)["crc32"]
    shapes = _shapes(info.steps, schema)
    columns = {}
    for name in dict.fromkeys((*shapes, *checksums)) if names is None else names:
        if name not in checksums and name in ADDED:
            columns[name] = np.zeros(info.steps, ADDED[name])
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


def _shapes(steps: int, schema: StoreSchema) -> dict[str, tuple[int, ...]]:
    """What an episode must have, objects aside."""
    return {
        **dict.fromkeys(STEP_ARRAYS, (steps,)),
        "stamp_ns": (steps + 1,),
        "state": (steps + 1, schema.state_size),
        "action": (steps, schema.action_size),
        "policy_action": (steps, schema.action_size),
        "q": (steps, 7),
        **{f"image/{name}": (steps + 1, *size, 3) for name, size in schema.images.items()},
    }


def _attributes(path: Path) -> dict[str, Any]:
    attributes: dict[str, Any] = json.loads((path / "zarr.json").read_text())["attributes"]
    return attributes


def sync(path: Path) -> None:
    """Make a file's bytes, or the names in a folder, outlast a power cut."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_tree(root: Path) -> None:
    for directory, _, files in os.walk(root):
        for name in files:
            sync(Path(directory) / name)
        sync(Path(directory))
