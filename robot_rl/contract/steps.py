"""What a policy sees and answers, and the step that comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from controllers.spatial import Pose
from robot_rl.contract.errors import ContractError
from robot_rl.contract.outcome import Outcome, Source
from robot_rl.contract.reading import Reading


@dataclass(frozen=True, eq=False)
class Observation:
    """What a policy sees: ``state (d,)`` float32, scaled, and images; ``seq`` counts observations of a session."""

    stamp_ns: int
    seq: int
    state: np.ndarray
    images: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ActionChunk:
    """A policy's answer: ``actions (h, a)`` float32 in [−1, 1], one row a control period.

    ``stamp_ns`` is the stamp of the observation it answers; ``version`` that of the parameters that made it (−1: none).
    """

    stamp_ns: int
    actions: np.ndarray
    version: int = -1

    def __post_init__(self) -> None:
        actions = np.asarray(self.actions, dtype=np.float32)
        if actions.ndim != 2 or len(actions) == 0:
            raise ContractError(f"an action chunk has shape (h, a) with h ≥ 1, not {actions.shape}")
        if not np.isfinite(actions).all():
            raise ContractError(f"action chunk for observation {self.stamp_ns} is not finite: {actions}")
        object.__setattr__(self, "actions", actions)


@dataclass(frozen=True)
class Timing:
    """How a step went in time, in milliseconds.

    ``decision_ms``: observation sent → action received; ``period_ms``: since the previous observation, robot time;
    ``version``: policy parameters that acted; ``late``: no policy answer came in time, so the arm held.
    """

    decision_ms: float = 0.0
    period_ms: float = 0.0
    version: int = -1
    late: bool = False


@dataclass(frozen=True, eq=False)
class Step:
    """One transition, complete: recorded when the *next* reading is known.

    An observation is not part of it: whoever reads a step derives it from the reading, by the task.

    Attributes:
        reading, next_reading: all that was measured before and after.
        policy_action: what the policy wanted ``(a,)`` (zeros when it was not asked).
        action: what was executed ``(a,)``, after intervention and workspace limits.
        source: who decided ``action``.
        outcome: reward and ending after the action.
        target: the TCP pose that was commanded, in the base frame.
        cost: share of the step, 0–1, during which the passivity filter held back what was asked for.
    """

    reading: Reading
    policy_action: np.ndarray
    action: np.ndarray
    source: Source
    outcome: Outcome
    next_reading: Reading
    target: Pose
    timing: Timing
    cost: float = 0.0
