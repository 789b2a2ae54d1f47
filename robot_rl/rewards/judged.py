"""Episodes that a classifier has judged, and each one's result under a filter and a threshold.

Frames are told apart by the stamps of their pictures: copies of one count once, everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from robot_rl.contract import ContractError
from robot_rl.rewards.filtering import FilterSettings, Frame, peak, scores
from robot_rl.rewards.labels import FAILURE, LEFT_OUT, SUCCESS


@dataclass(frozen=True, eq=False)
class JudgedEpisode:
    """Probabilities of an episode's frames beside a person's labels. `judged` makes one. Raises `ContractError`.

    Attributes:
        name: by which it is told apart for ever.
        success: whether it succeeded at last, as the person says.
        stamps_ns: of its T pictures ``(T,)`` int64 [ns], rising.
        probabilities: of success ``(T,)``, 0 to 1.
        labels: ``(T,)`` int8: `SUCCESS`, `FAILURE` or `LEFT_OUT`.
        guarded: whether all guards hold ``(T,)`` bool.
        released: whether the hand has let go ``(T,)`` bool.
        version: of the policy that acted; −1: none did.
    """

    name: str
    success: bool
    stamps_ns: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray
    guarded: np.ndarray
    released: np.ndarray
    version: int = -1

    def __post_init__(self) -> None:
        shape = self.stamps_ns.shape
        if len(shape) != 1 or not shape[0] or (np.diff(self.stamps_ns) <= 0).any():
            raise ContractError(f"stamps_ns of episode {self.name}, of shape {shape}, must be (T,), T ≥ 1, rising")
        for column in ("probabilities", "labels", "guarded", "released"):
            if getattr(self, column).shape != shape:
                raise ContractError(
                    f"{column} of episode {self.name}, of shape {getattr(self, column).shape}, must be {shape}"
                )
        if not ((self.probabilities >= 0.0) & (self.probabilities <= 1.0)).all():
            raise ContractError(f"probabilities of episode {self.name} must be from 0 to 1")
        if not np.isin(self.labels, (SUCCESS, FAILURE, LEFT_OUT)).all():
            raise ContractError(f"labels of episode {self.name} must be {SUCCESS}, {FAILURE} or {LEFT_OUT}")
        if not self.success and (self.labels != FAILURE).any():
            raise ContractError(f"episode {self.name} failed, but not all of its labels are {FAILURE}")

    @property
    def frames(self) -> Iterator[Frame]:
        """Frames for the filter, oldest first."""
        columns = (self.stamps_ns, self.probabilities, self.guarded, self.released)
        return (Frame(*values) for values in zip(*(column.tolist() for column in columns), strict=True))

    @property
    def counted(self) -> np.ndarray:
        """Probabilities ``(T,)`` as the filter counts them: 0 outside the guards."""
        return np.where(self.guarded, self.probabilities, 0.0)

    def seconds(self, gap: float) -> np.ndarray:
        """Time ``(T,)`` [s] until the next frame, at most ``gap`` [s]; of the last one, the median of the others."""
        between = np.minimum(np.diff(self.stamps_ns) * 1e-9, gap)
        return np.append(between, np.median(between) if len(between) else 0.0)


def judged(
    name: str,
    success: bool,
    stamps_ns: np.ndarray,
    probabilities: np.ndarray,
    labels: np.ndarray,
    guarded: np.ndarray | None = None,
    released: np.ndarray | None = None,
    version: int = -1,
) -> JudgedEpisode:
    """A `JudgedEpisode` of the distinct frames; of copies, the first counts. Without guards, they hold.

    Raises `ContractError` as `JudgedEpisode` does, and where frames of one picture have different probabilities.
    """
    stamps = np.asarray(stamps_ns, dtype=np.int64)
    columns: dict[str, np.ndarray] = {
        "probabilities": np.asarray(probabilities, dtype=np.float64),
        "labels": np.asarray(labels, dtype=np.int8),
        "guarded": np.ones(stamps.shape, bool) if guarded is None else np.asarray(guarded, dtype=bool),
        "released": np.zeros(stamps.shape, bool) if released is None else np.asarray(released, dtype=bool),
    }
    for column, values in columns.items():
        if values.shape != stamps.shape:
            raise ContractError(f"{column} of episode {name}, of shape {values.shape}, must be {stamps.shape}")
    _, first, of = np.unique(stamps, return_index=True, return_inverse=True)
    differs = columns["probabilities"] != columns["probabilities"][first][of]
    if differs.any():
        raise ContractError(f"episode {name} has several probabilities of its picture of {stamps[differs][0]} ns")
    kept = np.sort(first)
    chosen = {column: values[kept] for column, values in columns.items()}
    return JudgedEpisode(name, success, stamps[kept], **chosen, version=version)


@dataclass(frozen=True)
class Result:
    """An episode after the temporal filter.

    Attributes:
        name: of the episode.
        success: whether it succeeded, as the person says.
        false_peak: largest score in failure time; of a failure also what no recheck has refuted (`filtering.peak`).
        true_peak: largest score in other time; 0 for a failure.
        decided_ns: stamp of the first frame with a score above the threshold; None: there is none.
        wrong: whether it is taken for a success while it is none.
        recognised: whether it is taken for a success when it is one.
        failure_seconds: failure time [s] until the decision; online, the episode ends with it.
    """

    name: str
    success: bool
    false_peak: float
    true_peak: float
    decided_ns: int | None
    wrong: bool
    recognised: bool
    failure_seconds: float


class Peaks(NamedTuple):
    """An episode's largest scores, as in `Result`, and its scores ``(T,)``."""

    false: float
    true: float
    scores: np.ndarray


def peaks(episode: JudgedEpisode, settings: FilterSettings) -> Peaks:
    """Largest scores of an episode, whatever the threshold."""
    found = scores(settings, episode.frames)
    if not episode.success:
        return Peaks(peak(settings, episode.frames), 0.0, found)
    failing = episode.labels == FAILURE
    return Peaks(float(found[failing].max(initial=0.0)), float(found[~failing].max(initial=0.0)), found)


def result(episode: JudgedEpisode, settings: FilterSettings, threshold: float, found: Peaks) -> Result:
    """Result of an episode with the given ``found`` peaks."""
    above = np.flatnonzero(found.scores > threshold)
    decided = int(above[0]) if len(above) else None
    failing = episode.labels == FAILURE
    seconds = np.where(failing, episode.seconds(settings.gap), 0.0)
    too_soon = decided is not None and bool(failing[decided])
    return Result(
        name=episode.name,
        success=episode.success,
        false_peak=found.false,
        true_peak=found.true,
        decided_ns=None if decided is None else int(episode.stamps_ns[decided]),
        wrong=too_soon if episode.success else found.false > threshold,
        recognised=decided is not None and not too_soon,
        failure_seconds=float(seconds[: None if decided is None else decided + 1].sum()),
    )
