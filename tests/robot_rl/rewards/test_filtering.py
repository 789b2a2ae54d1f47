"""The temporal filter: scores by hand, and what holds for any sequence of frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.contract import ContractError
from robot_rl.contract.ranges import RangeError
from robot_rl.rewards.filtering import (
    Decision,
    FilterSettings,
    FilterState,
    Frame,
    Thresholds,
    asks_release,
    decide,
    peak,
    scores,
    step,
)
from tests.robot_rl.rewards.episodes import PERIOD_NS, frames

# In sixty-fourths, which floating point adds without an error.
PROBABILITIES = st.lists(st.integers(0, 64).map(lambda n: n / 64), max_size=30)
SETTINGS = st.builds(
    lambda needed, more, play: FilterSettings(needed, needed + more, play / 64),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(0, 16),
)


def test_the_score_is_the_kth_largest_of_the_latest_n() -> None:
    found = scores(FilterSettings(2, 3, 0.0), frames([0.9, 0.2, 0.8, 0.1, 0.1, 0.7, 0.6]))
    assert found.tolist() == [0.0, 0.2, 0.8, 0.2, 0.1, 0.1, 0.6]


def test_hysteresis_keeps_a_frame_above_the_threshold() -> None:
    """At θ = 0.5 with h = 0.25, 0.3 is still above it, 0.2 is not any more."""
    found = scores(FilterSettings(1, 1, 0.25), frames([0.75, 0.3, 0.2, 0.3]))
    assert found == pytest.approx([0.75, 0.55, 0.45, 0.45])


@given(PROBABILITIES, SETTINGS, st.integers(0, 64))
def test_a_score_above_a_threshold_is_k_of_n_frames_of_a_schmitt_trigger(
    probabilities: list[float], filtering: FilterSettings, at: int
) -> None:
    threshold, above, switched = at / 64, False, []
    for p in probabilities:
        above = p > threshold - filtering.hysteresis if above else p > threshold
        switched.append(above)
    windows = [switched[max(0, end - filtering.window) : end] for end in range(1, len(switched) + 1)]
    expected = [sum(window) >= filtering.needed for window in windows]
    assert (scores(filtering, frames(probabilities)) > threshold).tolist() == expected


@given(PROBABILITIES, SETTINGS, st.data())
def test_copies_and_late_frames_are_no_evidence(
    probabilities: list[float], filtering: FilterSettings, data: st.DataObject
) -> None:
    fresh = frames(probabilities)
    repeated: list[Frame] = []
    for number, frame in enumerate(fresh):
        old = data.draw(st.lists(st.sampled_from(fresh[: number + 1]), max_size=3))
        repeated += [frame, *old]
    assert peak(filtering, repeated) == peak(filtering, fresh)
    assert scores(filtering, repeated)[-1:].tolist() == scores(filtering, fresh)[-1:].tolist()


def test_200_copies_of_a_mistaken_frame_are_one_frame() -> None:
    found = scores(FilterSettings(2, 3, 0.0), [Frame(0, 0.1), *[Frame(1, 1.0)] * 200])
    assert found[-1] == 0.1


def test_frames_before_a_silence_do_not_count() -> None:
    filtering = FilterSettings(2, 3, 0.0, gap=0.5)
    for pause, expected in ((500_000_000, 0.9), (500_000_001, 0.0)):
        assert scores(filtering, [Frame(0, 0.9), Frame(pause, 0.9)])[-1] == expected


def test_a_frame_outside_the_guards_counts_as_a_failure() -> None:
    found = scores(FilterSettings(1, 1, 0.0), [Frame(0, 0.9), Frame(1, 0.9, guarded=False)])
    assert found.tolist() == [0.9, 0.0]


def test_decisions() -> None:
    thresholds = Thresholds(success=0.8, doubt=0.5)
    assert [decide(score, thresholds) for score in (0.5, 0.6, 0.8, 0.81)] == [
        Decision.NOT_YET,
        Decision.UNCERTAIN,
        Decision.UNCERTAIN,
        Decision.SUCCESS,
    ]


RECHECK = FilterSettings(2, 2, 0.0, recheck=0.25)


def test_a_success_counts_once_it_is_confirmed_after_letting_go() -> None:
    state, found, asked = FilterState(), [], []
    for frame in frames([0.9, 0.9, 0.8, 0.7, 0.7], [False, False, False, True, True]):
        state = step(RECHECK, state, frame)
        found.append(state.score)
        asked.append(asks_release(state, Thresholds(0.75, 0.75)))
    assert found == [0.0, 0.0, 0.0, 0.0, 0.7]  # the two frames after it, and not those before
    assert asked == [False, True, True, False, False]


def test_a_success_that_is_not_confirmed_in_time_lapses() -> None:
    """Within 0.25 s of letting go there are three frames; the two good ones come later."""
    found = scores(RECHECK, frames([0.9, 0.9, 0.1, 0.1, 0.1, 0.9, 0.9], [False, False, *[True] * 5]))
    assert found.max() == 0.1


def test_a_candidate_is_of_one_hold_only() -> None:
    let_go = [False, False, True, False, True, True]
    assert scores(RECHECK, frames([0.9, 0.9, 0.1, 0.2, 0.9, 0.9], let_go)).max() == 0.0


@pytest.mark.parametrize(
    ("probabilities", "released", "expected"),
    [
        ([0.9, 0.8], [False] * 2, 0.8),  # nobody asked it to let go
        ([0.9, 0.8, 0.1], [False, False, True], 0.8),  # the episode ended before the check
        ([0.9, 0.8, 0.1, 0.3, 0.1, 0.1], [False, False, *[True] * 4], 0.1),  # refuted
        ([0.9, 0.8, 0.7, 0.6, 0.1, 0.1], [False, False, *[True] * 4], 0.6),  # confirmed below 0.6
        ([0.9, 0.8, 0.1, 0.1], [False, False, True, False], 0.8),  # grasped again before the check
    ],
)
def test_what_no_recheck_has_refuted_counts_against_the_threshold(
    probabilities: list[float], released: list[bool], expected: float
) -> None:
    assert peak(RECHECK, frames(probabilities, released)) == expected


@given(PROBABILITIES, SETTINGS, st.lists(st.booleans(), max_size=30), st.sampled_from((0.0, 0.15, 0.35)))
@settings(max_examples=200)
def test_the_peak_is_no_less_than_any_score(
    probabilities: list[float], filtering: FilterSettings, released: list[bool], recheck: float
) -> None:
    chosen = FilterSettings(filtering.needed, filtering.window, filtering.hysteresis, recheck)
    seen = frames(probabilities, released[: len(probabilities)])
    found = scores(chosen, seen)
    assert ((found >= 0.0) & (found <= 1.0)).all()
    assert peak(chosen, seen) >= found.max(initial=0.0)
    if not recheck:
        assert peak(chosen, seen) == found.max(initial=0.0)


@pytest.mark.parametrize("probability", [-0.01, 1.01, float("nan")])
def test_a_probability_that_is_none_is_refused(probability: float) -> None:
    with pytest.raises(ContractError, match="probability="):
        step(FilterSettings(), FilterState(), Frame(0, probability))


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RangeError, match="needed=4 must be at most window=3"):
        FilterSettings(4, 3)
    with pytest.raises(RangeError, match=r"hysteresis=1\.5 must be a number from 0\.?0? to 1"):
        FilterSettings(hysteresis=1.5)
    with pytest.raises(RangeError, match=r"doubt=0\.9 must be at most success=0\.8"):
        Thresholds(0.8, 0.9)


def test_stamps_of_a_real_clock_are_told_apart() -> None:
    start = 1_700_000_000_000_000_000
    seen = [Frame(start + number * PERIOD_NS, 0.9) for number in range(3)]
    assert np.array_equal(scores(FilterSettings(3, 3), seen), [0.0, 0.0, 0.9])
