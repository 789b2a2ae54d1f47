from __future__ import annotations

import numpy as np
import pytest

from controllers.gate import Refused
from controllers.state import Mode
from controllers.watchdog import FadingWrench, Watchdog


@pytest.mark.parametrize(
    ("mode", "age", "due"),
    [
        (Mode.TRACK, 0.25, Mode.TRACK),
        (Mode.TRACK, 0.5, Mode.HOLD),
        (Mode.HOLD, 0.5, Mode.HOLD),
        (Mode.HOLD, 1.0, Mode.HOLD),
        (Mode.HOLD, 1.25, Mode.DAMP),
        (Mode.TRACK, 1.25, Mode.DAMP),
    ],
)
def test_deadlines_run_from_the_last_target(mode: Mode, age: float, due: Mode) -> None:
    watchdog = Watchdog(hold_after=0.25, damp_after=1.0)
    watchdog.start(0.0)
    watchdog.feed(0, 8.0)
    assert watchdog.due(mode, 8.0 + age) is due
    assert watchdog.silence(8.0 + age) == f"no setpoint for {age:.3f} s"


def test_the_first_target_may_take_longer_and_each_motion_has_a_first_one() -> None:
    watchdog = Watchdog(hold_after=0.25, damp_after=1.0, first_after=60.0)
    for began in (0.0, 500.0):
        watchdog.start(began)
        assert watchdog.due(Mode.HOLD, began + 59.0) is Mode.HOLD
        assert watchdog.due(Mode.HOLD, began + 61.0) is Mode.DAMP
        watchdog.feed(0, began + 59.0)
        assert watchdog.due(Mode.TRACK, began + 59.5) is Mode.HOLD
        assert watchdog.due(Mode.HOLD, began + 60.5) is Mode.DAMP


def test_the_first_target_never_has_less_time_than_the_others() -> None:
    watchdog = Watchdog(hold_after=0.25, damp_after=5.0, first_after=1.0)
    assert watchdog.due(Mode.HOLD, 4.0) is Mode.HOLD


def test_only_newer_numbers_pass_until_the_next_motion() -> None:
    watchdog, wrench = Watchdog(0.25, 1.0), FadingWrench(0.25, 0.1)
    watchdog.feed(3, 0.0)
    wrench.feed(np.ones(6), 3, 0.0)
    for numbered in (watchdog, wrench):
        numbered.require_newer(4)
        with pytest.raises(Refused, match="stale: number 3 was taken before"):
            numbered.require_newer(3)
    watchdog.start(1.0)
    wrench.start()
    for numbered in (watchdog, wrench):
        numbered.require_newer(0)


def test_a_wrench_fades_unless_it_is_renewed_and_is_gone_with_the_motion() -> None:
    wrench = FadingWrench(hold_after=0.25, ramp=0.5)
    assert wrench.share(0.0) == 0.0
    wrench.feed(np.ones(6), 0, 1.0)
    assert [wrench.share(1.0 + age) for age in (0.0, 0.25, 0.5, 0.75, 2.0)] == [1.0, 1.0, 0.5, 0.0, 0.0]
    wrench.feed(np.ones(6), 1, 3.0)
    assert wrench.share(3.25) == 1.0
    wrench.start()
    assert wrench.share(3.25) == 0.0
    assert not wrench.value.any()
