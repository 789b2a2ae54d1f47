"""Figures of single frames: calibration of the probabilities, right and wrong ones, and how long errors last.

None of them has a bound, because the frames of one episode are nearly the same picture; bounds are of episodes
(`robot_rl.rewards.promise`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_rl.contract import ContractError
from robot_rl.rewards.judged import JudgedEpisode
from robot_rl.rewards.labels import FAILURE, LEFT_OUT, SUCCESS


@dataclass(frozen=True)
class Confusion:
    """Frames by what they are and are taken for."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int

    @property
    def precision(self) -> float | None:
        """Share of successes among what is taken for one; None where nothing is."""
        return ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float | None:
        """Share of successes that are taken for one; None where there is none."""
        return ratio(self.true_positive, self.true_positive + self.false_negative)


@dataclass(frozen=True)
class Bin:
    """Frames with probabilities from ``low`` to ``high``.

    Attributes:
        frames: number of them.
        said: their mean probability; None where there is no frame.
        found: share of successes among them; None where there is no frame.
    """

    low: float
    high: float
    frames: int
    said: float | None
    found: float | None


@dataclass(frozen=True)
class Calibration:
    """Probabilities that were said beside the shares of successes that were found.

    Attributes:
        bins: of equal width, the lowest first.
        error: expected calibration error, Σ_b n_b/N |found_b − said_b| (Naeini et al. 2015, Guo et al. 2017), 0 to 1.
        brier: mean of (p − y)² (Brier 1950), 0 to 1.
    """

    bins: tuple[Bin, ...]
    error: float
    brier: float


@dataclass(frozen=True)
class Runs:
    """Bursts of errors: frames in a row above the threshold while there is no success, before the temporal filter.

    Attributes:
        lengths: of each run [frames], the longest first.
        seconds: how long each lasted [s], in the same order.
        episodes: number of episodes that they are from.
        frames: number of frames without a success, in all episodes.
        persistence: share of frames above the threshold after which the next is above it, too: 1 − runs / frames in
            runs. None where no frame is. Were errors independent, it would be the share of errors in ``frames``.
    """

    lengths: tuple[int, ...]
    seconds: tuple[float, ...]
    episodes: int
    frames: int
    persistence: float | None


def ratio(part: int, whole: int) -> float | None:
    """Share; None of nothing."""
    return part / whole if whole else None


def confusion(episodes: Sequence[JudgedEpisode], threshold: float) -> Confusion:
    """Frames of ``episodes`` above ``threshold`` and not, those left out aside. None outside the guards is above it."""
    labelled, truth = _truth(episodes)
    above = np.concatenate([episode.counted > threshold for episode in episodes]) if episodes else truth
    counts = (above & truth, above & ~truth, ~above & ~truth, ~above & truth)
    return Confusion(*(int((count & labelled).sum()) for count in counts))


def calibration(episodes: Sequence[JudgedEpisode], bins: int = 10) -> Calibration:
    """Calibration over frames, those left out aside, whatever the guards. Raises `ContractError` where none is left."""
    labelled, truth = _truth(episodes)
    if not labelled.any():
        raise ContractError("no frame has a label: all are left out around the marks")
    said, truth = np.concatenate([episode.probabilities for episode in episodes])[labelled], truth[labelled]
    which = np.minimum((said * bins).astype(np.int64), bins - 1)
    counts = np.bincount(which, minlength=bins)
    sums, hits = np.bincount(which, said, minlength=bins), np.bincount(which, truth, minlength=bins)
    found = [
        Bin(
            low=number / bins,
            high=(number + 1) / bins,
            frames=int(counts[number]),
            said=float(sums[number] / counts[number]) if counts[number] else None,
            found=float(hits[number] / counts[number]) if counts[number] else None,
        )
        for number in range(bins)
    ]
    return Calibration(
        bins=tuple(found),
        error=float(np.abs(hits - sums).sum() / len(said)),
        brier=float(np.mean((said - truth) ** 2)),
    )


def runs(episodes: Sequence[JudgedEpisode], threshold: float, gap: float) -> Runs:
    """Runs of errors in ``episodes``; a time longer than ``gap`` [s] without a frame ends one."""
    found: list[tuple[int, float]] = []
    from_episodes, frames = 0, 0
    for episode in episodes:
        failing = episode.labels == FAILURE
        own = _runs(episode, failing & (episode.counted > threshold), gap)
        from_episodes += bool(own)
        frames += int(failing.sum())
        found += own
    found.sort(reverse=True)
    lengths = tuple(length for length, _ in found)
    return Runs(
        lengths=lengths,
        seconds=tuple(seconds for _, seconds in found),
        episodes=from_episodes,
        frames=frames,
        persistence=1.0 - len(lengths) / sum(lengths) if lengths else None,
    )


def _runs(episode: JudgedEpisode, wrong: np.ndarray, gap: float) -> list[tuple[int, float]]:
    """Frames and seconds of each run of ``wrong (T,)``."""
    silent = np.append(True, np.diff(episode.stamps_ns) > gap * 1e9)
    begins = wrong & (silent | ~np.append(False, wrong[:-1]))
    number = np.cumsum(begins)[wrong] - 1
    seconds = np.bincount(number, episode.seconds(gap)[wrong])
    return list(zip(np.bincount(number).tolist(), seconds.tolist(), strict=True))


def _truth(episodes: Sequence[JudgedEpisode]) -> tuple[np.ndarray, np.ndarray]:
    """Which frames of all episodes ``(N,)`` have a label, and which are successes ``(N,)``, both bool."""
    labels = np.concatenate([episode.labels for episode in episodes]) if episodes else np.zeros(0, np.int8)
    return labels != LEFT_OUT, labels == SUCCESS
