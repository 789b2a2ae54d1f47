"""The episode store: one writer, any number of readers, nothing lost but the step in flight.

A store is a directory::

    schema.json            task, action layout, cameras
    writer.lock            held by the one writer
    journal/000007.journal the episode being recorded, one CRC-framed step after the other
    episodes/000006.zarr   finished episodes
    relabels.log           corrections of what recorded steps came to
    */000003.corrupt       what was damaged, set aside

An episode keeps its number from its first step to the end. It moves from journal to Zarr by: write under another name,
rename, remove the journal; whichever instant the writer is killed at, the next opening finishes the move. A damaged
journal becomes an episode of the good steps before the damage, and is kept beside.
"""

from __future__ import annotations

import fcntl
import importlib
import logging
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from robot_rl.contract import Ending, Outcome, Relabel, Step
from robot_rl.contract.files import write_atomically
from robot_rl.data.episode import Episode, EpisodeInfo, read_info, totals, write_episode
from robot_rl.data.journal import JournalFile, records_to_columns, salvage, scan, step_to_frame
from robot_rl.data.layout import StoreLayout
from robot_rl.data.reader import StoreReader
from robot_rl.data.relabels import frames_to_relabels, relabel_to_frame
from robot_rl.data.schema import StoreError, StoreSchema

__all__ = ["Episode", "EpisodeInfo", "EpisodeStore", "EpisodeWriter", "StoreError", "StoreReader", "StoreSchema"]

_log = logging.getLogger(__name__)
INTERRUPTED = "interrupted"
_SCRATCH = "writing.tmp"


class EpisodeStore:
    """The writing end of a store. Open it with `create_or_open` or `open`, close it (or use ``with``).

    A repair at opening is logged.
    """

    def __init__(self, layout: StoreLayout, schema: StoreSchema, lock: int, background: bool) -> None:
        # Most processes of a job know of stores and write none, so they do without this. Whoever writes has it now, and
        # not while an arm waits for the end of its first episode.
        importlib.import_module("zarr")
        self._layout = layout
        self._lock = lock
        self._writer: EpisodeWriter | None = None
        self._background = ThreadPoolExecutor(1, "episodes") if background else None
        self._committing: dict[EpisodeWriter, Future[EpisodeInfo | None]] = {}
        self._relabels = JournalFile(layout.relabels, resume=True)
        self._reader = StoreReader(layout.root)
        self.schema = schema
        self.path = layout.root

    @classmethod
    def create_or_open(cls, path: str | Path, schema: StoreSchema, background: bool = False) -> EpisodeStore:
        """Open a store for writing, creating it when there is none, and recover what an earlier writer left.

        A killed process loses nothing but the step in flight; a power cut may take the last seconds.

        ``background``: a thread turns finished journals into episodes, which takes seconds where there are pictures, so
        that an arm is not left without commands meanwhile; an error of it is raised by what is called next.

        Raises `StoreError` when the store holds something else, or another process is writing to it.
        """
        layout = StoreLayout(path)
        if not layout.has_schema():
            for folder in (layout.journals, layout.episodes):
                folder.mkdir(parents=True, exist_ok=True)
        return cls._open(layout, schema, background)

    @classmethod
    def open(cls, path: str | Path) -> EpisodeStore:
        """Open a store that is there for writing, whatever it holds; otherwise as `create_or_open`."""
        return cls._open(StoreLayout(path), None, background=False)

    @classmethod
    def _open(cls, layout: StoreLayout, schema: StoreSchema | None, background: bool) -> EpisodeStore:
        held = layout.read_schema() if layout.has_schema() or schema is None else None
        lock = _lock(layout)
        try:
            if held is None and layout.has_schema():  # made by another process meanwhile
                held = layout.read_schema()
            if held is not None and schema is not None:
                _check_schema(layout, held, schema)
            if held is None and schema is not None:
                write_atomically(layout.schema, schema.to_json().encode())
            store = cls(layout, held or schema or layout.read_schema(), lock, background)
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
        self._settle(wait=False)
        # One that is just being moved may be in neither listing.
        last = self._writer.index if self._writer is not None and self._writer.steps > 0 else -1
        index = max((last, *self._layout.all_indices())) + 1
        self._writer = EpisodeWriter(self, index, dict(meta or {}))
        return self._writer

    def relabel(self, relabel: Relabel) -> None:
        """Correct a recorded step, of a finished episode or of the one being recorded.

        When this returns, no kill of this process can lose it; all readers see it, those that had the step already
        included. Raises `StoreError` when there is no such step, the reward is not finite, or the disk is full.
        """
        steps = self._steps(relabel.episode)
        if not 0 <= relabel.step < steps:
            raise StoreError(
                f"{self.path}: episode {relabel.episode} has {steps} steps, counted from 0: no step {relabel.step}"
            )
        if not math.isfinite(relabel.outcome.reward):
            raise StoreError(f"{self.path}: a reward of {relabel.outcome.reward} cannot be recorded")
        self._relabels.append(relabel_to_frame(relabel))

    def episodes(self) -> list[EpisodeInfo]:
        """The finished episodes as they are labelled now, oldest first."""
        self._settle()
        return self._reader.episodes()

    def load_episode(self, index: int, names: Iterable[str] | None = None) -> Episode:
        """A finished episode, or only its arrays ``names``.

        Raises `StoreError` when there is none of that number or it is damaged.
        """
        self._settle()
        return self._reader.load_episode(index, names)

    def close(self) -> None:
        """Release the store. An unfinished episode with steps becomes one that was interrupted."""
        try:
            if self._writer is not None and not self._writer.finished:
                self._writer.finish(Outcome.aborted(INTERRUPTED))
            self._settle()
        finally:
            if self._background is not None:
                self._background.shutdown()
            self._relabels.close()
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    def __enter__(self) -> EpisodeStore:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _steps(self, episode: int) -> int:
        """Recorded so far; 0: there is no such episode."""
        for writer in (*self._committing, *filter(None, [self._writer])):
            if writer.index == episode:
                return writer.steps
        path = self._layout.episode(episode)
        return read_info(path).steps if path.exists() else 0

    def _recover(self) -> None:
        for folder in (self._layout.journals, self._layout.episodes):
            folder.mkdir(exist_ok=True)
        shutil.rmtree(self._layout.episodes / _SCRATCH, ignore_errors=True)
        for index in self._layout.indices(".zarr"):
            try:
                read_info(self._layout.episode(index))
            except StoreError as error:
                _log.warning("%s; %s", error, self._layout.set_aside(self._layout.episode(index)))
        for index in self._layout.indices(".journal"):
            if self._layout.episode(index).exists():  # killed between the rename and this
                self._remove_journal(index)
            else:
                self._commit(index, Outcome.aborted(INTERRUPTED))
        self._recover_relabels()

    def _recover_relabels(self) -> None:
        """Cut off a torn record; keep a damaged file beside, and go on with the good records of it."""
        path = self._layout.relabels
        data = path.read_bytes() if path.exists() else b""
        whole = scan(data)
        if not whole.problem:
            return
        good = frames_to_relabels(data)
        if whole.torn and len(good) == len(whole.records):
            _log.warning("%s: dropped %s after %d corrections", path, whole.problem, len(good))
        else:
            kept = self._layout.corrupt_name(path)
            shutil.copyfile(path, kept)
            _log.warning(
                "%s: damaged: %s; kept as %s, going on with its %d whole corrections",
                path,
                whole.problem,
                kept.name,
                len(good),
            )
        write_atomically(path, map(relabel_to_frame, good))

    def _finish(self, writer: EpisodeWriter, outcome: Outcome) -> EpisodeInfo | None:
        """Commit the journal of ``writer`` now, or in the background; returns what is known of it by then."""
        if self._background is None:
            return self._commit(writer.index, outcome)
        self._committing[writer] = self._background.submit(self._commit, writer.index, outcome)
        return None

    def _settle(self, wait: bool = True) -> None:
        """Have what is written in the background ended, or only hear how what has ended did. Raises `StoreError`."""
        for writer, committed in list(self._committing.items()):
            if wait or committed.done():
                del self._committing[writer]
                committed.result()

    def _commit(self, index: int, outcome: Outcome) -> EpisodeInfo | None:
        """Turn journal ``index`` into an episode. ``outcome`` counts only if its last step is not an ending itself."""
        records = scan(self._layout.journal(index).read_bytes()).records
        if not records:
            self._remove_journal(index)
            return None
        columns = records_to_columns(records)
        last = records[-1].header
        ending, reason = Ending(last["ending"]), last["reason"]
        if ending is Ending.RUNNING:
            ending, reason = outcome.ending, outcome.reason
            columns["truncated"][-1] = True
            if outcome.reason == INTERRUPTED:
                _log.warning(
                    "%s: recovered %d steps of an interrupted episode", self._layout.journal(index), len(records)
                )
        meta = records[0].header["opening"]["meta"]
        seed = meta.get("seed")
        info = EpisodeInfo(
            index=index,
            ending=ending,
            reason=reason,
            seed=None if seed is None else int(seed),
            meta=meta,
            **totals(columns),
        )
        write_episode(self._layout.episode(index), self._layout.episodes / _SCRATCH, info, columns)
        self._remove_journal(index)
        return info

    def _remove_journal(self, index: int) -> None:
        """Remove a journal whose good steps are all in an episode; a damaged one is kept, set aside."""
        path = self._layout.journal(index)
        data = path.read_bytes()
        found = scan(data)
        if found.torn and len(salvage(data).records) == len(found.records):  # the step in flight
            _log.warning("%s: dropped %s after %d whole steps", path, found.problem, len(found.records))
        elif found.problem:
            kept = self._layout.set_aside(path)
            good = len(found.records)
            _log.warning("%s: damaged: %s; recovered the %d good steps before it; %s", path, found.problem, good, kept)
            return
        path.unlink()


class EpisodeWriter:
    """Records one episode, step by step."""

    def __init__(self, store: EpisodeStore, index: int, meta: dict[str, Any]) -> None:
        self._store = store
        self._journal = JournalFile(store._layout.journal(index))
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
            if self._last.next_reading.stamp_ns != step.reading.stamp_ns:
                raise StoreError(
                    f"step {self.steps} of episode {self.index} does not start where the last one ended: its reading "
                    f"is of {step.reading.stamp_ns} ns, that of {self._last.next_reading.stamp_ns} ns"
                )
        opening = {"episode": self.index, "meta": self.meta} if self.steps == 0 else None
        self._journal.append(step_to_frame(step, self.steps, self._store.schema, opening))
        self._last = step
        self.steps += 1

    def finish(self, outcome: Outcome | None = None) -> EpisodeInfo | None:
        """Turn the journal into a finished episode; returns its summary. None: it had no steps, or a thread does it.

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
        return self._store._finish(self, outcome)


def _check_schema(layout: StoreLayout, held: StoreSchema, wanted: StoreSchema) -> None:
    """Raises `StoreError` when steps of the schema ``wanted`` cannot go into a store that has ``held``."""
    if difference := held.difference(wanted):
        raise StoreError(
            f"{layout.root} holds task {held.task!r} with {difference}; choose another directory for "
            f"task {wanted.task!r} or move this one away"
        )
    if difference := held.encoding_difference(wanted):
        raise StoreError(
            f"{layout.root} holds {difference}, and a store never mixes them; record into another directory, or set "
            "encoder= as it was (to learn from it, any will do: its images are encoded anew)"
        )


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
