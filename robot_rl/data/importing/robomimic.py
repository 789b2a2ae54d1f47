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
        observed = _part(path, _demos(path, file)[0], "obs")
        return {key: tuple(observed[key].shape[1:]) for key in sorted(observed)}


def read_demos(path: Path, keys: Sequence[str]) -> Iterator[RobomimicDemo]:
    """The demonstrations, by number, with the observations ``keys``; those with no whole step are left out.

    Where the observation after the last step was not stored, it is made up for a step that was done, whose future
    counts for nothing, and the step is dropped otherwise.

    Raises `StoreError` when the file, or anything in it, is missing or does not fit together.
    """
    with _open(path) as file:
        for group in _demos(path, file):
            demo = _read(path, group, keys)
            if len(demo.reward):
                yield demo


def _read(path: Path, group: Any, keys: Sequence[str]) -> RobomimicDemo:
    columns = {name: np.asarray(_part(path, group, name)) for name in ("actions", "rewards", "dones")}
    count = len(columns["actions"])
    lengths = {name: len(column) for name, column in columns.items()}
    before = {key: np.asarray(_part(path, group, f"obs/{key}")) for key in keys}
    lengths |= {f"obs/{key}": len(column) for key, column in before.items()}
    if wrong := {name: length for name, length in lengths.items() if length != count}:
        raise StoreError(f"{path}: {group.name} has {count} actions, but {wrong}")
    done = np.flatnonzero(columns["dones"])
    terminated = len(done) > 0
    steps = int(done[0]) + 1 if terminated else count
    if steps < count:  # recorded on, after it was done
        after = {key: column[steps : steps + 1] for key, column in before.items()}
    elif "next_obs" in group:
        after = {key: np.asarray(_part(path, group, f"next_obs/{key}"))[steps - 1 : steps] for key in keys}
    elif terminated:
        after = {key: column[steps - 1 : steps] for key, column in before.items()}
    else:
        steps = max(0, steps - 1)
        after = {key: column[steps : steps + 1] for key, column in before.items()}
    return RobomimicDemo(
        group.name.rpartition("/")[2],
        {key: np.concatenate((column[:steps], after[key])) for key, column in before.items()},
        columns["actions"][:steps],
        columns["rewards"][:steps].astype(np.float32),
        terminated,
    )


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
    names = [name for name in groups if name.startswith("demo_") and name[5:].isdecimal()]
    if not names:
        raise StoreError(f"{path}: no demonstrations; robomimic's files have them in data/demo_0, data/demo_1, …")
    return [groups[name] for name in sorted(names, key=lambda name: int(name[5:]))]


def _part(path: Path, group: Any, name: str) -> Any:
    if name not in group:
        raise StoreError(f"{path}: {group.name} has no {name}; it has {', '.join(sorted(group)) or 'nothing'}")
    return group[name]
