"""The update-to-data governor: how many updates the data received so far has earned.

``due = ⌊earned⌋ − made``, where each step after the first ``start_after`` earns ``target`` updates. Updates never run
ahead of the data, whatever stalls. A learner that falls behind, or that was started again from a checkpoint of a while
ago, owes the difference and makes it good. One that goes on with another target has earned by the old one so far.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class UtdGovernor:
    """Counts steps in and updates out.

    Attributes:
        target: updates per environment step.
        start_after: steps to wait for before the first update; they earn none.
        received, made, earned: the counters; part of a checkpoint.
    """

    target: float
    start_after: int = 100
    received: int = 0
    made: int = 0
    earned: float = 0.0

    def __post_init__(self) -> None:
        if not (self.target > 0.0 and math.isfinite(self.target)):
            raise ValueError(f"the update-to-data target must be positive, not {self.target}")
        if self.start_after < 0:
            raise ValueError(f"start_after {self.start_after} must be ≥ 0")

    @property
    def counted(self) -> int:
        """Steps that earn updates."""
        return max(0, self.received - self.start_after)

    @property
    def due(self) -> int:
        """Updates to be made now."""
        return math.floor(self.earned) - self.made

    @property
    def ratio(self) -> float:
        """Updates really made per counted step; 0 before the first."""
        return self.made / self.counted if self.counted else 0.0

    def receive(self, steps: int) -> None:
        """New environment steps arrived."""
        if steps < 0:
            raise ValueError(f"cannot receive {steps} steps")
        before = self.counted
        self.received += steps
        self.earned += self.target * (self.counted - before)

    def make(self, updates: int) -> None:
        """Updates were made. Raises ValueError when they were not due."""
        if not 0 <= updates <= self.due:
            raise ValueError(f"{updates} updates made where {self.due} were due")
        self.made += updates

    def unmake(self, updates: int) -> None:
        """The last updates turned out bad and were undone. Raises ValueError when fewer were made."""
        if not 0 <= updates <= self.made:
            raise ValueError(f"{updates} updates undone where {self.made} were made")
        self.made -= updates

    def state(self) -> dict[str, float]:
        """Counters for a checkpoint."""
        return {"received": self.received, "made": self.made, "earned": self.earned}

    def restore(self, state: dict[str, float]) -> None:
        """Go on from a checkpoint's counters."""
        self.received, self.made = int(state["received"]), int(state["made"])
        self.earned = float(state.get("earned", self.target * self.counted))  # older checkpoints have none
