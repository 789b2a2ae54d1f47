"""The update-to-data governor: how many updates the data received so far has earned.

``due = ⌊target · (received − start_after)⌋ − made − forgiven``. Updates never run ahead of the data, whatever stalls;
a learner that falls behind owes at most ``max_debt`` updates, and what is forgiven is counted.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass


@dataclass
class UtdGovernor:
    """Counts steps in and updates out.

    Attributes:
        target: updates per environment step.
        start_after: steps to wait for before the first update; they earn none.
        max_debt: updates that may be owed.
        received, made, forgiven: the counters; part of a checkpoint.
    """

    target: float
    start_after: int = 100
    max_debt: int = 2000
    received: int = 0
    made: int = 0
    forgiven: int = 0

    def __post_init__(self) -> None:
        if not (self.target > 0.0 and math.isfinite(self.target)):
            raise ValueError(f"the update-to-data target must be positive, not {self.target}")
        if self.start_after < 0 or self.max_debt < 1:
            raise ValueError(f"start_after {self.start_after} must be ≥ 0 and max_debt {self.max_debt} ≥ 1")

    @property
    def counted(self) -> int:
        """Steps that earn updates."""
        return max(0, self.received - self.start_after)

    @property
    def due(self) -> int:
        """Updates to be made now."""
        return math.floor(self.target * self.counted) - self.made - self.forgiven

    @property
    def ratio(self) -> float:
        """Updates really made per counted step; 0 before the first."""
        return self.made / self.counted if self.counted else 0.0

    def receive(self, steps: int) -> None:
        """New environment steps arrived."""
        if steps < 0:
            raise ValueError(f"cannot receive {steps} steps")
        self.received += steps
        self.forgiven += max(0, self.due - self.max_debt)

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

    def state(self) -> dict[str, int]:
        """Counters for a checkpoint."""
        return {name: asdict(self)[name] for name in ("received", "made", "forgiven")}

    def restore(self, state: dict[str, int]) -> None:
        self.received, self.made, self.forgiven = (int(state[name]) for name in ("received", "made", "forgiven"))
