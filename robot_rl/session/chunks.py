"""Actions stamped in robot time: what is due now.

A policy may take its time: its answer to the observation at t holds actions due at t, t + 1/rate, … The buffer keeps
them. When an answer comes, its actions whose time is past are dropped; from where its first other action is due it
replaces what was planned before; until there the old plan goes on. Where nothing is due, the arm holds.
(`robot_rl.session.ensemble` averages answers instead.)

Robot time and stamps are arguments; nothing here has a clock.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from controllers.spatial import Pose
from robot_rl.contract import ActionChunk, ActionSpec
from robot_rl.contract.steps import MAX_ROWS

ROUNDING = 1e-6  # [s]


class Due(NamedTuple):
    """An action ``(a,)`` in force from ``begin`` up to ``end``, around ``due``: robot time [s].

    ``version``: of the parameters that decided it; ``place``: that the TCP goes to instead of by ``action``, if any;
    ``chunk``: number of the answer that it is of.
    """

    action: np.ndarray
    version: int
    due: float
    begin: float
    end: float
    place: Pose | None = None
    chunk: int = 0

    def wish(self, pose: Pose, spec: ActionSpec) -> np.ndarray:
        """The action ``(a,)`` that is wanted of an arm at ``pose``."""
        if self.place is None:
            return self.action
        return spec.from_delta(self.place.difference(pose), spec.gripper(self.action))


class ChunkBuffer:
    """The plan: actions in the order of their times.

    An action due at t is in force from half a control ``period`` [s] before t, or half its distance to the next where
    that is less, until the next one is.
    """

    def __init__(self, period: float) -> None:
        self._period = period
        self._plan: list[Due] = []
        self._taken = 0  # answers

    def clear(self) -> None:
        self._plan = []

    def take(self, chunk: ActionChunk, asked: float, upcoming: float) -> int:
        """Splice in the answer to an observation of robot time ``asked`` [s]; returns how many actions came too late.

        ``upcoming``: robot time [s] of the next decision, which is the first that can follow it.
        """
        self._taken += 1
        rows = rows_of(chunk, asked, self._period, self._taken)
        fresh = [row for row in rows if row.end > upcoming + ROUNDING]
        if fresh:
            splice = fresh[0].begin
            before = [row._replace(end=min(row.end, splice)) for row in self._plan if row.begin < splice - ROUNDING]
            self._plan = before + fresh
        return len(rows) - len(fresh)

    def due(self, now: float) -> Due | None:
        """The action in force at robot time ``now`` [s]; None where nothing is planned. ``now`` never goes back."""
        self._plan = [row for row in self._plan if row.end > now + ROUNDING]
        first = self._plan[0] if self._plan else None
        return first if first is not None and first.begin <= now + ROUNDING else None

    def covered(self, now: float) -> int:
        """For so many control periods from ``now`` [s] on there is an action, without a gap."""
        if self.due(now) is None:
            return 0
        end = self._plan[0].end
        for row in self._plan[1:]:
            if row.begin > end + ROUNDING:
                break
            end = row.end
        return math.ceil((end - now) / self._period - ROUNDING)

    def ahead(self, now: float) -> list[np.ndarray]:
        """The actions ``(a,)`` in force at ``now`` [s], a control period later, and so on, up to a gap or a place."""
        found: list[np.ndarray] = []
        rows = iter(self._plan)
        row = next(rows, None)
        while len(found) < MAX_ROWS:
            at = now + self._period * len(found)
            while row is not None and row.end <= at + ROUNDING:
                row = next(rows, None)
            if row is None or row.begin > at + ROUNDING or row.place is not None:
                break
            found.append(row.action)
        return found


def rows_of(chunk: ActionChunk, asked: float, period: float, number: int) -> list[Due]:
    """The actions of ``chunk``, the answer of that ``number`` to an observation of robot time ``asked`` [s].

    ``period``: control period [s].
    """
    count = len(chunk.actions)
    times = asked + (period * np.arange(count) if chunk.times is None else chunk.times)
    spacing = np.diff(times)
    spacing = np.append(spacing, spacing[-1] if count > 1 else period)
    ahead = 0.5 * np.minimum(spacing, period)  # for so long before its time an action is in force
    begin = times - np.concatenate((ahead[:1], ahead[:-1]))
    end = np.append(begin[1:], times[-1] + spacing[-1] - ahead[-1])
    columns = times.tolist(), begin.tolist(), end.tolist()
    places = [None] * count if chunk.places is None else [Pose(at[:3], at[3:]) for at in chunk.places]
    return [
        Due(action, chunk.version, due, first, last, place, number)
        for action, due, first, last, place in zip(chunk.actions, *columns, places, strict=True)
    ]
