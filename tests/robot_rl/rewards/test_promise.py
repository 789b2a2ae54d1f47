"""Thresholds with a promise: figures of the literature, the exact law by enumeration, and refusals."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.contract import ContractError
from robot_rl.contract.ranges import RangeError
from robot_rl.rewards.promise import (
    PromiseError,
    Wanted,
    allowed_errors,
    conformal_threshold,
    doubt_threshold,
    episodes_needed,
    lower_bound,
    promise,
    upper_bound,
)


def at_most(errors: int, episodes: int, rate: float) -> float:
    """P(so many errors, or fewer), summed."""
    return sum(comb(episodes, k) * rate**k * (1 - rate) ** (episodes - k) for k in range(errors + 1))


@pytest.mark.parametrize(
    ("episodes", "errors", "percent"),
    [(50, 0, 5.8), (50, 1, 9.1), (100, 0, 3.0), (100, 1, 4.7), (100, 2, 6.2), (300, 0, 1.0), (300, 2, 2.1)],
)
def test_bounds_are_those_of_the_tables(episodes: int, errors: int, percent: float) -> None:
    assert round(100 * upper_bound(errors, episodes, 0.95), 1) == percent


@given(st.integers(1, 60), st.data(), st.sampled_from((0.8, 0.95, 0.99)))
def test_bounds_are_exact(episodes: int, data: st.DataObject, confidence: float) -> None:
    errors = data.draw(st.integers(0, episodes))
    upper, lower = upper_bound(errors, episodes, confidence), lower_bound(errors, episodes, confidence)
    assert lower <= errors / episodes <= upper
    if errors < episodes:
        assert at_most(errors, episodes, upper) == pytest.approx(1 - confidence, abs=1e-9)
    if errors > 0:
        assert 1 - at_most(errors - 1, episodes, lower) == pytest.approx(1 - confidence, abs=1e-9)
    assert upper == pytest.approx(1 - lower_bound(episodes - errors, episodes, confidence))


@pytest.mark.parametrize(("rate", "needed"), [(0.01, 299), (0.001, 2995), (0.05, 59), (0.5, 5)])
def test_failures_without_an_error_that_a_promise_takes(rate: float, needed: int) -> None:
    wanted = Wanted(rate, 0.95)
    assert episodes_needed(wanted) == needed
    assert upper_bound(0, needed, 0.95) <= rate < upper_bound(0, needed - 1, 0.95)
    assert (allowed_errors(needed, wanted), allowed_errors(needed - 1, wanted)) == (0, -1)


@given(st.integers(1, 400), st.sampled_from((0.01, 0.05, 0.2)))
def test_the_most_errors_that_keep_the_bound_are_allowed(episodes: int, rate: float) -> None:
    allowed = allowed_errors(episodes, Wanted(rate, 0.9))
    if allowed >= 0:
        assert upper_bound(allowed, episodes, 0.9) <= rate + 1e-9
    assert upper_bound(allowed + 1, episodes, 0.9) > rate


def test_a_promise_that_is_kept() -> None:
    """93 failures allow one error at 5 %: (0.95)⁹³ + 93 · 0.05 · 0.95⁹² = 0.0499."""
    peaks = np.random.default_rng(0).permutation(np.arange(93) / 100)
    found = promise(peaks.tolist(), Wanted(0.05, 0.95))
    assert (found.allowed, found.threshold, found.exceeding, found.missing) == (1, 0.91, 1, 0)
    assert found.bound == pytest.approx(0.0500, abs=5e-5) and found.bound <= 0.05
    assert found.average == 2 / 94
    assert found.kept and not found.refusal
    found.require()


def test_a_promise_that_is_refused_says_how_many_failures_are_missing() -> None:
    found = promise([0.1, 0.7, 0.3], Wanted(0.01, 0.95))
    assert (found.threshold, found.allowed, found.missing) == (0.7, 0, 296)
    with pytest.raises(
        PromiseError, match=r"3 held-out failures cannot promise ≤ 1 %.*takes 299.*record 296 more.*63 %"
    ):
        found.require()
    assert promise([0.5] * 298, Wanted()).missing == 1
    assert promise([0.5] * 299, Wanted()).kept


def test_equal_peaks_promise_no_less() -> None:
    found = promise([0.2] * 50 + [1.0] * 50, Wanted(0.05, 0.95))
    assert (found.threshold, found.exceeding) == (1.0, 0)


def test_without_a_failure_there_is_no_threshold() -> None:
    with pytest.raises(PromiseError, match=r"no held-out failure .* takes 299"):
        promise([], Wanted())


@pytest.mark.parametrize("peak", [float("nan"), -0.1, 1.1])
def test_peaks_that_are_none_are_refused(peak: float) -> None:
    with pytest.raises(ContractError, match="must be from 0 to 1"):
        promise([0.5, peak], Wanted())


def test_the_promise_is_broken_as_rarely_as_it_says() -> None:
    """Peaks are uniform, so the share of failures above a threshold θ is 1 − θ. No error in 60 is allowed at 5 %; then
    it is above 5 % in 0.95⁶⁰ = 4.61 % of calibrations; of 4000, within 4 deviations of √(4000 · 0.0461 · 0.9539)."""
    thresholds = [
        promise(peaks, Wanted(0.05, 0.95)).threshold for peaks in np.random.default_rng(1).uniform(size=(4000, 60))
    ]
    broken = sum(1 - threshold > 0.05 for threshold in thresholds)
    assert abs(broken - 4000 * 0.95**60) < 4 * 13.3
    assert np.mean(1 - np.array(thresholds)) == pytest.approx(1 / 61, abs=4 * (1 / 61) / 4000**0.5)


def test_the_conformal_threshold_is_of_its_rank() -> None:
    peaks = [0.5, 0.1, 0.4, 0.3, 0.2, 0.6, 0.7, 0.8, 0.9]
    assert conformal_threshold(peaks, 0.1) == 0.9
    assert conformal_threshold(peaks, 0.2) == 0.8
    assert conformal_threshold(peaks, 0.3) == 0.7  # ⌈0.7 · 10⌉ = 7, whatever floating point makes of it
    with pytest.raises(PromiseError, match=r"8 held-out episodes .* 10 %: that takes 9, record 1 more"):
        conformal_threshold(peaks[:-1], 0.1)


def test_a_person_is_asked_about_all_but_few_successes() -> None:
    peaks = [number / 20 for number in range(1, 20)]  # 19 of them
    assert doubt_threshold(peaks, 0.99, 0.05) == pytest.approx(0.05)
    assert doubt_threshold(peaks, 0.99, 0.05) < 0.05  # the lowest is asked about, too
    assert doubt_threshold(peaks, 0.99, 0.1) == pytest.approx(0.1)
    assert doubt_threshold(peaks[-3:], 0.99, 0.05) == pytest.approx(0.85)
    assert doubt_threshold(peaks[-3:], 0.6, 0.05) == 0.6
    assert doubt_threshold([], 0.6, 0.05) == 0.6
    assert doubt_threshold(peaks, 0.99, 1.0) == pytest.approx(0.95)


def test_rates_of_all_or_nothing_are_refused() -> None:
    for rate in (0.0, 1.0):
        with pytest.raises(RangeError, match="rate="):
            Wanted(rate=rate)
    with pytest.raises(ContractError, match="3 of 2 episodes"):
        upper_bound(3, 2, 0.95)
