"""Marks → labels, and the split by episode."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.contract import ContractError
from robot_rl.contract.ranges import RangeError
from robot_rl.rewards.labels import (
    FAILURE,
    LEFT_OUT,
    SUCCESS,
    LabelledEpisode,
    LabelsError,
    Margin,
    Mark,
    MarkedEpisode,
    Split,
    SplitSettings,
    label,
    split,
    split_stages,
)

S, F, X = SUCCESS, FAILURE, LEFT_OUT
PERIOD_NS = 100_000_000
START_NS = 1_700_000_000_000_000_000


def labels(count: int, marks: list[tuple[int, int | None]], margin: Margin) -> list[int]:
    """Labels of frames at 10 Hz, with marks from frame to frame."""
    stamps = START_NS + np.arange(count) * PERIOD_NS
    at = [Mark(int(stamps[first]), None if last is None else int(stamps[last])) for first, last in marks]
    return label(MarkedEpisode("a/1", stamps, tuple(at)), margin).labels.tolist()


@pytest.mark.parametrize(
    ("marks", "margin", "expected"),
    [
        ([], Margin(), [F] * 10),
        ([(6, None)], Margin(0.0, 0.0), [F] * 6 + [S] * 4),
        ([(6, None)], Margin(0.25, 0.05), [F] * 4 + [X] * 3 + [S] * 3),
        ([(6, 9)], Margin(0.25, 0.15), [F] * 4 + [X] * 6),
        ([(2, 6)], Margin(0.15, 0.15), [F, X, X, X, S, X, X, X, F, F]),
        ([(0, 3)], Margin(0.0, 0.05), [X, S, S, X] + [F] * 6),
        ([(1, 2), (5, None)], Margin(0.0, 0.0), [F, S, S, F, F, S, S, S, S, S]),
        ([(2, None)], Margin(0.2, 0.2), [F, X, X, X, S, S, S, S, S, S]),
    ],
)
def test_the_margin_is_left_out(marks: list[tuple[int, int | None]], margin: Margin, expected: list[int]) -> None:
    assert labels(10, marks, margin) == expected


def test_an_end_after_the_last_frame_is_no_moment_of_the_episode() -> None:
    stamps = np.arange(5) * PERIOD_NS
    marked = MarkedEpisode("a/1", stamps, (Mark(200_000_000, 10**12),))
    assert label(marked, Margin(0.0, 0.0)).labels.tolist() == [F, F, S, S, S]


@pytest.mark.parametrize(
    ("stamps", "mark"), [([0, 1], Mark(2)), ([5, 6], Mark(4)), ([0, 9], Mark(5, 4)), ([1, 0], Mark(0)), ([], Mark(0))]
)
def test_what_does_not_fit_the_episode_is_refused_by_name(stamps: list[int], mark: Mark) -> None:
    with pytest.raises(ContractError, match="episode a/1"):
        MarkedEpisode("a/1", np.array(stamps, np.int64), (mark,))


def episode(name: str, success: bool) -> LabelledEpisode:
    return LabelledEpisode(name, success, np.array([F, S if success else F], np.int8))


def named(successes: int, failures: int) -> list[LabelledEpisode]:
    return [episode(f"run/{number}", number < successes) for number in range(successes + failures)]


def names(part: tuple[LabelledEpisode, ...]) -> set[str]:
    return {one.name for one in part}


def part_of(found: Split) -> dict[str, int]:
    parts = (found.learning, found.stopping, found.judging)
    return {one.name: number for number, part in enumerate(parts) for one in part}


@given(st.integers(5, 60), st.integers(5, 60), st.randoms(use_true_random=False))
def test_each_episode_is_in_one_part_whatever_their_order(successes: int, failures: int, random: object) -> None:
    episodes = named(successes, failures)
    settings = SplitSettings()
    found = split(episodes, settings)
    parts = (found.learning, found.stopping, found.judging)
    assert (
        sum(map(len, parts))
        == len(episodes)
        == len(names(found.learning) | names(found.stopping) | names(found.judging))
    )
    for kind, count in ((True, successes), (False, failures)):
        sizes = [sum(one.success is kind for one in part) for part in parts]
        assert min(sizes) >= 1
        assert abs(sizes[2] - settings.judging * count) <= 1.0 and abs(sizes[1] - settings.stopping * count) <= 1.0
    random.shuffle(episodes)  # type: ignore[attr-defined]
    assert part_of(split(episodes, settings)) == part_of(found)


@given(st.integers(5, 40), st.integers(5, 40), st.booleans())
def test_another_episode_moves_one_at_most_over_each_border(successes: int, failures: int, success: bool) -> None:
    episodes = named(successes, failures)
    before = part_of(split(episodes, SplitSettings()))
    after = part_of(split([*episodes, episode("new", success)], SplitSettings()))
    moved = [(before[name], after[name]) for name in before if before[name] != after[name]]
    for border in (0, 1):
        assert sum(min(pair) <= border < max(pair) for pair in moved) <= 1


def test_another_salt_gives_another_split() -> None:
    episodes = named(30, 30)
    assert part_of(split(episodes, SplitSettings(salt="1"))) != part_of(split(episodes, SplitSettings()))


def test_parts_of_any_size_leave_something_to_learn_from() -> None:
    found = split(named(5, 5), SplitSettings(stopping=0.04, judging=0.95))
    assert [len(part) for part in (found.learning, found.stopping, found.judging)] == [2, 2, 6]
    found = split(named(5, 5), SplitSettings(stopping=0.0, judging=0.0))
    assert [len(part) for part in (found.learning, found.stopping, found.judging)] == [10, 0, 0]


def test_a_mark_within_the_margin_teaches_nothing_and_is_no_failure_either() -> None:
    short = LabelledEpisode("short", True, np.array([F, X, X], np.int8))
    found = split([*named(5, 5), short], SplitSettings())
    assert names(found.unused) == {"short"} and "short" not in part_of(found)


@pytest.mark.parametrize(
    ("successes", "failures", "text"),
    [
        (0, 9, "0 episodes with success and 9 without make no .* record 5 more in which success is marked$"),
        (9, 0, "9 episodes with success and 0 without make no .* record 5 more that fail, best by a near miss$"),
        (3, 4, "which needs 5 of either; record 2 more in which success is marked and 1 more that fail"),
        (0, 0, "0 episodes with success and 0 without"),
    ],
)
def test_too_few_are_one_error_that_says_what_to_record(successes: int, failures: int, text: str) -> None:
    with pytest.raises(LabelsError, match=text):
        split(named(successes, failures), SplitSettings())


def test_marks_that_are_too_short_are_counted_in_the_error() -> None:
    short = LabelledEpisode("short", True, np.array([F, X, X], np.int8))
    with pytest.raises(LabelsError, match=r"4 episodes with success and 6 without \(1 more have marks that the margin"):
        split([*named(4, 6), short], SplitSettings())


def test_a_copy_of_an_episode_is_refused() -> None:
    with pytest.raises(LabelsError, match="episode run/3 is there more than once"):
        split([*named(5, 5), episode("run/3", True)], SplitSettings())


def staged(name: str, reached: str) -> tuple[LabelledEpisode, ...]:
    """An episode in two stages; a letter for each frame says how many are reached, "x" that it is left out of both."""
    of_stages = []
    for stage in (1, 2):
        found = [X if letter == "x" else int(int(letter) >= stage) for letter in reached]
        of_stages.append(LabelledEpisode(name, str(stage) in reached or "2" in reached, np.array(found, np.int8)))
    return tuple(of_stages)


NAMES = ("lifted", "inserted")


def test_stages_are_split_by_episode_and_by_the_stage_that_is_reached() -> None:
    kinds = {"a": "0000", "b": "0x11", "c": "0x1x22"}
    episodes = [staged(f"{kind}{number}", kinds[kind]) for kind in kinds for number in range(6)]
    found = split_stages(episodes, NAMES, SplitSettings(stopping=0.2, judging=0.3))
    parts = [sorted(one.name for one in part) for part in (found.learning, found.stopping, found.judging)]
    assert sorted(name for part in parts for name in part) == sorted(one[0].name for one in episodes)
    assert [[name[0] for name in part].count(kind) for part in parts for kind in "abc"] == [3] * 3 + [1] * 3 + [2] * 3
    few = [*episodes[:6], *episodes[6:8], *episodes[12:]]
    learnt = {one.name for one in split_stages(few, NAMES, SplitSettings(stopping=0.2, judging=0.3)).learning}
    assert {"b0", "b1"} <= learnt, "two of a kind are not shared out"
    (unused,) = split_stages(
        [*episodes, staged("d", "0x1xx")[:1] + (LabelledEpisode("d", True, np.array([F, X])),)], NAMES, SplitSettings()
    ).unused
    assert unused.name == "d"


@pytest.mark.parametrize(
    ("kinds", "text"),
    [
        (["0000"] * 5 + ["0x1x22"] * 3, "stage lifted: 3 episodes reach it and 5 do not, and .* record 2 and 0 more"),
        (["0000"] * 5 + ["0x1111"] * 5, "stage inserted: 0 episodes reach it and 10 do not"),
        (["0000"] * 5 + ["0xxx22"] * 5, "stage lifted has no frames: in each episode inserted is marked before"),
    ],
)
def test_stages_that_make_no_classifier_are_one_error(kinds: list[str], text: str) -> None:
    with pytest.raises(LabelsError, match=text):
        split_stages([staged(str(number), kind) for number, kind in enumerate(kinds)], NAMES, SplitSettings())


def test_parts_that_leave_nothing_are_refused() -> None:
    with pytest.raises(RangeError, match=r"judging=0\.9 and stopping=0\.15 must leave a part"):
        SplitSettings(judging=0.9)
