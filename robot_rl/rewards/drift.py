"""The drift alarm: a promise holds for what it was measured on, and this says when that has gone.

*Features.* The distance of features x to those of the training is Mahalanobis's,

    D(x)² = (x − m)ᵀ Σ⁻¹ (x − m) / d,      Σ = ρ μ I + (1 − ρ) S,      μ = tr S / d

about 1 for what the training has seen. S is the mean over episodes of S_e, the mean of (x − m)(x − m)ᵀ in episode e,
which has few draws for its d (d + 1) / 2 entries, and ρ shrinks it towards the sphere, as Ledoit and Wolf (2004) do,

    ρ = min(β², δ²) / δ²,      δ² = ‖S − μI‖² / d,      β² = Σ_e ‖S_e − S‖² / (d E²)

with the E episodes for draws, because the frames of one are nearly the same picture. An episode counts by the largest
distance that *lasted*: the least one among ``window`` frames in a row. The alarm's threshold is the conformal one
(`promise.conformal_threshold`) over held-out episodes, so that one that is drawn as these were raises a false alarm
with a chance of ``rate`` at most.

*Policy.* A policy that learns to please the classifier looks for its errors. So a promise is of the policies that acted
in the episodes that it was measured on, and `policy_changed` says when another one acts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from robot_rl.contract import ContractError
from robot_rl.contract.ranges import Count, check
from robot_rl.rewards.promise import Chance, conformal_threshold


@dataclass(frozen=True)
class DriftSettings:
    """Settings of the alarm. Raises `RangeError`.

    Attributes:
        rate: of false alarms, by the episode.
        window: frames in a row that a distance has to last for.
    """

    rate: Chance = 0.05
    window: Count = 5

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, eq=False)
class DriftAlarm:
    """Distribution of features, and the distance beyond which they have left it. `fit` makes one.

    Attributes:
        mean: m ``(d,)``.
        whitening: W ``(d, d)`` with WᵀW = Σ⁻¹.
        shrinkage: ρ, 0 to 1.
        threshold: distance above which the alarm is raised.
        window: frames in a row that a distance has to last for.
        rate: of false alarms, by the episode.
    """

    mean: np.ndarray
    whitening: np.ndarray
    shrinkage: float
    threshold: float
    window: int
    rate: float

    def distance(self, features: np.ndarray) -> float:
        """D of ``features (d,)`` of one frame. Raises `ContractError` for another size, or what is not finite."""
        if features.shape != self.mean.shape or not np.isfinite(features).all():
            raise ContractError(f"features of shape {features.shape} must be finite and of shape {self.mean.shape}")
        return float(distances(features[None], self.mean, self.whitening)[0])


@dataclass(frozen=True)
class DriftState:
    """Memory of an episode; one begins with ``DriftState()``.

    Attributes:
        stamp_ns: of the latest picture; None before the first.
        recent: distances of the latest ``window`` frames at most, oldest first.
        lasting: distance that has lasted until now; 0 before ``window`` frames.
        alarm: whether one that lasted has been above the threshold in this episode.
    """

    stamp_ns: int | None = None
    recent: tuple[float, ...] = ()
    lasting: float = 0.0
    alarm: bool = False


def fit(learnt: Sequence[np.ndarray], held_out: Sequence[np.ndarray], settings: DriftSettings) -> DriftAlarm:
    """The alarm for features of a training. It costs d³ of time and d² of memory: pool what is a grid.

    Args:
        learnt: features ``(T_e, d)`` of each episode that was learnt from, two at least, with other ones each.
        held_out: features of each episode that was not. Frames are distinct pictures in both.

    Raises `ContractError` for features that do not fit together or do not vary, `PromiseError` for too few held out.
    """
    size = _size([*learnt, *held_out])
    if len(learnt) < 2:
        raise ContractError(f"{len(learnt)} episodes to learn a distribution from; it takes 2 at least")
    mean = np.mean([features.mean(axis=0, dtype=np.float64) for features in learnt], axis=0)
    second = np.zeros((size, size))
    for features in learnt:
        second += _second(features, mean) / len(learnt)
    sphere = np.trace(second) / size * np.eye(size)
    beside = float(np.sum((second - sphere) ** 2)) / size
    spread = sum(float(np.sum((_second(features, mean) - second) ** 2)) for features in learnt)
    noise = min(spread / (size * len(learnt) ** 2), beside)
    shrinkage = noise / beside if beside > 0.0 else 1.0
    try:
        whitening = np.linalg.inv(np.linalg.cholesky(shrinkage * sphere + (1.0 - shrinkage) * second))
    except np.linalg.LinAlgError:
        raise ContractError(f"features of {len(learnt)} episodes, of size {size}, do not vary enough") from None
    peaks = [_peak(distances(features, mean, whitening), settings.window) for features in held_out]
    threshold = conformal_threshold(peaks, settings.rate)
    return DriftAlarm(mean, whitening, shrinkage, threshold, settings.window, settings.rate)


def distances(features: np.ndarray, mean: np.ndarray, whitening: np.ndarray) -> np.ndarray:
    """D ``(T,)`` of features ``(T, d)``."""
    white = (features - mean) @ whitening.T
    found: np.ndarray = np.sqrt(np.mean(white**2, axis=1))
    return found


def step(alarm: DriftAlarm, state: DriftState, stamp_ns: int, features: np.ndarray) -> DriftState:
    """The state after features ``(d,)`` of the picture of ``stamp_ns``; a copy, or a late one, changes nothing.

    Raises `ContractError` for features of another size, or not finite.
    """
    return follow(state, stamp_ns, alarm.distance(features), alarm.window, alarm.threshold)


def follow(state: DriftState, stamp_ns: int, distance: float, window: int, threshold: float) -> DriftState:
    """The state after a picture of ``stamp_ns`` at ``distance``, in any unit that is the ``threshold``'s too."""
    if state.stamp_ns is not None and stamp_ns <= state.stamp_ns:
        return state
    recent = (*state.recent, distance)[-window:]
    lasting = min(recent) if len(recent) == window else 0.0
    return DriftState(stamp_ns, recent, lasting, state.alarm or lasting > threshold)


def policy_changed(measured_on: Iterable[int], acting: int, ahead: int = 0) -> str:
    """Reason why a promise does not hold while the policy of version ``acting`` acts; "" where it does.

    Args:
        measured_on: versions of the policies that acted in the episodes of the promise; −1 is none, e.g. a person.
        acting: version; −1: no policy acts.
        ahead: how many versions newer than the newest of these a policy may be.
    """
    known = [version for version in measured_on if version >= 0]
    if acting < 0 or (known and min(known) <= acting <= max(known) + ahead):
        return ""
    measured = f"versions {min(known)} to {max(known)}" if known else "episodes that no policy acted in"
    return f"the policy has changed since calibration: version {acting} acts, the promise was measured on {measured}"


def _second(features: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """S_e ``(d, d)``."""
    centred = features - mean
    moment: np.ndarray = centred.T @ centred / len(features)
    return moment


def _peak(found: np.ndarray, window: int) -> float:
    """Largest distance of an episode that lasted for ``window`` frames; 0 where it has fewer."""
    if len(found) < window:
        return 0.0
    return float(np.lib.stride_tricks.sliding_window_view(found, window).min(axis=1).max())


def _size(episodes: Sequence[np.ndarray]) -> int:
    """d of features ``(T, d)`` that are all of this size and finite."""
    sizes = {features.shape[1:] for features in episodes}
    if len(sizes) != 1 or any(features.ndim != 2 or not features.size for features in episodes):
        raise ContractError(f"features of shapes {[one.shape for one in episodes]} must be (T, d), T ≥ 1, with one d")
    if not all(np.isfinite(features).all() for features in episodes):
        raise ContractError("features must be finite")
    return int(next(iter(sizes))[0])
