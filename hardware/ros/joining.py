"""Messages of several topics that belong to one instant, by their stamps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

Part = TypeVar("Part")


class StampJoin(Generic[Part]):
    """Collects parts until one of each kind has come with the same stamp.

    Args:
        kinds: names of the parts of a set.
        kept: incomplete sets that are remembered. Of more, the one begun first is forgotten, whatever its stamp: that
            of a clock that is ahead shall not stay for good.
    """

    def __init__(self, kinds: Iterable[str], kept: int) -> None:
        self._kinds, self._kept = frozenset(kinds), kept
        self._sets: dict[int, dict[str, Part]] = {}

    def put(self, kind: str, stamp: int, part: Part) -> dict[str, Part] | None:
        """Take in a part; returns its set, kind to part, when that is complete, and forgets all that is older."""
        parts = self._sets.setdefault(stamp, {})
        parts[kind] = part
        if parts.keys() == self._kinds:
            self._sets = {other: rest for other, rest in self._sets.items() if other > stamp}
            return parts
        if len(self._sets) > self._kept:
            del self._sets[next(iter(self._sets))]
        return None
