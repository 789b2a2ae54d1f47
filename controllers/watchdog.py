"""Whether whoever commands the arm is still there, told by the numbers and the times of what it sends.

Used by the controller in every tick, and by drivers that only hand over poses (`hardware.crisp`). Times [s] are of any
steady clock.
"""

from __future__ import annotations

import math

import numpy as np

from controllers.gate import Refused
from controllers.state import Mode


class Watchdog:
    """The deadlines of targets: without one for ``hold_after`` [s] the arm holds, for ``damp_after`` [s] it damps out.

    The first one of a motion may take ``first_after`` [s], where that is longer than ``damp_after``: the arm holds
    meanwhile. Poses and joint positions share their numbers.
    """

    __slots__ = ("_damp_after", "_fed", "_first_after", "_hold_after", "_patience", "_seq")

    def __init__(self, hold_after: float, damp_after: float, first_after: float = 0.0) -> None:
        self._hold_after, self._damp_after = hold_after, damp_after
        self._first_after = max(damp_after, first_after)
        self.start(0.0)

    def start(self, now: float) -> None:
        """Begin a motion: numbers start afresh, and the deadlines run from ``now``."""
        self._fed, self._seq, self._patience = now, -1, self._first_after

    def require_newer(self, seq: int) -> None:
        """Raises `Refused` unless ``seq`` is above the number of the last target that was taken."""
        _require_newer(seq, self._seq)

    def feed(self, seq: int, now: float) -> None:
        """Target ``seq`` was taken."""
        self._seq, self._fed, self._patience = seq, now, self._damp_after

    def due(self, mode: Mode, now: float) -> Mode:
        """The mode that follows ``mode`` at ``now``: DAMP, HOLD, or the same."""
        age = now - self._fed
        if age > self._patience:
            return Mode.DAMP
        if age > self._hold_after and mode is Mode.TRACK:
            return Mode.HOLD
        return mode

    def silence(self, now: float) -> str:
        """How long no target has come, in words."""
        return f"no setpoint for {now - self._fed:.3f} s"


class FadingWrench:
    """A commanded wrench: whole for ``hold_after`` [s], then to zero within ``ramp`` [s] unless it is renewed.

    Attributes:
        value: as it was commanded last ``(6,)`` [N, N·m]; zero before.
    """

    __slots__ = ("_fed", "_hold_after", "_ramp", "_seq", "value")

    def __init__(self, hold_after: float, ramp: float) -> None:
        self._hold_after, self._ramp = hold_after, ramp
        self.start()

    def start(self) -> None:
        """Begin a motion, with no wrench; numbers start afresh."""
        self.value = np.zeros(6)
        self._fed, self._seq = -math.inf, -1

    def require_newer(self, seq: int) -> None:
        """Raises `Refused` unless ``seq`` is above the number of the last wrench that was taken."""
        _require_newer(seq, self._seq)

    def feed(self, value: np.ndarray, seq: int, now: float) -> None:
        """Wrench ``seq``, of ``value (6,)`` [N, N·m], was taken."""
        self.value, self._seq, self._fed = value, seq, now

    def share(self, now: float) -> float:
        """How much of it to exert, 0–1."""
        share = 1.0 - (now - self._fed - self._hold_after) / self._ramp
        if share <= 0.0:
            return 0.0
        return min(share, 1.0)


def _require_newer(seq: int, last: int) -> None:
    if seq <= last:
        raise Refused(f"stale: number {last} was taken before")
