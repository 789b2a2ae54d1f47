"""Following a store while it is written: every step once, in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robot_rl.data.blob import Blob
from robot_rl.data.episode import TRANSITION_ARRAYS, Episode, EpisodeInfo, Transitions, read_episode, read_info
from robot_rl.data.journal import records_to_columns, scan
from robot_rl.data.layout import StoreLayout
from robot_rl.data.schema import StoreError, StoreSchema


class StoreReader:
    """Follows a store from any process: finished episodes and the one being recorded.

    `poll` hands out every step exactly once and in order. Constructing it touches nothing; until the store exists, it
    is empty. ``messages`` names what had to be skipped.

    Args:
        images: read them too.
        successes_only: hand out only finished episodes that succeeded: what belongs among demonstrations.
    """

    def __init__(self, path: str | Path, *, images: bool = True, successes_only: bool = False) -> None:
        self._layout = StoreLayout(path)
        self._images = images
        self._successes_only = successes_only
        self._schema: StoreSchema | None = None
        self._index = 0  # the episode being read
        self._step = 0  # steps of it handed out
        self._offset = 0  # bytes of its journal they took
        self._record: Blob | None = None  # the last of them, if read from the journal
        self._loaded: Transitions | None = None  # the episode, once finished
        self._infos: dict[int, EpisodeInfo | None] = {}  # None: damaged
        self.path = self._layout.root
        self.messages: list[str] = []

    @property
    def schema(self) -> StoreSchema | None:
        """What the store holds; None as long as there is none. Raises `StoreError` when it cannot be read."""
        if self._schema is None and self._layout.schema.exists():
            self._schema = self._layout.read_schema()
        return self._schema

    def poll(self, limit: int | None = None) -> list[Transitions]:
        """What has been recorded since the last call, at most ``limit`` steps of it.

        What is recorded meanwhile may be left to the next call: where the writer is faster than this reader, a call
        that took everything would never return.
        """
        if self.schema is None:
            return []
        following = self._offset > 0 and self._layout.journal(self._index).exists()  # then there is no later one
        newest = self._index if following else max(self._layout.all_indices(), default=-1)
        parts: list[Transitions] = []
        while limit is None or limit > 0:
            part = self._next(newest, limit)
            if part is None:
                break
            parts.append(part)
            limit = None if limit is None else limit - len(part)
            if part.episode == newest:  # its journal may be growing
                break
        return parts

    def episodes(self) -> list[EpisodeInfo]:
        """Summaries of the finished episodes, oldest first; each is read from disk only once.

        A damaged one is skipped. It stays where it is, for `poll` to set aside: not every caller tells the operator.
        """
        found = self._layout.indices(".zarr")
        for index in found:
            if index not in self._infos:
                try:
                    self._infos[index] = read_info(self._layout.episode(index))
                except StoreError as error:
                    self._infos[index] = None
                    self.messages.append(f"{error}; skipped")
        return [info for index in found if (info := self._infos[index]) is not None]

    def load_episode(self, index: int) -> Episode:
        """A finished episode. Raises `StoreError` when there is none of that number or it is damaged."""
        return self._layout.load(self.schema or self._layout.read_schema(), index)

    def column(self, index: int, name: str) -> np.ndarray:
        """One column of a finished episode. Raises `StoreError`."""
        return self._layout.load(self.schema or self._layout.read_schema(), index, (name,))[name]

    def _next(self, newest: int, limit: int | None) -> Transitions | None:
        """The next part, of an episode up to number ``newest``; None when there is none."""
        while self._index <= newest:
            if self._loaded is None and self._layout.episode(self._index).exists():
                self._load()
            if self._loaded is not None:
                first = self._step
                last = len(self._loaded) if limit is None else min(len(self._loaded), first + limit)
                part = self._loaded.span(first, last)
                self._step = last
                if last >= len(self._loaded):
                    self._go_to(self._index + 1)
                if len(part):
                    return part
                continue
            if not self._successes_only and (tail := self._tail(limit)) is not None:
                return tail
            if self._layout.episode(self._index).exists():
                continue  # it was finished while we looked
            if self._layout.journal(self._index).exists():
                return None
            later = next((index for index in self._layout.all_indices() if index > self._index), None)
            if later is None:
                return None
            if not self._layout.episode(self._index).exists():  # a later one exists, so this one never will
                self._go_to(later)
        return None

    def _tail(self, limit: int | None) -> Transitions | None:
        """New whole steps of the journal, or None."""
        try:
            with open(self._layout.journal(self._index), "rb") as file:
                file.seek(self._offset)
                records, end, _ = scan(file.read(), limit)
        except FileNotFoundError:
            return None
        if not records:
            return None
        part = Transitions.of(str(self.path), self._index, self._step, records_to_columns(records, before=self._record))
        self._offset += end
        self._step += len(records)
        self._record = records[-1]
        return part

    def _load(self) -> None:
        path = self._layout.episode(self._index)
        try:
            schema = self.schema or self._layout.read_schema()
            images = (f"image/{name}" for name in schema.images) if self._images else ()
            episode = read_episode(path, schema, ("state", *TRANSITION_ARRAYS, *images))
        except StoreError as error:
            self.messages.append(self._layout.set_aside(path, error))
            self._go_to(self._index + 1)
            return
        if self._successes_only and not episode.info.success:
            self._go_to(self._index + 1)
            return
        self._loaded = episode.transitions(str(self.path))

    def _go_to(self, index: int) -> None:
        self._index, self._step, self._offset = index, 0, 0
        self._record = self._loaded = None
