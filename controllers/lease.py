"""Who may command the arm: one writer at a time, by priority.

    stop > person > reset > policy

A writer takes the lease by commanding and keeps it by going on to: it lapses after ``timeout`` without a command. A
higher priority takes it away at once; anybody else of the same or a lower one is refused and told who has it. Only a
stop does not lapse: it holds until it is released. Time in which nobody listened does not count (`Lease.excuse`).

Pure: time is an argument.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable
from typing import NamedTuple

TIMEOUT = 0.3  # [s]: three control periods at 10 Hz


class LeaseError(ValueError):
    """A lease, or a release of one, that makes no sense."""


class Priority(enum.IntEnum):
    """Party on whose behalf somebody commands; a higher number goes first."""

    POLICY = 0
    RESET = 1
    PERSON = 2
    STOP = 3


class Writer(NamedTuple):
    """Somebody who commands: an opaque ``id`` that tells writers apart, and a ``name`` for messages to people."""

    id: Hashable
    name: str


class Holding(NamedTuple):
    """Holder of the lease, their priority, and the time of their last command [s]."""

    writer: Writer
    priority: Priority
    commanded: float


class Claim(NamedTuple):
    """The answer to a command.

    Attributes:
        granted: the writer holds the lease now.
        refusal: why not, naming both; "" when granted.
        news: this writer is refused for the first time since it last held the lease, or since the holder changed.
    """

    granted: bool
    refusal: str = ""
    news: bool = False


class Lease:
    """The lease on one device.

    Args:
        timeout: time without a command after which the holder has let go [s].

    Raises:
        LeaseError: at construction, when ``timeout`` is not a finite positive time.
    """

    def __init__(self, timeout: float = TIMEOUT) -> None:
        if not (math.isfinite(timeout) and timeout > 0.0):
            raise LeaseError(f"the timeout of a lease must be finite and positive, not {timeout} s")
        self._timeout = timeout
        self._held: Holding | None = None
        self._told: set[Hashable] = set()  # whom the present holder has been preferred to

    def holder(self, now: float) -> Holding | None:
        """Who holds the lease at ``now`` [s], or None."""
        held = self._held
        if held is None or (held.priority is not Priority.STOP and now - held.commanded > self._timeout):
            return None
        return held

    def claim(self, writer: Writer, priority: Priority | None, now: float) -> Claim:
        """Somebody commands at ``now`` [s]; without a ``priority``, at the one they have, or the lowest.

        The holder keeps the lease and takes on the priority it commands at, lower ones included; only from a stop there
        is no way back but `release`.
        """
        held = self.holder(now)
        if priority is None:
            priority = held.priority if held is not None and held.writer.id == writer.id else Priority.POLICY
        if held is None or priority > held.priority or (writer.id == held.writer.id and _may_lower(held, priority)):
            if held is None or writer.id != held.writer.id:
                self._told.clear()
            self._held = Holding(writer, priority, now)
            return Claim(True)
        news = writer.id not in self._told
        self._told.add(writer.id)
        return Claim(False, f"{writer.name} ({priority.name.lower()}) may not command: {_describe(held)}", news)

    def excuse(self, seconds: float) -> None:
        """Count no silence for the last ``seconds`` [s]: nobody listened.

        Raises `LeaseError` when they are negative or not finite.
        """
        if not (math.isfinite(seconds) and seconds >= 0.0):
            raise LeaseError(f"a pause must be finite and not negative, not {seconds} s")
        if self._held is not None:
            self._held = self._held._replace(commanded=self._held.commanded + seconds)

    def release(self, writer: Writer) -> None:
        """The holder lets go. Raises `LeaseError` when it is somebody else who holds the lease."""
        if self._held is None:
            return
        if self._held.writer.id != writer.id:
            raise LeaseError(f"{writer.name} cannot release a lease that it does not hold: {_describe(self._held)}")
        self._held = None

    def rename(self, before: Writer, after: Writer) -> None:
        """Hand over to ``after`` whatever ``before`` holds: they turn out to be the same."""
        if self._held is not None and self._held.writer.id == before.id:
            self._held = self._held._replace(writer=after)


def _may_lower(held: Holding, priority: Priority) -> bool:
    return held.priority is not Priority.STOP or priority is Priority.STOP


def _describe(held: Holding) -> str:
    return f"{held.writer.name} has the lease ({held.priority.name.lower()})"
