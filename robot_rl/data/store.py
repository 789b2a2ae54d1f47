"""The episode store: one writer, any number of readers, nothing lost but the step in flight.

A store is a directory::

    schema.json            task, state and action layout
    writer.lock            held by the one writer
    journal/000007.journal the episode being recorded, one CRC-framed step after the other
    episodes/000006.zarr   finished episodes; 000003.corrupt is one that was set aside

An episode keeps its number from its first step to the end. It moves from journal to Zarr by: write under another name,
rename, remove the journal; whichever instant the writer is killed at, the next opening finishes the move.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from robot_rl.contract import Ending, Outcome, Source, Step
from robot_rl.data.blob import Blob
from robot_rl.data.episode import Episode, EpisodeInfo, read_info, write_episode
from robot_rl.data.journal import JournalFile, records_to_columns, scan, step_to_frame
from robot_rl.data.layout import StoreLayout
from robot_rl.data.reader import StoreReader
from robot_rl.data.schema import StoreError, StoreSchema

__all__ = ["Episode", "EpisodeInfo", "EpisodeStore", "EpisodeWriter", "StoreError", "StoreReader", "StoreSchema"]

INTERRUPTED = "interrupted"
_SCRATCH = "writing.tmp"


class EpisodeStore:
    """The writing end of a store. Open it with `create_or_open`, close it (or use ``with``).

    ``messages`` says what had to be repaired at opening, for the operator.
    """

    def __init__(self, layout: StoreLayout, schema: StoreSchema, lock: int, fsync: bool) -> None:
        self._layout = layout
        self._lock = lock
        self._fsync = fsync
        self._writer: EpisodeWriter | None = None
        self.schema = schema
        self.path = layout.root
        self.messages: list[str] = []

    @classmethod
    def create_or_open(cls, path: str | Path, schema: StoreSchema, *, fsync: bool = False) -> EpisodeStore:
        """Open a store for writing, creating it when there is none, and recover what an earlier writer left.

        ``fsync`` makes every step survive a power cut too, at some milliseconds a step; a killed process loses nothing
        either way. Raises `StoreError` when the store holds something else, or another process is writing to it.
        """
        layout = StoreLayout(path)
        for folder in (layout.journals, layout.episodes):
            folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(layout)
        try:
            if layout.schema.exists():
                held = layout.read_schema()
                if difference := held.difference(schema):
                    raise StoreError(
                        f"{layout.root} holds task {held.task!r} with {difference}; choose another directory for "
                        f"task {schema.task!r} or move this one away"
                    )
            else:
                scratch = layout.root / "schema.tmp"
                scratch.write_text(schema.to_json())
                os.replace(scratch, layout.schema)
            store = cls(layout, schema, lock, fsync)
            store._recover()
        except BaseException:
            os.close(lock)
            raise
        return store

    def begin(self, meta: Mapping[str, Any] | None = None) -> EpisodeWriter:
        """Start an episode. ``meta``: JSON values to keep with it; ``meta["seed"]`` is the one it was started with.

        Nothing is on disk before the first step. Raises `StoreError` while another episode is being written.
        """
        if self._writer is not None and not self._writer.finished:
            raise StoreError(f"{self.path}: an episode is being recorded; finish it first")
        index = max(self._layout.all_indices(), default=-1) + 1
        self._writer = EpisodeWriter(self, index, dict(meta or {}))
        return self._writer

    def episodes(self) -> list[EpisodeInfo]:
        """The finished episodes, oldest first."""
        return [read_info(self._layout.episode(index)) for index in self._layout.indices(".zarr")]

    def load_episode(self, index: int) -> Episode:
        """A finished episode. Raises `StoreError` when there is none of that number or it is damaged."""
        return self._layout.load(self.schema, index)

    def close(self) -> None:
        """Release the store. An unfinished episode with steps becomes one that was interrupted."""
        if self._writer is not None and not self._writer.finished:
            self._writer.finish(Outcome.aborted(INTERRUPTED))
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> EpisodeStore:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _recover(self) -> None:
        shutil.rmtree(self._layout.episodes / _SCRATCH, ignore_errors=True)
        for index in self._layout.indices(".zarr"):
            try:
                read_info(self._layout.episode(index))
            except StoreError as error:
                self.messages.append(self._layout.set_aside(self._layout.episode(index), error))
        for index in self._layout.indices(".journal"):
            if self._layout.episode(index).exists():  # killed between the rename and this
                self._layout.journal(index).unlink()
            else:
                self._commit(index, Outcome.aborted(INTERRUPTED))

    def _commit(self, index: int, outcome: Outcome) -> EpisodeInfo | None:
        """Turn journal ``index`` into an episode. ``outcome`` counts only if its last step is not an ending itself."""
        path = self._layout.journal(index)
        records, _, problem = scan(path.read_bytes())
        if problem:
            self.messages.append(f"{path}: dropped {problem} after {len(records)} whole steps")
        if not records:
            path.unlink()
            return None
        columns = records_to_columns(records)
        last = records[-1].header
        ending, reason = Ending(last["ending"]), last["reason"]
        if ending is Ending.RUNNING:
            ending, reason = outcome.ending, outcome.reason
            columns["truncated"][-1] = True
            if outcome.reason == INTERRUPTED:
                self.messages.append(f"{path}: recovered {len(records)} steps of an interrupted episode")
        info = _info(index, ending, reason, columns, records[0])
        write_episode(self._layout.episode(index), self._layout.episodes / _SCRATCH, info, columns, self._fsync)
        path.unlink()
        return info


class EpisodeWriter:
    """Records one episode, step by step."""

    def __init__(self, store: EpisodeStore, index: int, meta: dict[str, Any]) -> None:
        self._store = store
        self._journal = JournalFile(store._layout.journal(index), store._fsync)
        self._last: Step | None = None
        self.index = index
        self.meta = meta
        self.steps = 0
        self.finished = False

    def append(self, step: Step) -> None:
        """Record a step; when this returns, no kill of this process can lose it.

        Raises `StoreError` when the step does not follow the last one, does not fit the schema, or the disk is full.
        """
        if self.finished:
            raise StoreError(f"episode {self.index} is finished; begin another one")
        if self._last is not None:
            if self._last.outcome.done:
                raise StoreError(f"episode {self.index} ended as {self._last.outcome.ending.value}; finish it")
            if not np.array_equal(self._last.next_observation.state, step.observation.state):
                raise StoreError(f"step {self.steps} of episode {self.index} does not start where the last one ended")
            if step.objects.keys() != self._last.objects.keys():
                raise StoreError(f"step {self.steps} has objects {sorted(step.objects)}, unlike the steps before it")
        opening = {"episode": self.index, "meta": self.meta} if self.steps == 0 else None
        self._journal.append(step_to_frame(step, self.steps, self._store.schema, opening))
        self._last = step
        self.steps += 1

    def finish(self, outcome: Outcome | None = None) -> EpisodeInfo | None:
        """Turn the journal into a finished episode; returns its summary, or None when it had no steps.

        ``outcome`` is needed only when the last step was not an ending: then it says why recording stopped (a time
        limit or an abort). Learners may have read the last step already, so a success or failure that is not the last
        step's own raises `StoreError`; without an outcome an unended episode is aborted.
        """
        if self.finished:
            raise StoreError(f"episode {self.index} is finished already")
        recorded = self._last.outcome if self._last is not None else None
        outcome = outcome or Outcome.aborted("stopped")
        if recorded is not None and not (recorded.done or outcome.truncated):
            raise StoreError(
                f"episode {self.index}: an episode ends as {outcome.ending.value} by its last step, not afterwards"
            )
        self._journal.close()
        self.finished = True
        if self.steps == 0:
            self._journal.path.unlink(missing_ok=True)
            return None
        return self._store._commit(self.index, outcome)


def _lock(layout: StoreLayout) -> int:
    fd = os.open(layout.lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise StoreError(
            f"{layout.root} is being written by process {holder}; stop it or record into another directory"
        ) from error
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _info(index: int, ending: Ending, reason: str, columns: Mapping[str, np.ndarray], first: Blob) -> EpisodeInfo:
    meta = first.header["opening"]["meta"]
    seed = meta.get("seed")
    return EpisodeInfo(
        index=index,
        ending=ending,
        reason=reason,
        steps=len(columns["reward"]),
        total_reward=float(columns["reward"].sum(dtype=np.float64)),
        interventions=int((columns["source"] == Source.PERSON).sum()),
        duration=float(columns["stamp_ns"][-1] - columns["stamp_ns"][0]) * 1e-9,
        seed=None if seed is None else int(seed),
        meta=meta,
    )
