"""Demonstrations in robomimic's HDF5: ``data/demo_*/obs/<key>, actions, rewards, dones``, and ``next_obs`` if there.

https://robomimic.github.io/docs/datasets/overview.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.data.schema import StoreError

SUFFIXES = (".hdf5", ".h5")


@dataclass(frozen=True, eq=False)
class RobomimicDemo:
    """One demonstration of T steps, up to the first that is done.

    Attributes:
        name: of its group, ``demo_0``.
        observations: key → ``(T+1, …)`` as stored.
        action: ``(T, a)`` in the environment's own units.
        reward: ``(T,)`` float32.
        terminated: the last step was done; otherwise the demonstration goes on beyond what was recorded.
    """

    name: str
    observations: dict[str, np.ndarray]
    action: np.ndarray
    reward: np.ndarray
    terminated: bool


def observation_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Key → shape of one observation, alphabetically. Raises `StoreError` when the file cannot be read."""
    with _open(path) as file:
        demo = _demos(path, file)[0]
        observed = _part(path, demo, "obs")
        if not _is_group(observed):
            raise StoreError(f"{path}: {observed.name} is no group of observations")
        return {key: _array(path, demo, f"obs/{key}").shape[1:] for key in sorted(observed)}


def read_demos(path: Path, keys: Sequence[str]) -> Iterator[RobomimicDemo]:
    """The demonstrations, by number, with the observations ``keys``; those with no whole step are left out.

    Where the observation after the last step was not stored, it is made up for a step that was done, whose future
    counts for nothing, and the step is dropped otherwise. Rewards and dones may have a second axis of length 1.

    Raises `StoreError`, naming file, demonstration and key, when something is missing, does not fit together, or is no
    finite number.
    """
    with _open(path) as file:
        shapes: dict[str, tuple[int, ...]] = {}
        for group in _demos(path, file):
            demo = _read(path, group, keys)
            for key, observation in demo.observations.items():
                if (shape := observation.shape[1:]) != shapes.setdefault(key, shape):
                    raise StoreError(
                        f"{path}: {group.name}/obs/{key} has observations of shape {shape}, and those of the "
                        f"demonstrations before it have {shapes[key]}"
                    )
            if len(demo.reward):
                yield demo


def _read(path: Path, group: Any, keys: Sequence[str]) -> RobomimicDemo:
    actions = _array(path, group, "actions")
    count = len(actions)
    rewards, dones = (_line(path, group, name, count) for name in ("rewards", "dones"))
    before = {key: _array(path, group, f"obs/{key}", count) for key in keys}
    done = np.flatnonzero(dones)
    terminated = len(done) > 0
    steps = int(done[0]) + 1 if terminated else count
    if steps < count:  # recorded on, after it was done
        after = {key: column[steps : steps + 1] for key, column in before.items()}
    elif "next_obs" in group:
        after = {key: _array(path, group, f"next_obs/{key}", count)[steps - 1 : steps] for key in keys}
    elif terminated:
        after = {key: column[steps - 1 : steps] for key, column in before.items()}
    else:
        steps = max(0, steps - 1)
        after = {key: column[steps : steps + 1] for key, column in before.items()}
    for key, column in after.items():
        if column.shape[1:] != before[key].shape[1:]:
            raise StoreError(
                f"{path}: {group.name}/next_obs/{key} has shape {column.shape[1:]}, obs/{key} {before[key].shape[1:]}"
            )
    return RobomimicDemo(
        group.name.rpartition("/")[2],
        {key: np.concatenate((column[:steps], after[key])) for key, column in before.items()},
        actions[:steps],
        rewards[:steps].astype(np.float32),
        terminated,
    )


def _line(path: Path, group: Any, name: str, count: int) -> np.ndarray:
    """A column of one number a step, ``(count,)``; stored as ``(count, 1)`` it is the same."""
    column = _array(path, group, name, count)
    if column.shape not in ((count,), (count, 1)):
        raise StoreError(f"{path}: {group.name}/{name} has shape {column.shape}; it must have one number a step")
    return column.reshape(count)


def _array(path: Path, group: Any, name: str, count: int | None = None) -> np.ndarray:
    """The data ``name``, finite numbers. Raises `StoreError` when it is none, or has not ``count`` rows."""
    stored = _part(path, group, name)
    where = f"{path}: {group.name}/{name}"
    if _is_group(stored):
        raise StoreError(f"{where} is a group, not data")
    try:
        array = np.asarray(stored)
    except (OSError, TypeError, ValueError) as error:
        raise StoreError(f"{where} cannot be read: {error}") from error
    if array.ndim == 0 or not (array.dtype == bool or np.issubdtype(array.dtype, np.number)):
        raise StoreError(f"{where} holds {array.dtype}, shape {array.shape}; it must be numbers, one row a step")
    if count is not None and len(array) != count:
        raise StoreError(f"{where} has {len(array)} rows, and there are {count} actions")
    rows = array.reshape(len(array), -1)
    if np.issubdtype(array.dtype, np.inexact) and not np.isfinite(rows).all():
        raise StoreError(f"{where} is not finite in row {np.flatnonzero(~np.isfinite(rows).all(axis=1))[0]}")
    return array


def _is_group(stored: Any) -> bool:
    return hasattr(stored, "keys")


def _open(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise StoreError(f"{path}: reading HDF5 needs h5py: pip install robot_rl[gym]") from error
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise StoreError(f"{path}: cannot be read as HDF5: {error}") from error


def _demos(path: Path, file: Any) -> list[Any]:
    groups = file.get("data", {})
    found = groups if _is_group(groups) else {}
    names = [name for name in found if name.startswith("demo_") and name[5:].isdecimal() and _is_group(found[name])]
    if not names:
        raise StoreError(f"{path}: no demonstrations; robomimic's files have them in data/demo_0, data/demo_1, …")
    return [groups[name] for name in sorted(names, key=lambda name: int(name[5:]))]


def _part(path: Path, group: Any, name: str) -> Any:
    if name not in group:
        raise StoreError(f"{path}: {group.name} has no {name}; it has {', '.join(sorted(group)) or 'nothing'}")
    return group[name]
