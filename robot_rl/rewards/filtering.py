"""The temporal filter: probabilities of frames → a score, and by thresholds a decision.

One frame decides nothing, because errors come in bursts. Of frame t with probability p_t, the *level* follows p_t with
a play of h, the hysteresis, and the *score* is the k-th largest level among the latest n frames:

    v_t = min(max(v_{t−1}, p_t), p_t + h)            s_t = k-th largest of v_{t−n+1} … v_t, 0 before k frames

A frame is above a threshold θ while v_t > θ: from p_t > θ until p_t ≤ θ − h, as a Schmitt trigger switches. So s_t > θ
says that k of n frames are above θ. The filter itself knows no threshold; therefore an episode would be taken for a
success at exactly those θ that are below its largest score, which is all that `robot_rl.rewards.promise` asks of it.

With `FilterSettings.recheck` a success has to be *released and checked again*: the largest score while the hand held
is only a candidate, c; once it lets go, frames count anew, and the score is min(c, s_t). While held it is 0. A burst of
errors lasts as long as the picture stays what it is, and letting go changes the picture.

Frames are told apart by the stamp of the picture: a copy of one, or one that came late, is no evidence. A frame outside
the guards (pose, force: predicates of the caller's) counts as one of probability 0.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from robot_rl.contract import ContractError
from robot_rl.contract.ranges import Count, NonNegative, RangeError, Seconds, Share, check


@dataclass(frozen=True)
class FilterSettings:
    """Settings of the filter. Raises `RangeError`.

    Attributes:
        needed: k, frames that have to be above the threshold.
        window: n, latest frames that they are counted among.
        hysteresis: h, by how much less than the threshold keeps a frame above it.
        recheck: [s] after the hand has let go in which the frames have to confirm the success; 0: none is asked for.
        gap: [s] without a frame after which those before it no longer count.
    """

    needed: Count = 3
    window: Count = 5
    hysteresis: Share = 0.1
    recheck: NonNegative = 0.0
    gap: Seconds = 0.5

    def __post_init__(self) -> None:
        check(self)
        if self.needed > self.window:
            raise RangeError(f"needed={self.needed} must be at most window={self.window}, the frames it is counted in")


@dataclass(frozen=True)
class Thresholds:
    """Scores above which a decision falls. Raises `RangeError`.

    Attributes:
        success: a score above it is a success.
        doubt: a score above it, but not above ``success``, is for a person to judge; the same as ``success``: none is.
    """

    success: Share
    doubt: Share

    def __post_init__(self) -> None:
        check(self)
        if self.doubt > self.success:
            raise RangeError(f"doubt={self.doubt} must be at most success={self.success}")


class Decision(enum.Enum):
    """Result of the frames so far."""

    NOT_YET = "not yet"
    UNCERTAIN = "uncertain"
    SUCCESS = "success"


class Frame(NamedTuple):
    """A judged picture.

    Attributes:
        stamp_ns: when it was taken [ns].
        probability: of success, 0 to 1.
        guarded: whether all guards hold.
        released: whether the hand has let go.
    """

    stamp_ns: int
    probability: float
    guarded: bool = True
    released: bool = False


@dataclass(frozen=True)
class FilterState:
    """Memory of an episode; one begins with ``FilterState()``.

    Attributes:
        score: of the frames so far, 0 to 1.
        stamp_ns: of the latest frame; None before the first.
        levels: v of the latest ``window`` frames at most, oldest first.
        released_ns: stamp of the first frame since the hand let go; None while it holds.
        candidate: largest score while it held, as long as that can still be confirmed; 0 without a recheck.
    """

    score: float = 0.0
    stamp_ns: int | None = None
    levels: tuple[float, ...] = ()
    released_ns: int | None = None
    candidate: float = 0.0


def step(settings: FilterSettings, state: FilterState, frame: Frame) -> FilterState:
    """The state after ``frame``. Raises `ContractError` for a probability outside 0 to 1."""
    if not 0.0 <= frame.probability <= 1.0:
        raise ContractError(f"probability={frame.probability} of the frame of {frame.stamp_ns} ns must be from 0 to 1")
    if state.stamp_ns is not None and frame.stamp_ns <= state.stamp_ns:
        return state
    turned = settings.recheck > 0.0 and frame.released != (state.released_ns is not None)
    silent = state.stamp_ns is None or frame.stamp_ns - state.stamp_ns > settings.gap * 1e9
    levels = _levels(settings, () if turned or silent else state.levels, frame)
    score = sorted(levels)[-settings.needed] if len(levels) >= settings.needed else 0.0
    after = FilterState(score, frame.stamp_ns, levels)
    return after if settings.recheck == 0.0 else _rechecked(settings, state, after, frame.released)


def decide(score: float, thresholds: Thresholds) -> Decision:
    """The decision at ``score``."""
    if score > thresholds.success:
        return Decision.SUCCESS
    return Decision.UNCERTAIN if score > thresholds.doubt else Decision.NOT_YET


def asks_release(state: FilterState, thresholds: Thresholds) -> bool:
    """Whether the hand should let go now, so that a success can be checked again."""
    return state.released_ns is None and state.candidate > thresholds.success


def scores(settings: FilterSettings, frames: Iterable[Frame]) -> np.ndarray:
    """Score ``(T,)`` at each frame of one episode. Raises `ContractError` as `step` does."""
    state, found = FilterState(), []
    for frame in frames:
        state = step(settings, state, frame)
        found.append(state.score)
    return np.array(found, dtype=np.float64)


def peak(settings: FilterSettings, frames: Iterable[Frame]) -> float:
    """Largest score of an episode: whatever the threshold, no less would have been seen online.

    A candidate that no recheck has refuted counts as if one had confirmed it: where an episode was recorded without
    the filter asking for a release, nobody knows what the pictures after it would have shown.

    Raises `ContractError` as `step` does.
    """
    state, highest = FilterState(), 0.0
    for frame in frames:
        after = step(settings, state, frame)
        dropped = after.candidate < state.candidate
        refuted = frame.released and len(state.levels) >= settings.needed
        highest = max(highest, after.score, state.candidate if dropped and not refuted else 0.0)
        state = after
    return max(highest, state.candidate)


def _levels(settings: FilterSettings, before: tuple[float, ...], frame: Frame) -> tuple[float, ...]:
    probability = float(frame.probability) if frame.guarded else 0.0
    level = min(max(before[-1], probability), probability + settings.hysteresis) if before else probability
    return (*before, level)[-settings.window :]


def _rechecked(settings: FilterSettings, before: FilterState, after: FilterState, released: bool) -> FilterState:
    """``after``, whose score is of its window alone, as it counts where a success has to be checked again."""
    now, held = after.stamp_ns, before.released_ns is None
    if now is None or not released:
        candidate = max(before.candidate, after.score) if held else after.score
        return replace(after, score=0.0, candidate=candidate)
    since = now if before.released_ns is None else before.released_ns
    if now - since > settings.recheck * 1e9:
        return replace(after, score=0.0, released_ns=since)
    return replace(after, score=min(before.candidate, after.score), released_ns=since, candidate=before.candidate)
