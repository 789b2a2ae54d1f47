"""Temporal ensembling: what is due now is the mean of all answers that say what is due now.

    a_t = Σ w_i A_{t−i} / Σ w_i,   w_i = exp(−m i),   i = 0 the oldest answer

as in ACT (Zhao et al., arXiv 2304.13705), but by robot time: an answer counts from its first action whose time is not
past, so answers may be late, and rates differ. The mean of a gripper's commands would be half open: there the newest
answer decides. Of places, positions have their mean, and orientations the rotation R that maximises Σ w_i tr(R_iᵀ R)
(Markley et al., "Averaging quaternions", 2007); answers of another kind than the newest do not count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from controllers.spatial import Pose
from robot_rl.contract import ActionChunk
from robot_rl.session.chunks import ROUNDING, Due, rows_of


class Ensemble:
    """The answers that still have something to say; the same to its user as a `ChunkBuffer`.

    Args:
        period: control period [s].
        gripper: whether the last axis of an action is a gripper's.
        decay: m; 0 weighs all answers alike, and the larger it is, the more does the oldest count.
    """

    def __init__(self, period: float, gripper: bool, decay: float) -> None:
        self._period, self._gripper, self._decay = period, gripper, decay
        self._plans: list[list[Due]] = []  # one an answer, the oldest first
        self._taken = 0  # answers

    def clear(self) -> None:
        self._plans = []

    def take(self, chunk: ActionChunk, asked: float, upcoming: float) -> int:
        """Add an answer that was asked for later than all before; see `ChunkBuffer.take`."""
        self._taken += 1
        rows = rows_of(chunk, asked, self._period, self._taken)
        fresh = [row for row in rows if row.end > upcoming + ROUNDING]
        if fresh:
            self._plans.append(fresh)
        return len(rows) - len(fresh)

    def due(self, now: float) -> Due | None:
        """The mean of what is in force at robot time ``now`` [s]: version, time and number are of the newest answer."""
        left = ([row for row in plan if row.end > now + ROUNDING] for plan in self._plans)
        self._plans = [plan for plan in left if plan]
        said = [plan[0] for plan in self._plans if plan[0].begin <= now + ROUNDING]
        return self._mean(said) if said else None

    def covered(self, now: float) -> int:
        """0: one more answer is always welcome."""
        return 0

    def ahead(self, now: float) -> list[np.ndarray]:
        """Nothing: no answer is meant to take up a mean."""
        return []

    def _mean(self, said: Sequence[Due]) -> Due:
        newest = said[-1]
        alike = [row for row in said if (row.place is None) == (newest.place is None)]
        weights = np.exp(-self._decay * np.arange(len(alike)))
        weights /= weights.sum()
        action = (weights @ np.array([row.action for row in alike])).astype(np.float32)
        if self._gripper:
            action[-1] = newest.action[-1]
        places = [row.place for row in alike if row.place is not None]
        return newest._replace(action=action, place=mean_place(places, weights) if places else None)


def mean_place(places: Sequence[Pose], weights: np.ndarray) -> Pose:
    """The mean of ``places`` by ``weights (n,)``, which add up to 1.

    Its quaternion is the eigenvector of Σ w_i q_i q_iᵀ with the largest eigenvalue, for which q and −q are the same.
    """
    quats = np.array([place.quat_xyzw for place in places])
    _, vectors = np.linalg.eigh((weights[:, None] * quats).T @ quats)
    return Pose(weights @ np.array([place.translation for place in places]), vectors[:, -1])
