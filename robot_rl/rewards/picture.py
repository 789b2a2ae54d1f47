"""The picture of a report: calibration curve, and mistaken episodes over the threshold."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from robot_rl.rewards.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(report: Report) -> Figure:
    """The picture; it needs no display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_calibration(left, report)
    _draw_thresholds(right, report)
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    return figure


def png(report: Report) -> bytes:
    """The picture as the content of a PNG file."""
    file = io.BytesIO()
    draw(report).savefig(file, format="png", dpi=120)
    return file.getvalue()


def mistaken(report: Report, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Failures above each of ``thresholds (N,)``, and successes that are not: numbers of episodes, each ``(N,)``."""
    false = np.sort([one.false_peak for one in report.results if not one.success])
    true = np.sort([one.true_peak for one in report.results if one.success])
    return len(false) - np.searchsorted(false, thresholds, "right"), np.searchsorted(true, thresholds, "right")


def _draw_calibration(axis: Axes, report: Report) -> None:
    filled = [one for one in report.calibration.bins if one.frames]
    most = max(one.frames for one in filled)
    said = np.array([one.said for one in filled], dtype=np.float64)
    found = np.array([one.found for one in filled], dtype=np.float64)
    sizes = [10.0 + 90.0 * one.frames / most for one in filled]
    axis.plot((0, 1), (0, 1), color="grey", linestyle="--", label="what is said is found")
    axis.plot(said, found, color="tab:blue")
    axis.scatter(said, found, s=sizes, color="tab:blue", label=f"frames; area: their number (at most {most})")
    axis.set_xlabel("probability said")
    axis.set_ylabel("share of successes found")
    axis.set_title(f"error {report.calibration.error:.3f}, Brier score {report.calibration.brier:.3f}")


def _draw_thresholds(axis: Axes, report: Report) -> None:
    ends = [peak for one in report.results for peak in (one.false_peak, one.true_peak)]
    thresholds = np.unique([0.0, *ends, 1.0])
    false, missed = mistaken(report, thresholds)
    label = f"taken for a success, of {report.failures} failures"
    axis.step(thresholds, false, where="post", color="tab:red", label=label)
    axis.step(thresholds, missed, where="post", color="tab:blue", label=f"missed, of {report.successes} successes")
    success, doubt = report.thresholds.success, report.thresholds.doubt
    axis.axvline(success, color="black", label=f"threshold {success:.3g}")
    if doubt < success:
        axis.axvspan(doubt, success, color="tab:orange", alpha=0.2, label="a person is asked")
    axis.set_xlabel("threshold of the score")
    axis.set_ylabel("episodes")
    promise = report.promise
    axis.set_title(f"{promise.wanted}" if promise.kept else f"no promise: {promise.missing} more failures needed")
