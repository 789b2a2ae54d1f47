"""A report as JSON lines and in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from robot_rl.rewards.report import Mistake, Report

NAMED = 3  # mistakes of either kind, in words


def json_lines(report: Report, stage: str = "") -> str:
    """JSON objects, one a line: ``kind`` ``report`` with all figures, then each bin, episode and mistake.

    Where there are stages, each names the ``stage`` that it is about. A figure that is not there (a share of nothing)
    is null.
    """
    whole = asdict(report)
    rows = {
        "bin": whole["calibration"].pop("bins"),
        "episode": whole.pop("results"),
        "false_positive": whole.pop("false_positives"),
        "false_negative": whole.pop("false_negatives"),
    }
    whole["frames"] |= {"precision": report.frames.precision, "recall": report.frames.recall}
    whole["promise"] |= {"kept": report.promise.kept, "refusal": report.promise.refusal}
    about = {"stage": stage} if stage else {}
    found = [{"kind": "report", **whole}, *({"kind": kind, **row} for kind, values in rows.items() for row in values)]
    return "".join(f"{json.dumps(about | row, ensure_ascii=False, allow_nan=False)}\n" for row in found)


def in_words(report: Report) -> list[str]:
    """Lines that tell a person all that they have to know of ``report``."""
    return [*_of_episodes(report), *_of_frames(report), *_of_mistakes(report)]


def _of_episodes(report: Report) -> Iterator[str]:
    promise, hourly, filtering = report.promise, report.hourly, report.filter
    at = _share(promise.wanted.confidence)
    yield f"held out: {report.successes} successes, {report.failures} failures, {hourly.hours:.3g} h of failure time"
    recheck = f", checked again within {filtering.recheck:g} s of letting go" if filtering.recheck else ""
    success, doubt = report.thresholds.success, report.thresholds.doubt
    asked = f"; a person is asked above {doubt:.4g}" if doubt < success else ""
    yield f"success: {filtering.needed} of {filtering.window} frames above {success:.4g}{recheck}{asked}"
    if promise.kept:
        yield (
            f"promise: of episodes that fail, at most {_share(promise.bound)} are taken for a success "
            f"({at} confidence; {promise.exceeding} of {promise.failures} were)"
        )
    else:
        yield f"no promise: {promise.refusal}"
    if hourly.rate is not None:
        yield (
            f"false successes: {hourly.events}, {hourly.rate:.3g} an hour of failure time, "
            f"at most {hourly.bound:.3g} ({at} confidence)"
        )
    if report.recall is not None:
        yield (
            f"recognised: {report.recognised} of {report.successes} successes, at least {_share(report.recall_bound)} "
            f"({at} confidence); {report.premature} too soon"
        )
    else:
        yield "recognised: unknown, no held-out episode succeeds"


def _of_frames(report: Report) -> Iterator[str]:
    runs, frames = report.runs, report.frames
    if runs.lengths:
        yield (
            f"errors before the filter: {len(runs.lengths)} runs in {runs.episodes} episodes, the longest of "
            f"{runs.lengths[0]} frames, {runs.seconds[0]:.2g} s; one follows on another at {_share(runs.persistence)}, "
            f"independent ones would at {_share(sum(runs.lengths) / runs.frames)}"
        )
    else:
        yield "no frame without a success is above the threshold"
    yield (
        f"frames: precision {_share(frames.precision)}, recall {_share(frames.recall)}; "
        f"calibration error {report.calibration.error:.3f}, Brier score {report.calibration.brier:.3f}"
    )


def _of_mistakes(report: Report) -> Iterator[str]:
    kinds = {"taken for a success": report.false_positives, "not taken for a success": report.false_negatives}
    for kind, mistakes in kinds.items():
        yield from (f"{kind}: {_named(mistake)}" for mistake in mistakes[:NAMED])


def _named(mistake: Mistake) -> str:
    caught = "" if mistake.decided else ", put right by the filter"
    return f"{mistake.episode}, frame {mistake.frame}, probability {mistake.probability:.3f}{caught}"


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{100.0 * value:.3g} %"
