"""Promise of a threshold: how often, at most, an episode that fails is taken for a success.

The unit is the *episode*, because the frames of one episode are one draw. Of n held-out episodes that failed, each
counts by its largest score after the temporal filter, M_(1) ≤ … ≤ M_(n), and the threshold is one of these:

    θ = M_(n−k)      with at most k of them above it      (a score *above* θ is a success)

p(θ), the share of all failures that would be above θ, is a random number, since θ is. Were the next episode drawn as
those n were, its law is known whatever the scores' (tolerance limits: Wilks 1941; conformal prediction: Vovk 2012):
p(θ) ~ Beta(k + 1, n − k), or less where scores are equal. Therefore

    on average over calibrations   E p(θ) = (k + 1) / (n + 1)
    with confidence c              p(θ) ≤ B⁻¹(c; k + 1, n − k)

and the second is the exact one-sided upper bound of Clopper and Pearson (1934) on k errors in n. It holds for a
threshold chosen by its rank, as here; one chosen by looking at the errors would need other episodes to be measured on.
The promise takes the largest k that keeps the bound, which depends on n alone. Where even k = 0 does not keep it, no
threshold does, and the promise says how many more failures are needed.

It ends when episodes are no longer drawn as those were: another policy, light, or object (`robot_rl.rewards.drift`).

scipy is imported where it computes: that takes half a second, which each process of a job would spend at its start.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt, Lt

from robot_rl.contract import ContractError
from robot_rl.contract.ranges import check

Chance = Annotated[float, Gt(0), Lt(1)]


@dataclass(frozen=True)
class Wanted:
    """A rate of false successes that shall not be exceeded. Raises `RangeError`.

    Attributes:
        rate: of the episodes that fail, the share that may be taken for a success.
        confidence: with which that has to hold.
    """

    rate: Chance = 0.01
    confidence: Chance = 0.95

    def __post_init__(self) -> None:
        check(self)

    def __str__(self) -> str:
        return f"≤ {100.0 * self.rate:.3g} % of failures at {100.0 * self.confidence:.3g} % confidence"


class PromiseError(ContractError):
    """A promise that the episodes cannot support; the message says how many more are needed."""


@dataclass(frozen=True)
class Promise:
    """A threshold and how often, at most, failures are above it.

    Attributes:
        wanted: what was asked for.
        threshold: a score above it is a success.
        failures: n, held-out episodes that failed.
        allowed: k, of these that may be above the threshold.
        exceeding: of these that are; fewer than ``allowed`` where scores are equal.
        bound: on the share of failures above the threshold, with ``wanted.confidence``.
        average: of that share, over calibrations.
        missing: failures that are needed besides, all of them below the threshold; 0: the promise is kept.
    """

    wanted: Wanted
    threshold: float
    failures: int
    allowed: int
    exceeding: int
    bound: float
    average: float
    missing: int

    @property
    def kept(self) -> bool:
        """Whether the episodes support what was asked for."""
        return self.missing == 0

    def require(self) -> None:
        """Raises `PromiseError` unless the promise is kept."""
        if not self.kept:
            raise PromiseError(self.refusal)

    @property
    def refusal(self) -> str:
        """Reason why the promise is not kept, as one line; "" where it is."""
        if self.kept:
            return ""
        return (
            f"{self.failures} held-out failures cannot promise {self.wanted}: that takes "
            f"{self.failures + self.missing} without an error, record {self.missing} more; "
            f"these support ≤ {100.0 * self.bound:.2g} %"
        )


def upper_bound(errors: int, episodes: int, confidence: float) -> float:
    """Clopper and Pearson's one-sided upper bound on a share, after ``errors`` in ``episodes``."""
    from scipy.special import betaincinv

    _check_count(errors, episodes)
    return 1.0 if errors == episodes else float(betaincinv(errors + 1, episodes - errors, confidence))


def lower_bound(hits: int, episodes: int, confidence: float) -> float:
    """Clopper and Pearson's one-sided lower bound on a share, after ``hits`` in ``episodes``."""
    from scipy.special import betaincinv

    _check_count(hits, episodes)
    return 0.0 if hits == 0 else float(betaincinv(hits, episodes - hits + 1, 1.0 - confidence))


def allowed_errors(episodes: int, wanted: Wanted) -> int:
    """Most errors in ``episodes`` at which `upper_bound` is no more than wanted; −1: not even none is."""
    from scipy.special import bdtr

    below = bdtr(np.arange(episodes + 1.0), episodes, wanted.rate)  # P(errors ≤ k) at the wanted rate
    return int(np.searchsorted(below, 1.0 - wanted.confidence, side="right")) - 1


def episodes_needed(wanted: Wanted) -> int:
    """Fewest episodes without an error that keep the bound: (1 − rate)ⁿ ≤ 1 − confidence."""
    return math.ceil(math.log1p(-wanted.confidence) / math.log1p(-wanted.rate) - 1e-9)


def conformal_threshold(peaks: Sequence[float], rate: float) -> float:
    """The ⌈(1 − rate)(n + 1)⌉-th smallest of n ``peaks``: another is above it with a chance of ``rate`` at most.

    That holds on average over sets of peaks, not for each of them. ``rate`` is above 0 and below 1.

    Raises `PromiseError` where n is too small.
    """
    rank = len(peaks) + 1 - math.floor(rate * (len(peaks) + 1) + 1e-9)
    if rank > len(peaks):
        needed = math.ceil(1.0 / rate - 1.0 - 1e-9)
        raise PromiseError(
            f"{len(peaks)} held-out episodes cannot give a threshold for a rate of {100.0 * rate:.3g} %: "
            f"that takes {needed}, record {needed - len(peaks)} more"
        )
    return float(np.sort(peaks)[rank - 1])


def doubt_threshold(peaks: Sequence[float], success: float, rate: float) -> float:
    """The threshold of doubt, above which a person is asked: the largest that misses few of the successes.

    Args:
        peaks: largest scores of held-out episodes that succeeded.
        success: threshold of a success, which the one of doubt is never above; it is the answer where ``peaks`` is
            empty.
        rate: chance that another success stays below it, on average; where ``peaks`` are too few for it, the lowest
            of them is taken.
    """
    if not len(peaks):
        return success
    rank = min(max(1, math.floor(rate * (len(peaks) + 1) + 1e-9)), len(peaks))
    lowest = np.nextafter(np.sort(peaks)[rank - 1], 0.0)  # that peak itself is above it
    return float(min(lowest, success))


def promise(peaks: Sequence[float], wanted: Wanted) -> Promise:
    """The lowest threshold that keeps what is wanted, or the highest of all with what it can promise.

    Args:
        peaks: largest score of each held-out episode that failed, after the temporal filter, 0 to 1. The episodes were
            neither learnt from nor used to stop the training.

    Raises `PromiseError` without any.
    """
    count, needed = len(peaks), episodes_needed(wanted)
    if not count:
        raise PromiseError(f"no held-out failure to choose a threshold by; {wanted} takes {needed} without an error")
    ordered = np.sort(np.asarray(peaks, dtype=np.float64))
    if not (ordered[0] >= 0.0 and ordered[-1] <= 1.0):  # NaN is sorted to the end
        raise ContractError(f"peaks of {ordered[0]} to {ordered[-1]} must be from 0 to 1")
    allowed = max(0, allowed_errors(count, wanted))
    threshold = float(ordered[count - 1 - allowed])
    return Promise(
        wanted=wanted,
        threshold=threshold,
        failures=count,
        allowed=allowed,
        exceeding=int((ordered > threshold).sum()),
        bound=upper_bound(allowed, count, wanted.confidence),
        average=(allowed + 1) / (count + 1),
        missing=max(0, needed - count),
    )


def _check_count(errors: int, episodes: int) -> None:
    if not 0 <= errors <= episodes or episodes < 1:
        raise ContractError(f"{errors} of {episodes} episodes: there must be one at least, and no more than all")
