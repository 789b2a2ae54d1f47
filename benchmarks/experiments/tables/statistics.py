"""Statistics of a few runs, by the formulas of rliable (Agarwal et al., 2021, "Deep RL at the Edge of the Statistical
Precipice").

Scores are ``(runs, tasks)``, in [0, 1]. Intervals are percentiles of a bootstrap that draws runs anew for each task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A statistic with its interval."""

    value: float
    low: float
    high: float


def interquartile_mean(scores: np.ndarray) -> float:
    """Mean of the middle half of all scores, a quarter of them cut off at each end (rounded down)."""
    ordered = np.sort(scores, axis=None)
    cut = int(0.25 * ordered.size)
    return float(ordered[cut : ordered.size - cut].mean())


def bootstrap(scores: Sequence[np.ndarray], statistic: Callable[..., float], seed: int = 0) -> Estimate:
    """``statistic(*scores)`` of arrays ``(runs, tasks)``, with its stratified bootstrap interval."""
    rng = np.random.default_rng(seed)
    drawn = [statistic(*(_resampled(part, rng) for part in scores)) for _ in range(RESAMPLES)]
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(drawn, (tail, 100.0 - tail))
    return Estimate(statistic(*scores), float(low), float(high))


def _resampled(scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    rows = rng.integers(0, len(scores), scores.shape)
    return np.take_along_axis(scores, rows, axis=0)


def probability_of_improvement(scores: np.ndarray, others: np.ndarray) -> float:
    """Probability that a run of ``scores`` beats one of ``others`` on a task, ties half; the mean over tasks."""
    ahead = scores[:, None, :] > others[None, :, :]
    equal = scores[:, None, :] == others[None, :, :]
    return float((ahead + 0.5 * equal).mean())


def area_under_curve(minutes: Sequence[float], rates: Sequence[float], end: float) -> float:
    """Mean of a curve of success over the robot minutes from 0 to ``end``, straight between its points.

    Before its first point, and after its last, it is as there.
    """
    grid = np.unique(np.clip([0.0, *minutes, end], 0.0, end))
    values = np.interp(grid, minutes, rates)
    return float(np.trapezoid(values, grid) / end)


def minutes_to_stay(minutes: Sequence[float], rates: Sequence[float], aim: float) -> float:
    """Robot minutes to the first evaluation from which on all are at ``aim`` or above; infinite when there is none."""
    stays = float("inf")
    for minute, rate in zip(reversed(minutes), reversed(rates), strict=True):
        if rate < aim:
            break
        stays = minute
    return stays
