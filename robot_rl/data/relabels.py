"""Corrections of recorded steps: a file of CRC-framed records beside the journals, and what they make of an episode.

Each record is a frame as in a journal (`robot_rl.data.journal`), with a header and no arrays. Of two corrections of a
step the later one holds. Nothing that was recorded is changed: what a step comes to is worked out when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from robot_rl.contract import DISCARDED, Ending, Outcome, Relabel
from robot_rl.data.blob import encode
from robot_rl.data.journal import frame, salvage

UNENDED = "its ending was taken back"


def relabel_to_frame(relabel: Relabel) -> bytes:
    """One correction as a frame."""
    header = {
        "episode": int(relabel.episode),
        "step": int(relabel.step),
        "reward": float(relabel.outcome.reward),
        "ending": relabel.outcome.ending.value,
        "reason": relabel.outcome.reason,
        "by": relabel.by,
        "number": int(relabel.number),
    }
    return frame(encode(header, {}))


def frames_to_relabels(data: bytes) -> list[Relabel]:
    """All whole records of the file's bytes, in order."""
    return [
        Relabel(h["episode"], h["step"], Outcome(h["reward"], Ending(h["ending"]), h["reason"]), h["by"], h["number"])
        for h in (record.header for record in salvage(data).records)
    ]


class Ruling(NamedTuple):
    """Outcomes of consecutive steps of an episode.

    Attributes:
        columns: ``reward``, ``terminated``, ``truncated`` and ``counts``, a row a step. The step that ends the episode
            is the last one that counts; of an episode that a person has discarded none does.
        ending: what the step that ends the episode was corrected to; None: it is as it was recorded.
    """

    columns: dict[str, np.ndarray]
    ending: Outcome | None


def rule(
    recorded: Mapping[str, np.ndarray], relabels: Mapping[int, Relabel], *, start: int = 0, finished: bool
) -> Ruling:
    """Outcomes of steps by ``relabels``, step → correction of their episode.

    Args:
        recorded: columns ``reward``, ``terminated``, ``truncated`` of the steps from number ``start`` on.
        finished: the last of them is the last of its episode: where none is an ending any more, it is an abort.
    """
    columns = {name: recorded[name].copy() for name in ("reward", "terminated", "truncated")}
    count = len(columns["reward"])
    for step, relabel in relabels.items():
        if start <= step < start + count:
            columns["reward"][step - start] = relabel.outcome.reward
            columns["terminated"][step - start] = relabel.outcome.terminated
            columns["truncated"][step - start] = relabel.outcome.truncated
    done = columns["terminated"] | columns["truncated"]
    over = any(relabel.outcome.done for step, relabel in relabels.items() if step < start)
    ending = None
    if done.any():
        last = int(done.argmax())
        ending = relabels[start + last].outcome if start + last in relabels else None
    else:
        last = count - 1
        if finished and not over:
            columns["truncated"][last] = True
            ending = Outcome.aborted(UNENDED)
    discarded = any(relabel.outcome.reason == DISCARDED for relabel in relabels.values())
    columns["counts"] = (np.arange(count) <= last) & (not over) & (not discarded)
    return Ruling(columns, ending)


class RelabelBook:
    """The corrections of a store, as they are on disk at the last `refresh`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._all: list[Relabel] = []
        self._by_episode: dict[int, dict[int, Relabel]] = {}
        self._limit: int | None = None

    @property
    def count(self) -> int:
        """Records that hold."""
        return len(self._all) if self._limit is None else min(self._limit, len(self._all))

    def limit(self, count: int | None) -> None:
        """Let only the first ``count`` records hold; None: all of them."""
        self._limit = count

    def of(self, episode: int) -> Mapping[int, Relabel]:
        """Step → the correction that holds."""
        return self._by_episode.get(episode, {})

    def refresh(self) -> set[int]:
        """Read what is new; returns the episodes for which something else holds now than before."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return set()
        seen = (found.st_ino, found.st_size, found.st_mtime_ns)
        if seen != self._seen:
            self._all = frames_to_relabels(self._path.read_bytes())
            self._seen = seen
        before, self._by_episode = self._by_episode, {}
        for relabel in self._all[: self.count]:
            self._by_episode.setdefault(relabel.episode, {})[relabel.step] = relabel
        known = before.keys() | self._by_episode.keys()
        return {index for index in known if before.get(index) != self._by_episode.get(index)}
