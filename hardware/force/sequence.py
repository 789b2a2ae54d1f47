"""Order of numbered records on a network that loses, doubles and reorders them."""

from __future__ import annotations

from typing import NamedTuple

from hardware.interfaces import ForceEventKind

BITS = 32
WINDOW = 1024  # records by which one may be late; beyond it, the device counts anew


class Arrival(NamedTuple):
    """Verdict on a record: whether it is ``newer`` than all before it, and what happened to how many ``records``."""

    newer: bool
    kind: ForceEventKind | None = None
    records: int = 0


class SequenceTracker:
    """Follows numbers of `BITS` bits that rise by 1 and wrap around."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._span = 0  # records since the first one, `WINDOW` at most
        self._missing: set[int] = set()

    def restart(self) -> None:
        """Take the next record as the first: the device was asked to begin anew."""
        self._last, self._span = None, 0
        self._missing.clear()

    def feed(self, number: int) -> Arrival:
        """Verdict on the record ``number``."""
        if self._last is None:
            self._last = number
            return Arrival(True)
        ahead = (number - self._last) % (1 << BITS)
        behind = (self._last - number) % (1 << BITS)
        if behind < WINDOW:
            if number not in self._missing and behind <= self._span:
                return Arrival(False, ForceEventKind.REPEATED, 1)
            self._missing.discard(number)
            return Arrival(False, ForceEventKind.REORDERED, 1)
        if ahead >= 1 << (BITS - 1):
            self.restart()
            self._last = number
            return Arrival(True, ForceEventKind.RESTARTED, 1)
        before, self._last = self._last, number
        self._span = min(self._span + ahead, WINDOW)
        if ahead == 1:
            return Arrival(True)
        first = max(1, ahead - WINDOW)
        self._missing.update((before + k) % (1 << BITS) for k in range(first, ahead))
        self._missing = {missing for missing in self._missing if (number - missing) % (1 << BITS) < WINDOW}
        return Arrival(True, ForceEventKind.LOST, ahead - 1)
