"""Write an episode store as one HDF5 file: ``python -m demos.convert runs/<run>/demos demos.hdf5``.

The layout is robomimic's, so that its tools and ``robot-rl gym --demos`` read it: each episode is ``data/demo_<i>``
with ``actions``, ``rewards``, ``dones``, and every recorded column of its readings in ``obs/`` and ``next_obs/``:
images by the camera's name, others with a point for a slash, e.g. ``objects.peg``. Whatever else was recorded of a step
(target, policy's action, source, timing, …) is in ``steps/``. Nothing that was recorded is left out; labels are those
that hold now. ``--state`` adds what the store's task makes of a reading, as ``obs/state``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.contract import AgentView, ContractError, Reading
from robot_rl.data.columns import IMAGE, STATE, columns_to_readings, is_observed
from robot_rl.data.episode import Episode
from robot_rl.data.schema import StoreError
from robot_rl.data.store import StoreReader
from robot_rl.tasks import make_task

ROBOMIMIC = {"action": "actions", "reward": "rewards"}  # our name → theirs


def convert(store: Path, path: Path, observe: Callable[[Reading], np.ndarray] | None = None) -> int:
    """Write the finished episodes of ``store`` to ``path``; returns how many.

    Raises `StoreError` when there is no store or no episode, ``path`` exists, or h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise StoreError(f"{path}: writing HDF5 needs h5py: pip install robot_rl[gym]") from error
    reader = StoreReader(store)
    schema = reader.schema
    if schema is None:
        raise StoreError(f"{store} is not an episode store; a run keeps its own in demos/, online/ and evaluation/")
    infos = reader.episodes()
    if not infos:
        raise StoreError(f"{store} has no finished episodes")
    try:
        with h5py.File(path, "x") as file:
            data = file.create_group("data")
            data.attrs["schema"] = schema.to_json()
            for info in infos:
                _write(data.create_group(f"demo_{info.index}"), reader.load_episode(info.index), observe)
            data.attrs["total"] = sum(info.steps for info in infos)
    except FileExistsError as error:
        raise StoreError(f"{path} exists; name another file, or remove it") from error
    return len(infos)


def key_of(column: str) -> str:
    """Name among the observations, which robomimic has without groups."""
    return column.removeprefix(IMAGE).replace("/", ".")


def _write(group: Any, episode: Episode, observe: Callable[[Reading], np.ndarray] | None) -> None:
    info = episode.info
    group.attrs["num_samples"] = info.steps
    group.attrs["ending"], group.attrs["reason"] = info.ending.value, info.reason
    group.attrs["meta"] = json.dumps(dict(info.meta))
    columns = dict(episode.columns)
    if observe is not None:
        columns[STATE] = np.stack([observe(reading) for reading in columns_to_readings(columns)])
    for name, column in columns.items():
        if is_observed(name):
            key = key_of(name)
            group.create_dataset(f"obs/{key}", data=column[:-1], compression="gzip")
            group.create_dataset(f"next_obs/{key}", data=column[1:], compression="gzip")
        else:
            group.create_dataset(ROBOMIMIC.get(name, f"steps/{name}"), data=column)
    group.create_dataset("dones", data=columns["terminated"].astype(np.uint8))


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 2 when there is nothing to convert, or nowhere to write it."""
    parser = argparse.ArgumentParser(prog="python -m demos.convert", description=__doc__.split(":", 1)[0] + ".")
    parser.add_argument("store", type=Path)
    parser.add_argument("file", type=Path, help="to write: *.hdf5")
    parser.add_argument("--state", action="store_true", help="add obs/state, the state of the store's task")
    arguments = parser.parse_args(argv)
    try:
        observe = None
        schema = StoreReader(arguments.store).schema
        if arguments.state and schema is not None:
            observe = AgentView(make_task(schema.task)).state
        count = convert(arguments.store, arguments.file, observe)
    except (StoreError, ContractError) as error:
        sys.stderr.write(f"demos.convert: {error}\n")
        return 2
    sys.stdout.write(f"{arguments.file}: {count} episodes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
