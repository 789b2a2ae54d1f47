"""Statistics of a few runs, against values of rliable, and against what can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.experiments.tables.statistics import (
    area_under_curve,
    bootstrap,
    interquartile_mean,
    minutes_to_stay,
    probability_of_improvement,
)

SCORES = np.random.default_rng(3).random((5, 4))
OTHERS = np.round(np.random.default_rng(4).random((3, 4)), 1)


def test_the_middle_half_is_what_counts() -> None:
    assert interquartile_mean(np.array([0.0, 0.4, 0.6, 1.0])) == pytest.approx(0.5)
    assert interquartile_mean(np.array([0.0, 0.9, 0.9, 0.9, 1.0])) == pytest.approx(0.9)
    assert interquartile_mean(np.array([0.7])) == 0.7


def test_values_are_those_of_rliable() -> None:
    """`metrics.aggregate_iqm` and `probability_of_improvement` of rliable 1.2.0, and its interval of 5000 samples."""
    assert interquartile_mean(SCORES) == pytest.approx(0.46452043592521236)
    assert interquartile_mean(OTHERS) == pytest.approx(0.6333333333333334)
    assert probability_of_improvement(SCORES, OTHERS) == pytest.approx(0.35)
    interval = bootstrap([SCORES], interquartile_mean)
    assert (interval.low, interval.high) == pytest.approx((0.334, 0.597), abs=0.02)  # of the quantiles of either


def test_ties_are_half_a_win() -> None:
    assert probability_of_improvement(np.array([[1.0]]), np.array([[0.0], [1.0]])) == 0.75
    assert probability_of_improvement(OTHERS, OTHERS) == pytest.approx(0.5)
    assert probability_of_improvement(SCORES, OTHERS) == pytest.approx(1.0 - probability_of_improvement(OTHERS, SCORES))


def test_an_interval_holds_its_value_and_shrinks_with_more_runs() -> None:
    few = bootstrap([SCORES], interquartile_mean)
    many = bootstrap([np.tile(SCORES, (20, 1))], interquartile_mean)
    assert few.low < few.value < few.high
    assert many.high - many.low < 0.5 * (few.high - few.low)
    assert bootstrap([SCORES], interquartile_mean) == few, "the same every time"


def test_tasks_are_resampled_apart() -> None:
    certain = np.array([[0.0, 1.0]] * 4)
    assert bootstrap([certain], lambda scores: float(scores.mean())) == (0.5, 0.5, 0.5)


def test_the_area_is_the_mean_success() -> None:
    assert area_under_curve([1.0, 2.0], [1.0, 1.0], 2.0) == pytest.approx(1.0)
    assert area_under_curve([0.0, 2.0], [0.0, 1.0], 2.0) == pytest.approx(0.5)
    assert area_under_curve([0.0, 1.0], [0.0, 1.0], 2.0) == pytest.approx(0.75), "as at its last point after it"


def test_reaching_is_not_staying() -> None:
    minutes = [1.0, 2.0, 3.0, 4.0]
    assert minutes_to_stay(minutes, [0.5, 0.9, 0.9, 1.0], 0.9) == 2.0
    assert minutes_to_stay(minutes, [0.9, 0.9, 0.8, 0.9], 0.9) == 4.0
    assert minutes_to_stay(minutes, [1.0, 1.0, 1.0, 0.8], 0.9) == float("inf")
