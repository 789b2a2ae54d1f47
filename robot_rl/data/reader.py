"""Following a store while it is written: every step once, in order, and every correction of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from robot_rl.contract import PREFERENCE, Ending, Outcome, Reading
from robot_rl.data.blob import Blob
from robot_rl.data.columns import COUNTS, FEATURE, IMAGE, STATE, columns_to_readings
from robot_rl.data.encoding import Encodes, FeatureReading
from robot_rl.data.episode import Correction, Episode, EpisodeInfo, Transitions, read_episode, read_info, span
from robot_rl.data.journal import records_to_columns, scan
from robot_rl.data.layout import StoreLayout
from robot_rl.data.relabels import RelabelBook, Ruling, rule
from robot_rl.data.schema import StoreError, StoreSchema

_log = logging.getLogger(__name__)
Observe = Callable[[Reading], np.ndarray]
Bonus = Callable[[Sequence[Reading]], np.ndarray]
LABELS = ("reward", "terminated", "truncated")
SUMMARY = (*LABELS, "source", "stamp_ns")


class Polled(NamedTuple):
    """``new``: steps that were not handed out before; ``corrected``: earlier ones that were relabelled."""

    new: list[Transitions]
    corrected: list[Correction]


class Shapes(Protocol):
    """Shaping of rewards by a potential of readings."""

    def potentials(self, start: int, readings: Sequence[Reading]) -> np.ndarray:
        """Potentials ``(n,)`` of an episode's readings from number ``start`` on."""

    def added(self, potentials: np.ndarray, terminated: np.ndarray) -> np.ndarray:
        """Reward ``(n,)`` of n steps with ``potentials (n + 1,)`` around them, of which some are ``terminated``."""


class StoreReader:
    """Follows a store from any process: finished episodes and the one being recorded.

    `poll` hands out every step exactly once and in order, and what earlier ones were corrected to since. Constructing
    it touches nothing; until the store exists, it is empty. An episode that has to be skipped is logged.

    Args:
        observe: reading → state ``(d,)`` float32, an agent's view of the task; None: steps have no ``state``.
        images: read them too.
        encoder: hand out its features in place of images: those recorded, or made anew of the images where there are
            none or another's.
        successes_only: hand out only finished episodes that succeeded: what belongs among demonstrations. One that is
            relabelled later enters, or counts no longer.
        bonus: readings that close steps → what these earn beside the rewards that were recorded, ``(n,)``. It is for
            finished episodes whose record has no `PREFERENCE`: elsewhere the rewards have one in them.
        shaping: what steps of all episodes earn beside that, by the readings around them; for this reader alone.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        observe: Observe | None = None,
        images: bool = True,
        successes_only: bool = False,
        encoder: Encodes | None = None,
        bonus: Bonus | None = None,
        shaping: Shapes | None = None,
    ) -> None:
        self._shaping = shaping
        self._potentials: dict[int, np.ndarray] = {}  # episode → of its readings so far
        self._bonus = bonus
        self._bonuses: dict[int, np.ndarray] = {}  # episode → what its steps earn beside what was recorded
        self._layout = StoreLayout(path)
        self._observe = observe
        self._images = images
        self._features = FeatureReading(self._layout.root, encoder, images)
        self._successes_only = successes_only
        self._schema: StoreSchema | None = None
        self._book = RelabelBook(self._layout.relabels)
        self._changed: set[int] = set()  # episodes relabelled since the last poll
        self._handed: dict[int, int] = {}  # episode → steps of it handed out
        self._index = 0  # the episode being read
        self._offset = 0  # bytes of its journal that were handed out
        self._record: Blob | None = None  # the last of them, if read from the journal
        self._loaded: tuple[int, Transitions, Ending] | None = None  # the finished episode read last
        self._infos: dict[int, EpisodeInfo | None] = {}  # as recorded; None: damaged
        self._corrected: dict[int, EpisodeInfo] = {}
        self.path = self._layout.root

    @property
    def schema(self) -> StoreSchema | None:
        """Schema of the store; None as long as there is none.

        Raises `StoreError` when it cannot be read, or is missing where there are episodes.
        """
        if self._schema is None and self._layout.has_schema():
            self._schema = self._layout.read_schema()
        return self._schema

    @property
    def relabels(self) -> int:
        """Corrections of the store that were read so far."""
        return self._book.count

    def poll(self) -> Polled:
        """Steps recorded, and corrections made, since the last call.

        Steps recorded meanwhile may be left to the next call: where the writer is faster than this reader, a call
        that took everything would never return.
        """
        if self.schema is None:
            return Polled([], [])
        self._refresh()
        changed, self._changed = sorted(self._changed), set()
        corrected = [one for index in changed if (one := self._correction(index)) is not None]
        new = [part for index in changed if (part := self._late_success(index)) is not None]
        following = self._offset > 0 and self._layout.journal(self._index).exists()  # later ones have to wait for it
        newest = self._index if following else max(self._layout.all_indices(), default=-1)
        while (part := self._next(newest)) is not None:
            new.append(part)
            if part.episode == newest:  # its journal may be growing
                break
        return Polled(new, corrected)

    def take(self, episode: int, start: int, count: int) -> Transitions | None:
        """Steps ``start … start + count`` of an episode again, or as many as there are; `poll` goes on behind them.

        For a reader that follows a store from where another one stood. None: there are none of these any more.
        """
        if self.schema is None:
            return None
        self._refresh()
        self._changed.clear()
        record: Blob | None = None
        offset = 0
        whole: Transitions | None = None
        if self._layout.episode(episode).exists():
            whole = self._load(episode)
        elif self._layout.journal(episode).exists():
            records, offset, *_ = scan(self._layout.journal(episode).read_bytes(), start + count)
            if records:
                record = records[-1]
                whole = self._transitions(episode, 0, records_to_columns(records), finished=False)
        if whole is None or len(whole) <= start:
            return None
        part = whole.span(start, min(len(whole), start + count))
        if not self._wanted():  # it was a success then
            part = Transitions(part.store, episode, start, {**part.columns, COUNTS: np.zeros(len(part), bool)})
        self._handed[episode] = start + len(part)
        if episode >= self._index:
            self._index, self._offset, self._record = episode, offset, record
        return part

    def limit_relabels(self, count: int | None) -> None:
        """Let only the first ``count`` corrections of the store hold until called again; None: all of them."""
        self._book.limit(count)

    def episodes(self) -> list[EpisodeInfo]:
        """Summaries of the finished episodes, oldest first, as they are labelled now.

        A damaged one is skipped. It stays where it is, for `poll` to set aside.
        """
        if self.schema is None:
            return []
        self._refresh()
        found = self._layout.indices(".zarr")
        return [info for index in found if (info := self._info(index)) is not None]

    def load_episode(self, index: int, names: Iterable[str] | None = None) -> Episode:
        """A finished episode as it is labelled now, up to its last step that counts; ``names``: only these columns.

        Raises `StoreError` when there is none of that number or it is damaged.
        """
        schema = self.schema or self._layout.read_schema()
        path = self._layout.episode(index)
        if not path.exists():
            known = self._layout.indices(".zarr")
            extent = f"{known[0]} to {known[-1]}" if known else "none"
            raise StoreError(f"{self.path} has no finished episode {index} (it has {len(known)}: {extent})")
        self._refresh()
        wanted = None if names is None else dict.fromkeys((*names, *SUMMARY))
        without = () if self._images or names is not None else (IMAGE, FEATURE)
        recorded = read_episode(path, schema, wanted, without=without)
        ruling = rule(recorded.columns, self._book.of(index), finished=True)
        whole = {**recorded.columns, **{name: ruling.columns[name] for name in LABELS}}
        columns = span(whole, 0, int(ruling.columns["counts"].sum()))
        ending, reason = _ending(recorded.info, ruling)
        info = recorded.info if not self._book.of(index) else recorded.info.corrected(columns, ending, reason)
        return Episode(info, columns if names is None else {name: columns[name] for name in names})

    def _refresh(self) -> None:
        changed = self._book.refresh()
        self._changed |= changed
        for index in changed:
            self._corrected.pop(index, None)
            if self._loaded is not None and self._loaded[0] == index:
                self._loaded = None

    def _info(self, index: int) -> EpisodeInfo | None:
        """A summary as it is labelled now; each is read from disk only once. None: damaged."""
        if index not in self._infos:
            try:
                self._infos[index] = read_info(self._layout.episode(index))
            except StoreError as error:
                self._infos[index] = None
                _log.warning("%s; skipped", error)
        if not self._book.of(index):
            return self._infos[index]
        if index not in self._corrected:
            try:
                self._corrected[index] = self.load_episode(index, SUMMARY).info
            except StoreError as error:
                _log.warning("%s; skipped", error)
                return None
        return self._corrected[index]

    def _next(self, newest: int) -> Transitions | None:
        """The next part, of an episode up to number ``newest``; None when there is none."""
        while self._index <= newest:
            index = self._index
            if self._layout.episode(index).exists():
                if (part := self._finished(index)) is not None:
                    return part
                continue
            if not self._successes_only and (tail := self._tail()) is not None:
                return tail
            if self._layout.episode(index).exists():
                continue  # it was finished while we looked
            if self._layout.journal(index).exists():
                return None
            later = next((one for one in self._layout.all_indices() if one > index), None)
            if later is None:
                return None
            if not self._layout.episode(index).exists():  # a later one exists, so this one never will
                self._go_to(later)
        return None

    def _finished(self, index: int) -> Transitions | None:
        """The rest of a finished episode that is to be handed out; the next one is behind it."""
        first = self._handed.get(index, 0)
        whole = self._load(index)
        self._go_to(index + 1)
        if whole is None or first >= len(whole) or not self._wanted():
            return None
        self._handed[index] = len(whole)
        return whole.span(first, len(whole))

    def _wanted(self) -> bool:
        """Whether the episode that was read last belongs to what is asked for."""
        return not self._successes_only or (self._loaded is not None and self._loaded[2] is Ending.SUCCESS)

    def _late_success(self, index: int) -> Transitions | None:
        """An episode that was passed over and has been relabelled to a success."""
        passed = self._successes_only and index < self._index and index not in self._handed
        if not passed or not self._layout.episode(index).exists():
            return None
        whole = self._load(index)
        if whole is None or not self._wanted():
            return None
        self._handed[index] = len(whole)
        return whole

    def _tail(self) -> Transitions | None:
        """New whole steps of the journal, or None."""
        try:
            with open(self._layout.journal(self._index), "rb") as file:
                file.seek(self._offset)
                records, end, *_ = scan(file.read())
        except FileNotFoundError:
            return None
        if not records:
            return None
        columns = records_to_columns(records, before=self._record)
        part = self._transitions(self._index, self._handed.get(self._index, 0), columns, finished=False)
        self._offset += end
        self._handed[self._index] = part.start + len(part)
        self._record = records[-1]
        return part

    def _load(self, index: int) -> Transitions | None:
        """All steps of a finished episode; None, and set aside, when it is damaged."""
        if self._loaded is not None and self._loaded[0] == index:
            return self._loaded[1]
        path = self._layout.episode(index)
        schema = self.schema or self._layout.read_schema()
        try:
            episode = read_episode(path, schema, without=self._features.left_out(schema))
        except StoreError as error:
            _log.warning("%s; %s", error, self._layout.set_aside(path))
            return None
        whole = self._transitions(index, 0, episode.columns, finished=True, meta=episode.info.meta)
        ending, _ = _ending(episode.info, rule(episode.columns, self._book.of(index), finished=True))
        self._loaded = index, whole, ending
        return whole

    def _transitions(
        self,
        index: int,
        start: int,
        recorded: Mapping[str, np.ndarray],
        *,
        finished: bool,
        meta: Mapping[str, Any] = MappingProxyType({}),
    ) -> Transitions:
        """Recorded steps from number ``start`` on, as they are labelled now and as the agent sees them."""
        ruling = rule(recorded, self._book.of(index), start=start, finished=finished)
        schema = self.schema or self._layout.read_schema()
        seen = self._features.seen(schema, index, len(self._layout.all_indices()), recorded)
        columns = {**seen, **ruling.columns}
        if self._observe is not None:
            columns[STATE] = np.stack([self._observe(reading) for reading in columns_to_readings(recorded)])
        if self._bonus is not None and finished and PREFERENCE not in meta:
            earned = self._bonus(list(columns_to_readings(recorded))[1:]).astype(np.float32)
            self._bonuses[index] = earned
            columns["reward"] = columns["reward"] + earned
        if self._shaping is not None:
            readings = list(columns_to_readings(recorded))
            found = self._shaping.potentials(start, readings)
            self._potentials[index] = np.concatenate((self._potentials[index][:start], found)) if start else found
            columns["reward"] = columns["reward"] + self._shaping.added(found, columns["terminated"])
        return Transitions(str(self.path), index, start, columns)

    def _correction(self, index: int) -> Correction | None:
        """Present outcomes of an episode's steps that were handed out; None: there are none, or none any more."""
        handed = self._handed.get(index, 0)
        if not handed:
            return None
        ending = None
        try:
            records = scan(self._layout.journal(index).read_bytes(), handed).records
            ruling = rule(records_to_columns(records), self._book.of(index), finished=False)
        except FileNotFoundError:
            try:
                episode = read_episode(self._layout.episode(index), self._layout.read_schema(), LABELS)
            except StoreError as error:
                _log.warning("%s; its steps stay labelled as they were", error)
                return None
            ruling = rule(episode.columns, self._book.of(index), finished=True)
            ending, _ = _ending(episode.info, ruling)
        columns = {name: column[:handed] for name, column in ruling.columns.items()}
        if index in self._bonuses:
            columns["reward"] = columns["reward"] + self._bonuses[index][:handed]
        if self._shaping is not None:
            columns["reward"] += self._shaping.added(self._potentials[index][: handed + 1], columns["terminated"])
        if self._successes_only:
            columns["counts"] = columns["counts"] & (ending is Ending.SUCCESS)
        return Correction(str(self.path), index, columns)

    def _go_to(self, index: int) -> None:
        self._index, self._offset, self._record = index, 0, None


def _ending(info: EpisodeInfo, ruling: Ruling) -> tuple[Ending, str]:
    """How an episode ended, and why, as it is labelled now."""
    outcome = ruling.ending or Outcome(0.0, info.ending, info.reason)
    return outcome.ending, outcome.reason
