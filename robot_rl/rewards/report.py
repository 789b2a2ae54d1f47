"""The report on a classifier: from held-out episodes to a threshold, its promise, and the mistakes worth looking at.

Whoever reads it sees both what a frame is worth (`frames`) and what an episode is, which alone has bounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from robot_rl.contract.ranges import Natural, Share, check
from robot_rl.rewards.filtering import FilterSettings, Thresholds
from robot_rl.rewards.frames import Calibration, Confusion, Runs, calibration, confusion, ratio, runs
from robot_rl.rewards.judged import JudgedEpisode, Peaks, Result, peaks, result
from robot_rl.rewards.labels import FAILURE, SUCCESS, LabelsError
from robot_rl.rewards.promise import Promise, Wanted, doubt_threshold, lower_bound, promise, upper_bound


@dataclass(frozen=True)
class ReportSettings:
    """Settings of a report. Raises `RangeError`.

    Attributes:
        missed: share of successes, on average, that may stay below the threshold of doubt.
        mistakes: of either kind that are named at most.
        least: threshold of success, at least, whatever the failures allow. A higher one keeps their promise all the
            more, and one that no held-out episode has chosen leaves all bounds exact.
        doubt: threshold of doubt, at most, however few successes stay below a higher one. With ``least`` above it, a
            person is asked about all that is between.
    """

    missed: Share = 0.05
    mistakes: Natural = 12
    least: Share = 0.0
    doubt: Share = 1.0

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Mistake:
    """A frame that is taken for what it is not, the worst of its episode.

    Attributes:
        success: what it is.
        episode: its name.
        frame: its number among the distinct frames of the episode.
        stamp_ns: of its picture.
        probability: that was said; 0 outside the guards.
        score: after the temporal filter.
        decided: whether the whole episode is mistaken, too: ended by a false success, or not recognised.
    """

    success: bool
    episode: str
    frame: int
    stamp_ns: int
    probability: float
    score: float
    decided: bool


@dataclass(frozen=True)
class Hourly:
    """False successes by failure time.

    Attributes:
        events: episodes that a false success has ended; each has one at most.
        hours: failure time [h] of all episodes, of each until its false success.
        rate: events by hours; None without failure time.
        bound: on the rate: those of Clopper and Pearson on the episodes that fail and on those that succeed later, of
            half the risk each, together, the mean failure time of an episode taken as known. None without failure time.
    """

    events: int
    hours: float
    rate: float | None
    bound: float | None


@dataclass(frozen=True)
class Report:
    """Result of judging held-out episodes, none of them learnt from.

    Attributes:
        filter: settings of the temporal filter.
        promise: the threshold of a success, and how often a failure is above it.
        thresholds: of success, and of doubt.
        results: of each episode.
        successes, failures: number of episodes of either kind.
        recognised: successes that are taken for one, at the right time.
        recall: share of these.
        recall_bound: lower bound of Clopper and Pearson on the recall, with the promise's confidence; None without any.
        premature: successes that are taken for one too soon.
        false: failures that are taken for a success.
        precision: share of the recognised among all episodes that are taken for a success; None where none is.
        hourly: false successes by failure time.
        frames: right and wrong frames.
        calibration: of the probabilities.
        runs: bursts of errors.
        false_positives, false_negatives: frames of the worst mistakes of either kind, the worst first.
        versions: of the policies that acted, in order.
    """

    filter: FilterSettings
    promise: Promise
    thresholds: Thresholds
    results: tuple[Result, ...]
    successes: int
    failures: int
    recognised: int
    recall: float | None
    recall_bound: float | None
    premature: int
    false: int
    precision: float | None
    hourly: Hourly
    frames: Confusion
    calibration: Calibration
    runs: Runs
    false_positives: tuple[Mistake, ...]
    false_negatives: tuple[Mistake, ...]
    versions: tuple[int, ...]


def report(
    episodes: Sequence[JudgedEpisode],
    filtering: FilterSettings,
    wanted: Wanted,
    settings: ReportSettings = ReportSettings(),
) -> Report:
    """Report on ``episodes``, with the threshold that they support.

    Raises `LabelsError` where two have the same name, and `PromiseError` where none failed.
    """
    twice = [name for name, count in Counter(episode.name for episode in episodes).items() if count > 1]
    if twice:
        raise LabelsError(f"episode {twice[0]} is there more than once: a copy tells nothing new")
    found = [peaks(episode, filtering) for episode in episodes]
    kept = promise([of.false for episode, of in zip(episodes, found, strict=True) if not episode.success], wanted)
    true_peaks = [of.true for episode, of in zip(episodes, found, strict=True) if episode.success]
    threshold = max(kept.threshold, settings.least)
    results = tuple(result(one, filtering, threshold, of) for one, of in zip(episodes, found, strict=True))
    recognised = sum(one.recognised for one in results)
    wrong = [one for one in results if one.wrong]
    false_positives, false_negatives = _mistakes(episodes, found, results, threshold, settings.mistakes)
    return Report(
        filter=filtering,
        promise=kept,
        thresholds=Thresholds(threshold, min(doubt_threshold(true_peaks, threshold, settings.missed), settings.doubt)),
        results=results,
        successes=len(true_peaks),
        failures=len(results) - len(true_peaks),
        recognised=recognised,
        recall=ratio(recognised, len(true_peaks)),
        recall_bound=lower_bound(recognised, len(true_peaks), wanted.confidence) if true_peaks else None,
        premature=sum(one.success for one in wrong),
        false=sum(not one.success for one in wrong),
        precision=ratio(recognised, recognised + len(wrong)),
        hourly=_hourly(results, kept),
        frames=confusion(episodes, threshold),
        calibration=calibration(episodes),
        runs=runs(episodes, threshold, filtering.gap),
        false_positives=false_positives,
        false_negatives=false_negatives,
        versions=tuple(sorted({episode.version for episode in episodes})),
    )


def reports(
    episodes: Sequence[Sequence[JudgedEpisode]], filtering: FilterSettings, wanted: Wanted, settings: ReportSettings
) -> list[Report]:
    """Reports on the stages of a task in their order, ``episodes`` of each; the last one is that on success.

    No threshold is below that of the stage before, so that no stage is held where one before it is not: probabilities
    never rise from one stage to the next. A higher threshold keeps a promise all the more. Raises as `report` does.
    """
    found: list[Report] = []
    for stage in episodes:
        least = max([settings.least, *(one.thresholds.success for one in found)])
        found.append(report(stage, filtering, wanted, replace(settings, least=least)))
    return found


def _hourly(results: Sequence[Result], kept: Promise) -> Hourly:
    """False successes of all episodes with failure time.

    The threshold was chosen by its rank among the failures, which leaves their bound exact, and those that succeed have
    had no part in it.
    """
    exposed = [one for one in results if one.failure_seconds > 0.0]
    hours = sum(one.failure_seconds for one in exposed) / 3600.0
    events = sum(one.wrong for one in exposed)
    if not exposed:
        return Hourly(0, 0.0, None, None)
    succeed, fail = [one for one in exposed if one.success], [one for one in exposed if not one.success]
    confidence = kept.wanted.confidence if not (succeed and fail) else (1.0 + kept.wanted.confidence) / 2.0
    most = 0.0
    if succeed:
        most += len(succeed) * upper_bound(sum(one.wrong for one in succeed), len(succeed), confidence)
    if fail:
        errors = min(len(fail), max(kept.allowed, sum(one.wrong for one in fail)))
        most += len(fail) * upper_bound(errors, len(fail), confidence)
    return Hourly(events, hours, events / hours, most / hours)


def _mistakes(
    episodes: Sequence[JudgedEpisode],
    found: Sequence[Peaks],
    results: Sequence[Result],
    threshold: float,
    most: int,
) -> tuple[tuple[Mistake, ...], tuple[Mistake, ...]]:
    """Frames that are taken for a success and are none, and the other way round: the worst of each episode."""
    positives, negatives = [], []
    for episode, of, one in zip(episodes, found, results, strict=True):
        said = episode.counted
        failing, succeeding = np.flatnonzero(episode.labels == FAILURE), np.flatnonzero(episode.labels == SUCCESS)
        if len(failing) and said[failing].max() > threshold:
            positives.append(_mistake(episode, of, int(failing[np.argmax(said[failing])]), one.wrong))
        if len(succeeding) and said[succeeding].min() <= threshold:
            negatives.append(_mistake(episode, of, int(succeeding[np.argmin(said[succeeding])]), not one.recognised))
    positives.sort(key=lambda mistake: (-mistake.decided, -mistake.probability, mistake.episode))
    negatives.sort(key=lambda mistake: (-mistake.decided, mistake.probability, mistake.episode))
    return tuple(positives[:most]), tuple(negatives[:most])


def _mistake(episode: JudgedEpisode, of: Peaks, frame: int, decided: bool) -> Mistake:
    return Mistake(
        success=bool(episode.labels[frame] == SUCCESS),
        episode=episode.name,
        frame=frame,
        stamp_ns=int(episode.stamps_ns[frame]),
        probability=float(episode.counted[frame]),
        score=float(of.scores[frame]),
        decided=decided,
    )
