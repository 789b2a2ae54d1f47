"""A gym run's folder: the newest policy, and all that it takes to go on.

    policy.params    the newest parameters, as published for a robot (`robot_rl.data.parameters`)
    checkpoints/     of the learner
    steps/N.steps    what happened since the file before, up to environment step N
    run.json         what the run is, and its counters

They are written after each evaluation, in the order steps, checkpoint, policy, counters; a run that was killed goes on
from its newest checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.contract.files import write_atomically
from robot_rl.contract.settings import ConfigError
from robot_rl.contract.tensors import TensorError, pack_tensors, unpack_tensors
from robot_rl.data.columns import is_observed
from robot_rl.data.episode import Transitions
from robot_rl.learner.checkpoint import CheckpointError, load_latest
from robot_rl.learner.loop import LearnerLoop

MAGIC = b"RRG1"
SUFFIX = ".steps"


class Keeper:
    """Keeps a run in ``folder``.

    Args:
        identity: JSON values that must be the same for a run to go on.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self._folder, self._identity = folder, dict(identity)
        self._new: list[Transitions] = []

    @property
    def checkpoints(self) -> Path:
        return self._folder / "checkpoints"

    def check(self) -> None:
        """Raises `ConfigError` when the folder cannot be written to, or holds another run."""
        try:
            (self._folder / "steps").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--run {self._folder} cannot be made: {error.strerror}") from error
        kept = self._counters().get("identity", self._identity)
        for name, mine in self._identity.items():
            if kept.get(name) != mine:
                raise ConfigError(
                    f"--run {self._folder} has {name}={kept.get(name)!r}, not {mine!r}; another folder begins anew"
                )

    def restore(self, learner: LearnerLoop) -> dict[str, Any]:
        """Have ``learner`` go on from here; returns the counters that `save` was given, empty for a new run.

        An episode that was in progress counts, and is over.

        Raises `ConfigError` when what is kept is damaged, or of another learner.
        """
        counters = self._counters()
        if not counters:
            return {}
        try:
            newest = load_latest(self.checkpoints)
            if newest is None:
                raise CheckpointError("it has no checkpoint")
            step = int(newest.meta["governor"]["received"])  # the last save may have been interrupted after it
            steps = list(self._steps(step))
            learner.restore(steps)
        except (CheckpointError, TensorError, OSError) as error:
            raise ConfigError(f"--run {self._folder} cannot go on: {error}; another folder begins anew") from error
        return counters | {"step": step, "episodes": 1 + max((run.episode for run in steps), default=-1)}

    def note(self, transitions: Transitions) -> None:
        """Steps that happened, to be kept with the next `save`."""
        self._new.append(transitions)

    def save(self, learner: LearnerLoop, counters: Mapping[str, Any]) -> None:
        """Keep everything; ``counters`` have the environment ``step``. Raises `ConfigError` when it cannot be."""
        runs = list(_joined(self._new))
        arrays = {f"{i}/{name}": column for i, run in enumerate(runs) for name, column in run.columns.items()}
        meta: dict[str, Any] = {"runs": [[run.store, run.episode, run.start] for run in runs]}
        try:
            if runs:
                path = self._folder / "steps" / f"{counters['step']:012d}{SUFFIX}"
                write_atomically(path, pack_tensors(MAGIC, meta, arrays))
            learner.checkpoint()
            write_atomically(self._folder / "policy.params", learner.parameters())
            write_atomically(self._folder / "run.json", json.dumps({"identity": self._identity, **counters}).encode())
        except (OSError, CheckpointError) as error:
            raise ConfigError(f"--run {self._folder} cannot be written: {error}") from error
        self._new.clear()

    def _counters(self) -> dict[str, Any]:
        try:
            counters: dict[str, Any] = json.loads((self._folder / "run.json").read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ConfigError(f"--run {self._folder}: run.json cannot be read: {error}") from error
        return counters

    def _steps(self, last: int) -> Iterator[Transitions]:
        """All steps that were kept, up to number ``last``. Raises `TensorError` or OSError."""
        for path in sorted((self._folder / "steps").glob(f"*{SUFFIX}")):
            if int(path.stem) > last:
                path.unlink()  # of a save that was not finished
                continue
            meta, arrays = unpack_tensors(MAGIC, path.read_bytes())
            columns: dict[int, dict[str, np.ndarray]] = {}
            for key, array in arrays.items():
                number, _, name = key.partition("/")
                columns.setdefault(int(number), {})[name] = array
            runs: Any = meta["runs"]
            for place, (store, episode, start) in enumerate(runs):
                yield Transitions(store, episode, start, columns[place])


def _joined(steps: list[Transitions]) -> Iterator[Transitions]:
    """The same steps, those that follow each other as one."""
    group: list[Transitions] = []
    for step in steps:
        if group and (step.episode, step.start) != (group[-1].episode, group[-1].start + len(group[-1])):
            yield _join(group)
            group = []
        group.append(step)
    if group:
        yield _join(group)


def _join(group: list[Transitions]) -> Transitions:
    first, columns = group[0], {}
    for name in first.columns:
        parts = [part[name] for part in group]
        if is_observed(name):
            parts = [parts[0], *(part[1:] for part in parts[1:])]
        columns[name] = np.concatenate(parts)
    return Transitions(first.store, first.episode, first.start, columns)
