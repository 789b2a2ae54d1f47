"""The improvement gate: which of a learner's policies is handed on for evaluation and deployment.

Learning goes up and down, and the newest parameters are not always the best that were. The *champion* is replaced by
the policy of now unless success over the last ``window`` episodes without intervention has dropped significantly below
the best window so far. The arm goes on learning with the newest parameters meanwhile: the gate holds nothing back but
the promotion.

Significantly: by Fisher's exact test, one-sided: were both windows equally good, a window as bad as the present one
would come up with a probability below ``level``. The comparison is with the *best* window and not with the champion's,
so that many small drops, each of them insignificant, do not add up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from typing import Any


@dataclass(frozen=True)
class Record:
    """How a policy did: ``successes`` in ``episodes``; ``version`` is of the parameters that acted last."""

    version: int
    successes: int
    episodes: int

    @property
    def rate(self) -> float:
        return self.successes / self.episodes if self.episodes else 0.0


def drop_probability(now: Record, best: Record) -> float:
    """Probability of so few successes as ``now`` has, or fewer, were both records of equally good policies."""
    successes, total = now.successes + best.successes, now.episodes + best.episodes
    fewest = max(0, successes - best.episodes)
    ways = sum(comb(now.episodes, k) * comb(best.episodes, successes - k) for k in range(fewest, now.successes + 1))
    return ways / comb(total, successes)


class ImprovementGate:
    """Judges after each episode.

    Args:
        window: episodes that a judgement looks at; before as many there is none, and no champion.
        level: probability below which a drop is significant.

    Attributes:
        champion: of the promoted policy at its promotion; None before the first.
        best: the best window so far, the newest of several that are equally good.
    """

    def __init__(self, window: int = 20, level: float = 0.05) -> None:
        if window < 1 or not 0.0 < level < 1.0:
            raise ValueError(f"a gate needs a window of at least one episode, not {window}, and a level in (0, 1)")
        self.window = window
        self.level = level
        self.champion: Record | None = None
        self.best: Record | None = None
        self._recent: deque[bool] = deque(maxlen=window)
        self._version = -1

    @property
    def now(self) -> Record:
        """The policy of now, over the episodes of the window."""
        return Record(self._version, sum(self._recent), len(self._recent))

    @property
    def held_back(self) -> bool:
        """Whether the policy of now is significantly worse than the best was."""
        return self.best is not None and drop_probability(self.now, self.best) < self.level

    def add(self, success: bool, version: int) -> bool:
        """Judge after an episode that the policy drove alone; returns whether ``version`` becomes the champion."""
        self._recent.append(success)
        self._version = version
        if len(self._recent) < self.window or self.held_back:
            return False
        self.champion = self.now
        if self.best is None or self.now.rate >= self.best.rate:
            self.best = self.now
        return True

    def state(self) -> dict[str, Any]:
        """JSON values for a checkpoint."""
        records = {"champion": self.champion, "best": self.best}
        return {name: None if record is None else vars(record) for name, record in records.items()} | {
            "recent": list(self._recent),
            "version": self._version,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.champion, self.best = (
            None if state[name] is None else Record(**state[name]) for name in ("champion", "best")
        )
        self._recent = deque((bool(success) for success in state["recent"]), maxlen=self.window)
        self._version = int(state["version"])
