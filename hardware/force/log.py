"""Events of a sensor, kept until somebody asks for them, and how many there were."""

from __future__ import annotations

import threading
from collections import Counter, deque

from hardware.interfaces import ForceEvent, ForceEventKind

KEPT = 1000  # events that nobody has asked for; older ones are counted only


class EventLog:
    """Events that one thread adds and another takes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: deque[ForceEvent] = deque(maxlen=KEPT)
        self._counts: Counter[ForceEventKind] = Counter()

    def clear(self) -> None:
        with self._lock:
            self._events.clear()
            self._counts.clear()

    def add(self, event: ForceEvent) -> None:
        with self._lock:
            self._events.append(event)
            self._counts[event.kind] += event.readings

    def take(self) -> tuple[ForceEvent, ...]:
        """Events since the last call, oldest first."""
        with self._lock:
            events = tuple(self._events)
            self._events.clear()
        return events

    def counts(self) -> dict[ForceEventKind, int]:
        with self._lock:
            return dict(self._counts)
