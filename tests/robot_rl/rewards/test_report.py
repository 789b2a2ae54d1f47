"""Reports: figures by hand, copies of frames, refusals; as JSON lines, words and a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.contract import ContractError
from robot_rl.rewards.filtering import FilterSettings
from robot_rl.rewards.frames import calibration, confusion, runs
from robot_rl.rewards.judged import JudgedEpisode, judged
from robot_rl.rewards.labels import FAILURE, LEFT_OUT, SUCCESS, LabelsError
from robot_rl.rewards.picture import draw, mistaken, png
from robot_rl.rewards.promise import PromiseError, Wanted, upper_bound
from robot_rl.rewards.report import Report, ReportSettings, report, reports
from robot_rl.rewards.telling import in_words, json_lines
from tests.robot_rl.rewards.episodes import PERIOD_NS, episode

S, F, X = SUCCESS, FAILURE, LEFT_OUT
FILTER = FilterSettings(2, 2, 0.0)
WANTED = Wanted(0.5, 0.9)  # 4 failures without an error; 7 allow one
MAKE = Callable[[], list[JudgedEpisode]]


def few() -> list[JudgedEpisode]:
    """Four failures with peaks 0.1, 0.2, 0.3 and 0.6; three successes: recognised, missed, too soon."""
    return [
        episode("fail/1", [0.1, 0.1, 0.9, 0.1], version=3),
        episode("fail/2", [0.2, 0.2, 0.2, 0.2], version=3),
        episode("fail/3", [0.3, 0.3, 0.1, 0.1], version=4),
        episode("fail/4", [0.6, 0.7, 0.1, 0.1], version=4),
        episode("good/1", [0.1, 0.2, 0.7, 0.8, 0.9], [F, F, X, S, S], version=4),
        episode("good/2", [0.1, 0.2, 0.5, 0.5, 0.9], [F, F, X, S, S]),
        episode("good/3", [0.8, 0.9, 0.7, 0.8, 0.9], [F, F, X, S, S]),
    ]


@pytest.fixture(name="made")
def make_report() -> Report:
    return report(few(), FILTER, WANTED)


def test_the_threshold_is_of_the_failures_after_the_filter(made: Report) -> None:
    """fail/1 has the highest frame of all, and only one."""
    assert [one.false_peak for one in made.results[:4]] == [0.1, 0.2, 0.3, 0.6]
    assert made.thresholds.success == made.promise.threshold == 0.6
    assert (made.promise.allowed, made.promise.kept) == (0, True)
    assert made.promise.bound == pytest.approx(1 - 0.1**0.25)


def test_episodes_are_counted_by_what_they_are_taken_for(made: Report) -> None:
    assert (made.successes, made.failures, made.recognised, made.premature, made.false) == (3, 4, 1, 1, 0)
    assert made.recall == 1 / 3 and made.precision == 1 / 2
    assert made.recall_bound is not None and 1 - (1 - made.recall_bound) ** 3 == pytest.approx(0.1)
    decided = {one.name: one.decided_ns for one in made.results if one.decided_ns is not None}
    assert decided == {"good/1": 3 * PERIOD_NS, "good/3": PERIOD_NS}
    assert made.versions == (-1, 3, 4)


def test_most_missed_successes_are_for_a_person(made: Report) -> None:
    assert made.thresholds.doubt == pytest.approx(0.5) and made.thresholds.doubt < 0.5
    assert [one.true_peak for one in made.results[4:]] == [0.8, 0.5, 0.8]


def test_the_zone_that_a_person_is_asked_about_may_be_set() -> None:
    found = report(few(), FILTER, WANTED, ReportSettings(least=0.95, doubt=0.2)).thresholds
    assert (found.success, found.doubt) == (0.95, 0.2)
    assert report(few(), FILTER, WANTED, ReportSettings(doubt=0.9)).thresholds.doubt < 0.5, "at most"


def test_false_successes_by_failure_time(made: Report) -> None:
    """Four failures of 0.4 s, two successes with 0.2 s before it, and 0.2 s until the one taken too soon."""
    hours = (4 * 0.4 + 3 * 0.2) / 3600
    assert made.hourly.hours == pytest.approx(hours)
    assert (made.hourly.events, made.hourly.rate) == (1, pytest.approx(1 / hours))
    most = 4 * upper_bound(0, 4, 0.95) + 3 * upper_bound(1, 3, 0.95)  # half the risk each
    assert made.hourly.bound == pytest.approx(most / hours)


def test_frames_by_hand(made: Report) -> None:
    frames = made.frames
    assert (frames.true_positive, frames.false_negative) == (5, 1)
    assert (frames.false_positive, frames.true_negative) == (4, 18)
    assert frames.precision == 5 / 9 and frames.recall == 5 / 6


def test_mistakes_begin_with_those_that_the_filter_let_through(made: Report) -> None:
    found = [(one.episode, one.frame, one.probability, one.decided) for one in made.false_positives]
    assert found == [("good/3", 1, 0.9, True), ("fail/1", 2, 0.9, False), ("fail/4", 1, 0.7, False)]
    found = [(one.episode, one.frame, one.probability, one.decided) for one in made.false_negatives]
    assert found == [("good/2", 3, 0.5, True)]
    assert made.false_negatives[0].stamp_ns == 3 * PERIOD_NS and made.false_negatives[0].success
    shorter = report(few(), FILTER, WANTED, ReportSettings(mistakes=1))
    assert shorter.false_positives == made.false_positives[:1]


def test_runs_of_errors_are_measured_before_the_filter() -> None:
    one = episode("a", [0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.9], [F, F, F, F, F, S, F])
    pause = judged("b", False, np.array([0, PERIOD_NS, 10 * PERIOD_NS]), np.array([0.1, 0.9, 0.9]), np.array([F, F, F]))
    found = runs([one, pause, episode("c", [0.1, 0.1])], 0.5, gap=0.5)
    assert found.lengths == (2, 2, 1, 1, 1)
    assert found.seconds == pytest.approx((0.2, 0.2, 0.5, 0.3, 0.1))
    assert (found.episodes, found.frames) == (2, 11)
    assert found.persistence == pytest.approx(1 - 5 / 7)
    assert runs([episode("c", [0.1])], 0.5, 0.5).persistence is None


def test_the_calibration_by_hand() -> None:
    """Two bins: 0.2 and 0.4 with none and one success, 0.9 twice with two; the one left out does not count."""
    one = episode("a", [0.2, 0.4, 0.9, 0.9, 0.6], [F, S, S, S, X])
    found = calibration([one], bins=2)
    assert [(each.frames, each.said, each.found) for each in found.bins] == [
        (2, pytest.approx(0.3), 0.5),
        (2, 0.9, 1.0),
    ]
    assert found.error == pytest.approx(0.5 * 0.2 + 0.5 * 0.1)
    assert found.brier == pytest.approx((0.04 + 0.36 + 0.01 + 0.01) / 4)
    assert calibration([episode("b", [1.0, 0.0], [S, F])]).error == 0.0


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from((F, S, X))), min_size=1, max_size=40))
def test_figures_of_frames_add_up(frames: list[tuple[float, int]]) -> None:
    one = episode("a", [p for p, _ in frames], [label for _, label in frames])
    labelled = sum(label != X for _, label in frames)
    counts = confusion([one], 0.5)
    assert sum((counts.true_positive, counts.false_positive, counts.true_negative, counts.false_negative)) == labelled
    if labelled:
        found = calibration([one])
        assert sum(each.frames for each in found.bins) == labelled
        assert 0.0 <= found.error**2 <= found.brier + 1e-12  # by Jensen, as bins only merge errors


def test_guards_keep_frames_from_being_a_success() -> None:
    stamps = np.arange(4) * PERIOD_NS
    guarded = np.array([True, True, False, False])
    one = judged("a", False, stamps, np.array([0.1, 0.2, 0.9, 0.9]), np.zeros(4), guarded)
    found = report([one], FILTER, WANTED)
    assert (found.promise.threshold, found.frames.false_positive) == (0.1, 1)
    assert found.calibration.bins[-1].frames == 2  # the classifier's own word


def with_copies(one: JudgedEpisode, frame: int, copies: int) -> JudgedEpisode:
    """The same, recorded with ``copies`` of a frame, half of them at the end."""
    order = np.arange(len(one.labels)).tolist()
    repeated = [*order[:frame], *[frame] * (copies // 2), *order[frame:], *[frame] * (copies - copies // 2)]
    columns = (one.stamps_ns, one.probabilities, one.labels, one.guarded, one.released)
    stamps, said, marks, guarded, released = (column[repeated] for column in columns)
    return judged(one.name, one.success, stamps, said, marks, guarded, released, one.version)


@given(st.integers(0, 6), st.integers(0, 3))
@settings(max_examples=20)
def test_200_copies_of_a_frame_change_nothing_in_the_report(number: int, frame: int) -> None:
    episodes = few()
    copied = [with_copies(one, frame, 200) if at == number else one for at, one in enumerate(episodes)]
    assert report(copied, FILTER, WANTED) == report(episodes, FILTER, WANTED)
    assert json_lines(report(copied, FILTER, WANTED)) == json_lines(report(episodes, FILTER, WANTED))


def test_a_picture_with_two_probabilities_is_refused() -> None:
    with pytest.raises(ContractError, match="episode a has several probabilities of its picture of 5 ns"):
        judged("a", False, np.array([5, 5]), np.array([0.1, 0.2]), np.array([F, F]))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"probabilities": np.array([0.1, 1.2])}, "probabilities of episode a must be from 0 to 1"),
        ({"probabilities": np.array([0.1, np.nan])}, "probabilities of episode a must be from 0 to 1"),
        ({"probabilities": np.array([0.1])}, "probabilities of episode a, of shape .1,., must be .2,."),
        ({"labels": np.array([F, 7])}, "labels of episode a must be 1, 0 or -1"),
        ({"labels": np.array([F, S])}, "episode a failed, but not all of its labels are 0"),
        ({"stamps_ns": np.array([1, 0])}, "stamps_ns of episode a"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(change: dict[str, np.ndarray], text: str) -> None:
    with pytest.raises(ContractError, match=text):
        replace(episode("a", [0.1, 0.2]), **change)


def test_no_threshold_of_a_stage_is_below_that_of_the_one_before() -> None:
    """Failures of the first stage score 0.7 and 0.3, those of the second 0.6 and 0.2; one error of two is allowed."""
    first = [episode("a", [0.7] * 5), episode("b", [0.3] * 5), episode("c", [0.9] * 5, [S] * 5)]
    second = [episode("a", [0.6] * 5), episode("b", [0.2] * 5), episode("c", [0.65] * 5, [S] * 5)]
    filtering, wanted = FilterSettings(needed=1, window=1), Wanted(rate=0.01)
    alone = report(second, filtering, wanted)
    assert alone.thresholds.success == 0.6 and alone.recognised == 1
    lifted, inserted = reports([first, second], filtering, wanted, ReportSettings())
    assert (lifted.thresholds.success, inserted.thresholds.success) == (0.7, 0.7)
    assert (lifted.recognised, inserted.recognised) == (1, 0), "it would not be held, so it is not said to be"
    assert inserted.promise == alone.promise
    rows = [json.loads(line) for line in json_lines(lifted, "lifted").splitlines()]
    assert {row["stage"] for row in rows} == {"lifted"} and rows[0]["kind"] == "report"


def test_a_copy_of_an_episode_is_refused() -> None:
    with pytest.raises(LabelsError, match="episode fail/2 is there more than once"):
        report([*few(), few()[1]], FILTER, WANTED)


def test_without_a_failure_there_is_no_report() -> None:
    with pytest.raises(PromiseError, match="no held-out failure"):
        report(few()[4:], FILTER, WANTED)


def test_without_a_success_shares_of_nothing_are_unknown() -> None:
    found = report(few()[:4], FILTER, WANTED)
    assert (found.recall, found.recall_bound, found.precision) == (None, None, None)
    assert found.thresholds.doubt == found.thresholds.success
    assert "recognised: unknown, no held-out episode succeeds" in in_words(found)
    assert json.loads(json_lines(found).splitlines()[0])["recall"] is None
    assert png(found)


def test_a_promise_that_is_not_kept_is_refused_in_words() -> None:
    words = in_words(report(few(), FILTER, Wanted()))
    (line,) = [line for line in words if line.startswith("no promise")]
    assert "takes 299 without an error, record 295 more; these support ≤ 53 %" in line


def test_a_person_reads_all_that_counts(made: Report) -> None:
    assert in_words(made) == [
        "held out: 3 successes, 4 failures, 0.000611 h of failure time",
        "success: 2 of 2 frames above 0.6; a person is asked above 0.5",
        "promise: of episodes that fail, at most 43.8 % are taken for a success (90 % confidence; 0 of 4 were)",
        "false successes: 1, 1.64e+03 an hour of failure time, at most 7.69e+03 (90 % confidence)",
        "recognised: 1 of 3 successes, at least 3.45 % (90 % confidence); 1 too soon",
        "errors before the filter: 3 runs in 3 episodes, the longest of 2 frames, 0.2 s; "
        "one follows on another at 25 %, independent ones would at 18.2 %",
        "frames: precision 55.6 %, recall 83.3 %; calibration error 0.229, Brier score 0.142",
        "taken for a success: good/3, frame 1, probability 0.900",
        "taken for a success: fail/1, frame 2, probability 0.900, put right by the filter",
        "taken for a success: fail/4, frame 1, probability 0.700, put right by the filter",
        "not taken for a success: good/2, frame 3, probability 0.500",
    ]


def test_json_lines_have_every_figure(made: Report) -> None:
    rows = [json.loads(line) for line in json_lines(made).splitlines()]
    kinds = [row["kind"] for row in rows]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "report": 1,
        "bin": 10,
        "episode": 7,
        "false_positive": 3,
        "false_negative": 1,
    }
    assert rows[0]["promise"]["threshold"] == 0.6 and rows[0]["promise"]["kept"] is True
    assert rows[0]["frames"]["precision"] == 5 / 9 and rows[0]["runs"]["lengths"] == list(made.runs.lengths)
    assert rows[-1]["stamp_ns"] == 3 * PERIOD_NS


def test_the_picture_shows_both_curves(made: Report) -> None:
    thresholds = np.array([0.0, 0.1, 0.3, 0.6, 1.0])
    false, missed = mistaken(made, thresholds)
    assert false.tolist() == [4, 3, 1, 0, 0]
    assert missed.tolist() == [0, 0, 0, 1, 3]
    left, right = draw(made).axes
    assert left.get_xlabel() == "probability said" and right.get_xlabel() == "threshold of the score"
    image = cv2.imdecode(np.frombuffer(png(made), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and image.std() > 10
