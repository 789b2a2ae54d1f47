"""Write an episode store as one HDF5 file: ``python -m demos.convert runs/<run>/demos demos.hdf5``.

The layout is robomimic's, so that its tools and ``robot-rl gym --demos`` read it: each episode is ``data/demo_<i>``
with ``actions``, ``rewards``, ``dones``, and every recorded column of its readings in ``obs/`` and ``next_obs/``:
images by the camera's name, others with a point for a slash, e.g. ``objects.peg``. Whatever else was recorded of a step
(target, policy's action, source, timing, …) is in ``steps/``. Nothing that was recorded is left out; labels are those
that hold now. ``--state`` adds what the store's task makes of a reading, as ``obs/state``.

``--names FILE`` writes episodes for somebody else's policy instead, by the file that drives the arm with it later
(``policy=openpi:FILE``): ``obs/`` is what it would be sent, ``actions`` are the rows that it would answer. So it learns
from what it will see.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.contract import AgentView, ContractError, Observation, Reading
from robot_rl.contract.settings import ConfigError
from robot_rl.data.columns import IMAGE, STATE, columns_to_readings, is_observed
from robot_rl.data.episode import Episode
from robot_rl.data.schema import StoreError, StoreSchema
from robot_rl.data.store import StoreReader
from robot_rl.policies.wire.columns import Columns
from robot_rl.policies.wire.file import read_file
from robot_rl.policies.wire.observing import Observing
from robot_rl.tasks import make_task

ROBOMIMIC = {"action": "actions", "reward": "rewards"}  # our name → theirs
Write = Callable[[Any, Episode], None]  # an episode into an HDF5 group


class ByNames:
    """Writes episodes as a server of somebody else's policy is sent observations, and answers.

    Args:
        names: see `robot_rl.policies.wire.file`.
        schema: of the store.

    Raises `ConfigError` for names that do not fit the store's task and cameras, or rows of another rate than its steps.
    """

    def __init__(self, names: Path, schema: StoreSchema) -> None:
        file, self._task = read_file(names), make_task(schema.task)
        try:
            self._observing = Observing(file, self._task.fields, schema.images)
            self._columns = Columns(file, self._task.action, schema.control_period, self._task.fields)
        except ConfigError as error:
            raise ConfigError(f"{names}: {error}") from error
        if not self._columns.keeps_rate:
            raise ConfigError(
                f"{names}: rate={self._columns.rate:g} Hz is not that of the recorded steps; leave it out"
            )
        if self._columns.moves_joints or {column.key for column in file.columns} != {""}:
            raise ConfigError(f"{names}: columns of joints, or of several arrays, are not what was recorded")
        self._key, self._rate = file.actions, 1.0 / schema.control_period

    def write(self, group: Any, episode: Episode) -> None:
        """Write an episode; its words are the attribute ``instruction``, its steps a second [Hz] ``rate``."""
        readings = list(columns_to_readings(episode.columns))
        seen = [
            Observation(reading.stamp_ns, number, self._task.state(reading), reading.images)
            for number, reading in enumerate(readings)
        ]
        sent = [self._observing.sent([one], "") for one in seen]
        observed = [{**one.images, **one.state} for one in sent]
        for key in observed[0]:
            column = np.stack([one[key] for one in observed])
            group.create_dataset(f"obs/{key}", data=column[:-1], compression="gzip")
            group.create_dataset(f"next_obs/{key}", data=column[1:], compression="gzip")
        rows = [
            self._columns.answer(action[None], one.state)[self._key][0]
            for action, one in zip(episode["action"], seen[:-1], strict=True)
        ]
        group.create_dataset("actions", data=np.array(rows, np.float32))
        group.create_dataset("rewards", data=episode["reward"])
        group.create_dataset("dones", data=episode["terminated"].astype(np.uint8))
        group.attrs["instruction"], group.attrs["rate"] = self._task.words(readings[0].objects), self._rate


def convert(store: Path, path: Path, write: Write | None = None) -> int:
    """Write the finished episodes of ``store`` to ``path``, each by ``write``; returns how many.

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
                group = data.create_group(f"demo_{info.index}")
                group.attrs["num_samples"] = info.steps
                group.attrs["ending"], group.attrs["reason"] = info.ending.value, info.reason
                (write or write_whole)(group, reader.load_episode(info.index))
            data.attrs["total"] = sum(info.steps for info in infos)
    except FileExistsError as error:
        raise StoreError(f"{path} exists; name another file, or remove it") from error
    return len(infos)


def key_of(column: str) -> str:
    """Name among the observations, which robomimic has without groups."""
    return column.removeprefix(IMAGE).replace("/", ".")


def write_whole(group: Any, episode: Episode, observe: Callable[[Reading], np.ndarray] | None = None) -> None:
    """Write all that was recorded of an episode, and as ``obs/state`` what ``observe`` makes of its readings."""
    group.attrs["meta"] = json.dumps(dict(episode.info.meta))
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
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--state", action="store_true", help="add obs/state, the state of the store's task")
    how.add_argument("--names", type=Path, metavar="FILE", help="write what policy=openpi:FILE is sent and answers")
    arguments = parser.parse_args(argv)
    try:
        write: Write | None = None
        schema = StoreReader(arguments.store).schema
        if arguments.state and schema is not None:
            write = partial(write_whole, observe=AgentView(make_task(schema.task)).state)
        elif arguments.names is not None and schema is not None:
            write = ByNames(arguments.names, schema).write
        count = convert(arguments.store, arguments.file, write)
    except (StoreError, ContractError, ConfigError) as error:
        sys.stderr.write(f"demos.convert: {error}\n")
        return 2
    sys.stdout.write(f"{arguments.file}: {count} episodes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
