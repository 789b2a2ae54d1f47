"""A judge's doubt, and the person who is asked about it.

A score passes through the zone of doubt on its way to any success. So the person is asked when a doubt has lasted for
``session.doubt_after``, or when the time limit is there, and not a second time before the judge has been sure again.
Robot time [s] is given; nothing here waits.
"""

from __future__ import annotations

from robot_rl.contract import Outcome
from robot_rl.session.config import SessionConfig

TOLERANCE = 1e-6  # [s] by which sums of control periods differ from what they say


class Doubt:
    """The doubt of one episode. It begins without any."""

    def __init__(self, config: SessionConfig) -> None:
        self._after, self._wait = config.doubt_after, config.doubt_wait
        self._since: float | None = None
        self._asked: float | None = None
        self._settled = False

    @property
    def asked(self) -> bool:
        """Whether the person has been asked, and has not answered yet."""
        return self._asked is not None

    def asks(self, outcome: Outcome, now: float, last: bool) -> bool:
        """Whether the person has to be asked about ``outcome``; ``last``: the time limit is there."""
        if not outcome.doubt:
            self._since, self._settled = None, False
            return False
        if self._since is None:
            self._since = now
        if not self._wait or self._settled or (now - self._since < self._after - TOLERANCE and not last):
            return False
        self._asked = now
        return True

    def unanswered(self, now: float) -> bool:
        """Whether the person has been waited for long enough."""
        return self._asked is not None and now - self._asked >= self._wait - TOLERANCE

    def settle(self) -> None:
        """There is an answer, or none is waited for any more."""
        self._asked, self._settled = None, True
