"""The link to an arm of another computer: how far its clock is from ours, and whether an episode may rely on the link.

Clocks are compared as by NTP. A question leaves here at t₁, is answered there at t₂, and the answer is back at t₃:

    offset = t₂ − (t₁ + t₃)/2        round trip = t₃ − t₁        |error of the offset| ≤ (round trip)/2

Of the latest exchanges the one with the shortest round trip is believed, as NTP's clock filter does: what a message
waits on its way makes its round trip longer. Pure: times are arguments.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from robot_rl.contract.ranges import Positive, Seconds, check

COMPRESSED: Literal["compressed"] = "compressed"
KEPT = 25  # exchanges that are believed: 5 s of them
FEWEST = 5  # before anything is said of the clocks
MS = 1e-6  # [ms/ns]


@dataclass(frozen=True)
class LinkConfig:
    """Settings of the link to an arm of another computer.

    Attributes:
        offset_limit: no episode begins or goes on unless the two clocks are known to agree within this [s]: stamps of
            one are compared with those of the other.
        silence: [s] without an answer of the other computer after which the link counts as lost.
        patience: [s] without the arm, at the start and after the link was lost, before the job gives up.
        images: how the session gets pictures: ``compressed`` (JPEG) or ``raw``.
    """

    offset_limit: Positive = 0.02
    silence: Seconds = 2.0
    patience: Seconds = 120.0
    images: Literal["compressed", "raw"] = COMPRESSED

    def __post_init__(self) -> None:
        check(self)


class Exchange(NamedTuple):
    """A question and its answer: ``asked`` and ``heard`` by our clock, ``answered`` by the other, all in ns."""

    asked: int
    answered: int
    heard: int

    @property
    def offset(self) -> float:
        """By how much the other clock is ahead [ns], as far as both ways took the same time."""
        return self.answered - 0.5 * (self.asked + self.heard)

    @property
    def round_trip(self) -> int:
        """[ns]"""
        return self.heard - self.asked


class Clocks(NamedTuple):
    """The other clock as compared with ours, all in ms.

    Attributes:
        offset: by how much it is ahead.
        uncertainty: the most that ``offset`` may be wrong by.
        jitter: root mean square of the difference between the offsets of successive exchanges.
        round_trip: median.
    """

    offset: float
    uncertainty: float
    jitter: float
    round_trip: float

    def __str__(self) -> str:
        ahead = f"{abs(self.offset):.1f} ms {'ahead' if self.offset >= 0.0 else 'behind'}"
        return (
            f"the arm's clock is {ahead} (±{self.uncertainty:.1f}, jitter {self.jitter:.1f} ms), "
            f"round trip {self.round_trip:.1f} ms"
        )


class Link:
    """Present knowledge of the link.

    Args:
        config: see `LinkConfig`.
    """

    def __init__(self, config: LinkConfig) -> None:
        self._config = config
        self._exchanges: deque[Exchange] = deque(maxlen=KEPT)
        self._heard = -np.inf  # steady time of the last answer [s]
        self._asked = self._answered = 0

    def ask(self) -> None:
        """A question goes out."""
        self._asked += 1

    def count_anew(self) -> None:
        """Forget how many questions were lost."""
        self._asked = self._answered = 0

    @property
    def loss(self) -> float:
        """Share of the questions that had no answer, 0–1; the latest one may still get its own."""
        return max(0.0, 1.0 - self._answered / (self._asked - 1)) if self._asked > 1 else 0.0

    def hear(self, exchange: Exchange, now: float) -> None:
        """Take in an answer that came at the steady time ``now`` [s]."""
        if exchange.round_trip < 0:  # our own clock was set back meanwhile
            return
        self._answered += 1
        if now - self._heard > self._config.silence:
            self._exchanges.clear()  # while nobody looked, either clock may have been set
        self._heard = now
        self._exchanges.append(exchange)

    def clocks(self) -> Clocks | None:
        """The clocks as last compared; None before `FEWEST` exchanges."""
        if len(self._exchanges) < FEWEST:
            return None
        best = min(self._exchanges, key=lambda exchange: exchange.round_trip)
        offsets = np.array([exchange.offset for exchange in self._exchanges])
        jitter = float(np.sqrt(np.mean(np.diff(offsets) ** 2)))
        round_trip = float(np.median([exchange.round_trip for exchange in self._exchanges]))
        return Clocks(MS * best.offset, MS * 0.5 * best.round_trip, MS * jitter, MS * round_trip)

    def silent(self, now: float) -> float:
        """Since when no answer has come [s], at the steady time ``now`` [s]."""
        return now - self._heard

    def hindrance(self, now: float) -> str:
        """Why no episode may rely on the link, in words; "" when one may."""
        if self.silent(now) > self._config.silence:
            return "the other computer does not answer"
        clocks = self.clocks()
        if clocks is None:
            return "the clocks are being compared"
        limit = 1000.0 * self._config.offset_limit
        if abs(clocks.offset) + clocks.uncertainty <= limit:
            return ""
        if abs(clocks.offset) > limit:
            return f"{clocks}; more than link.offset_limit, {limit:g} ms: synchronise them (chrony, PTP)"
        return f"{clocks}, so nobody knows whether they agree within link.offset_limit, {limit:g} ms"
