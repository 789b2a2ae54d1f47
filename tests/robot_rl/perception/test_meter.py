"""Rate, age and drops of a camera's pictures, and its trouble."""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.contract import View
from robot_rl.perception.meter import NONE_YET, SECOND, CameraMeter

PERIOD, LATE, SILENCE = SECOND // 20, SECOND // 25, 0.25
FIRST = 1_700_000_000 * SECOND  # [ns]
PICTURES = np.random.default_rng(0).integers(30, 220, (2, 48, 64, 3)).astype(np.uint8)


class Fed:
    """A meter, and a camera that sends a picture in each period and skips some."""

    def __init__(self) -> None:
        self.meter = CameraMeter(View(size=32), frozen=1.0, silence=SILENCE)
        self.periods = 0

    def send(self, count: int, skipped: int = 0, picture: np.ndarray | None = None) -> None:
        self.periods += skipped
        for _ in range(count):
            stamp = FIRST + self.periods * PERIOD
            shown = PICTURES[self.periods % 2] if picture is None else picture
            self.meter.take(shown, stamp, stamp + LATE, self.now)
            self.periods += 1

    @property
    def now(self) -> float:
        """Steady time [s], which has nothing to do with that of the stamps."""
        return self.periods * PERIOD / SECOND


def test_a_camera_that_keeps_time() -> None:
    fed = Fed()
    fed.send(100)
    report = fed.meter.report(fed.now)
    assert (report.width, report.height, report.pictures, report.dropped, report.trouble) == (64, 48, 100, 0, "")
    assert (report.rate, report.mean_rate, report.age) == pytest.approx((20.0, 20.0, 0.04))
    assert report.line == "64x48, 20.0 Hz, 40 ms old, 0 of 100 dropped"


def test_gaps_are_pictures_that_are_missing() -> None:
    fed = Fed()
    fed.send(10)
    fed.send(10, skipped=1)
    fed.send(80, skipped=3)
    report = fed.meter.report(fed.now)
    assert (report.pictures, report.dropped) == (100, 4)
    assert report.rate == pytest.approx(20.0)
    assert report.mean_rate == pytest.approx(20.0 * 99 / 103)


def test_silence_is_told_in_steady_time_and_ends_with_the_next_picture() -> None:
    fed = Fed()
    assert fed.meter.report(5.0).trouble == NONE_YET
    assert fed.meter.report(5.0).line == "no picture"
    fed.send(1)
    last = 0.0
    assert fed.meter.report(last + SILENCE).trouble == ""
    assert fed.meter.report(last + 1.5).trouble == "lost: it has sent nothing for 1.5 s"
    fed.send(1, skipped=30)
    assert fed.meter.report(fed.now).trouble == ""


def test_pictures_that_cannot_be_believed_are_named() -> None:
    fed = Fed()
    fed.send(5)
    fed.send(30, picture=PICTURES[0])
    assert fed.meter.report(fed.now).trouble.startswith("frozen: the same pixels for 1.")
    fed.send(1, picture=np.zeros_like(PICTURES[0]))
    assert fed.meter.report(fed.now).trouble.startswith("dark: 100% of its pixels")
    fed.meter.refuse("it has encoding 'mono8', not 'rgb8'", fed.now)
    assert fed.meter.report(fed.now).trouble == "it has encoding 'mono8', not 'rgb8'"
    fed.send(1)
    assert fed.meter.report(fed.now).trouble == ""
