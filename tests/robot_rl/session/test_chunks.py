"""The plan of stamped actions, and when to ask for more: pure, with robot time as an argument."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.spatial import Pose
from robot_rl.contract import ActionChunk, ActionSpec, ContractError
from robot_rl.contract.steps import MAX_ROWS, MAX_SPACING
from robot_rl.session.acting import Acting, Asking
from robot_rl.session.chunks import ChunkBuffer
from robot_rl.session.config import SessionConfig

PERIOD = 0.1


def chunk(stamp: float, count: int, times: np.ndarray | None = None, version: int = 1) -> ActionChunk:
    """Each action is the robot time [s] at which it is due."""
    due = stamp + (PERIOD * np.arange(count) if times is None else times)
    return ActionChunk(round(stamp * 1e9), due[:, None], version, times)


def acted(buffer: ChunkBuffer, ticks: np.ndarray) -> list[float | None]:
    due = [buffer.due(now) for now in ticks]
    return [None if action is None else round(action.due, 6) for action in due]


def test_a_chunk_acts_at_its_times_and_then_nothing_does() -> None:
    buffer = ChunkBuffer(PERIOD)
    assert buffer.take(chunk(2.0, 3), asked=2.0, upcoming=2.0) == 0
    assert buffer.covered(2.0) == 3
    assert acted(buffer, 2.0 + PERIOD * np.arange(4)) == [2.0, 2.1, 2.2, None]
    assert buffer.covered(2.4) == 0


def test_a_place_is_gone_to_from_wherever_the_arm_is() -> None:
    spec = ActionSpec(("x", "z", "yaw", "gripper"), (0.01, 0.01, 0.05, 1.0))
    place = Pose.from_rotvec(np.array([0.5, 0.3, 0.2]), np.array([0.0, 0.0, 0.1]))
    rows = np.array([[1.0, 1.0, 1.0, -1.0]] * 2)
    places = np.array([[*place.translation, *place.quat_xyzw]] * 2)
    buffer = ChunkBuffer(PERIOD)
    buffer.take(ActionChunk(0, rows, places=places), 0.0, 0.0)
    for now, way in ((0.0, (0.004, -0.002, 0.02)), (0.1, (-0.04, 0.0, 0.01))):
        due = buffer.due(now)
        assert due is not None
        x, z, yaw = way
        here = place.moved(-np.array([x, 0.5, z, 0.0, 0.0, yaw]))
        np.testing.assert_allclose(
            due.wish(here, spec), np.clip([x / 0.01, z / 0.01, yaw / 0.05, -1.0], -1.0, 1.0), atol=1e-6
        )


@pytest.mark.parametrize(
    ("places", "words"),
    [
        (np.zeros((2, 7)), r"shape \(2, 7\), not \(1, 7\)"),
        (np.zeros((1, 6)), r"shape \(1, 6\), not \(1, 7\)"),
        (np.zeros((1, 7)), "a place of an action chunk is none"),
        (np.full((1, 7), np.nan), "a place of an action chunk is none"),
    ],
)
def test_a_place_that_is_none_is_refused(places: np.ndarray, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        ActionChunk(0, np.zeros((1, 3)), places=places)


def test_what_is_past_is_dropped_and_counted() -> None:
    buffer = ChunkBuffer(PERIOD)
    assert buffer.take(chunk(1.0, 5), asked=1.0, upcoming=1.3) == 3
    assert acted(buffer, np.array([1.3, 1.4, 1.5])) == [1.3, 1.4, None]
    assert buffer.take(chunk(1.0, 5), asked=1.0, upcoming=2.0) == 5
    assert buffer.due(2.0) is None


def test_the_old_chunk_goes_on_until_the_new_one_is_due_and_not_beyond() -> None:
    buffer = ChunkBuffer(PERIOD)
    buffer.take(chunk(0.0, 12, version=1), 0.0, 0.0)
    late = buffer.take(chunk(0.2, 3, np.array([0.2, 0.3, 0.4]), version=2), asked=0.2, upcoming=0.3)
    assert late == 0
    versions = [(action := buffer.due(now)) and action.version for now in PERIOD * np.arange(3, 9)]
    assert versions == [1, 2, 2, 2, None, None], "of the old one, what follows is void"


def test_an_answer_that_is_wholly_past_changes_nothing() -> None:
    buffer = ChunkBuffer(PERIOD)
    buffer.take(chunk(0.0, 12), 0.0, 0.0)
    assert buffer.take(chunk(0.1, 2), asked=0.1, upcoming=0.5) == 2
    assert acted(buffer, np.array([0.5, 0.6])) == [0.5, 0.6]


def test_a_policy_slower_than_the_task_acts_until_its_next_action_is_due() -> None:
    buffer = ChunkBuffer(PERIOD)
    buffer.take(chunk(0.0, 3, np.array([0.0, 0.2, 0.4])), 0.0, 0.0)
    assert buffer.covered(0.0) == 6
    assert acted(buffer, PERIOD * np.arange(7)) == [0.0, 0.0, 0.2, 0.2, 0.4, 0.4, None]


def test_of_a_policy_faster_than_the_task_the_nearest_actions_act() -> None:
    buffer = ChunkBuffer(PERIOD)
    buffer.take(chunk(0.0, 12, 0.03 * np.arange(12)), 0.0, 0.0)
    assert acted(buffer, PERIOD * np.arange(5)) == [0.0, 0.09, 0.21, 0.3, None]


def test_a_gap_in_the_plan_is_not_covered() -> None:
    buffer = ChunkBuffer(PERIOD)
    buffer.take(chunk(0.0, 3), 0.0, 0.0)
    buffer.take(chunk(0.1, 3, np.array([0.4, 0.5, 0.6])), 0.1, 0.1)
    assert buffer.covered(0.1) == 2
    assert acted(buffer, PERIOD * np.arange(1, 9)) == [0.1, 0.2, None, None, 0.5, 0.6, 0.7, None]


@given(
    period=st.sampled_from([0.02, 0.05, 0.1, 0.2]),
    jitter=st.lists(st.floats(-0.4, 0.4), min_size=60, max_size=60),
    answers=st.lists(
        st.tuples(st.integers(0, 50), st.floats(0.0, 2.0), st.integers(1, 20)), max_size=12, unique_by=lambda a: a[0]
    ),
)
def test_no_action_acts_outside_its_time_and_none_before_another(
    period: float, jitter: list[float], answers: list[tuple[int, float, int]]
) -> None:
    """``answers``: tick of the observation, latency [s] and number of actions. Ticks tremble around the grid."""
    buffer = ChunkBuffer(period)
    ticks = [period * (tick + wobble) for tick, wobble in enumerate(jitter)]
    coming = sorted((ticks[tick] + latency, ticks[tick], count) for tick, latency, count in answers)
    planned = dropped = executed = 0
    before = -1.0
    newest = -1.0
    for tick, now in enumerate(ticks):
        while coming and coming[0][0] <= now:
            _, asked, count = coming.pop(0)
            if asked > newest:  # as `Asking` sees to
                newest = asked
                actions = asked + period * np.arange(count)
                planned += count
                dropped += buffer.take(ActionChunk(0, actions[:, None]), asked, now)
        action = buffer.due(now)
        if action is not None:
            executed += 1
            assert abs(action.due - now) <= 0.5 * period + 2e-6
            assert action.due >= before
            assert float(action.action[0]) == pytest.approx(action.due, abs=1e-5)
            before = action.due
        assert (buffer.covered(now) > 0) == (action is not None), tick
    assert 0 <= dropped <= planned


@pytest.mark.parametrize(
    ("rows", "times", "words"),
    [
        (MAX_ROWS + 1, None, f"{MAX_ROWS} are allowed"),
        (3, [0.0, 0.1], "have shape"),
        (2, [0.1, 0.1], "must rise"),
        (2, [0.1, 0.05], "must rise"),
        (2, [-0.1, 0.0], "at least 0"),
        (2, [0.0, np.nan], "finite"),
        (2, [0.0, MAX_SPACING + 0.1], "must rise"),
    ],
)
def test_chunks_out_of_bounds_are_refused(rows: int, times: list[float] | None, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        ActionChunk(0, np.zeros((rows, 2)), times=None if times is None else np.array(times))


def asking(patience: float = 1.0) -> Asking:
    return Asking(PERIOD, 0.06, patience)


def wants(line: Asking, now: float, covered: int = 0, ahead: int = 0, person: bool = False) -> bool:
    return line.wants(now, covered, ahead, person)


def test_a_policy_that_answers_at_once_is_asked_when_its_chunk_is_used_up() -> None:
    line = asking()
    for k in range(20):
        line.sent(k, PERIOD * k)
        assert line.answered(k, PERIOD * k + 0.01) == PERIOD * k
    assert line.delay == 0
    assert [wants(line, 3.0, covered) for covered in (2, 1, 0)] == [False, False, True]
    assert [wants(line, 3.0, covered, ahead=2) for covered in (3, 2, 1)] == [False, True, True]


def test_a_slow_policy_is_asked_as_early_as_its_slowest_late_answer_took() -> None:
    line = asking()
    for k, latency in enumerate((0.07, 0.31, 0.7, 0.2)):
        line.sent(k, 10.0 * k)
        line.answered(k, 10.0 * k + latency)
    assert line.delay == 7
    assert [wants(line, 90.0, covered) for covered in (8, 7)] == [False, True]
    for k in range(10, 20):
        line.sent(k, 10.0 * k)
        line.answered(k, 10.0 * k + 0.07)
    assert line.delay == 1, "what was long ago does not count"


def test_a_first_answer_is_a_forecast_only_as_long_as_there_is_no_other() -> None:
    line = asking()
    line.sent(1, 0.0)
    line.answered(1, 5.0, first=True)
    assert line.delay == 50
    line.sent(2, 5.0)
    line.answered(2, 5.3)
    assert line.delay == 3
    line.sent(3, 6.0)
    line.answered(3, 7.0, first=True)
    assert line.delay == 3


def test_new_parameters_or_another_process_make_an_answer_a_first_one() -> None:
    acting = Acting(SessionConfig(policy_timeout=20.0), ("x",), PERIOD)
    now, forecasts = 0.0, []
    for stamp, (version, latency, restarts) in enumerate(
        [(1, 5.0, False), (1, 0.3, False), (2, 2.0, False), (2, 0.2, False), (2, 3.0, True), (2, 0.4, False)]
    ):
        if restarts:
            acting.restarted()
        acting.look(stamp, now, person=False)
        assert acting.wants
        now += latency
        acting.answer(ActionChunk(stamp, np.zeros((1, 1)), version), now)
        forecasts.append(acting.delay)
        now += 1.0
    assert forecasts == [50, 3, 3, 3, 3, 4]


def test_one_at_a_time_unless_it_is_overdue() -> None:
    line = asking(patience=0.5)
    line.sent(1, 1.0)
    assert line.awaits and not wants(line, 1.4)
    assert wants(line, 1.5)
    line.sent(2, 1.5)
    assert line.answered(1, 1.6) == 1.0, "the first may still come"
    assert line.awaits and not wants(line, 1.7)
    line.sent(3, 2.1)
    assert line.answered(3, 2.2) == 2.1
    assert not line.awaits
    with pytest.raises(ContractError, match="not asked about"):
        line.answered(2, 2.3)  # older than what has been answered


def test_an_answer_is_waited_for_longer_where_answers_take_longer() -> None:
    line = asking(patience=0.5)
    line.sent(1, 0.0)
    line.answered(1, 0.9)
    line.sent(2, 1.0)
    assert not wants(line, 2.7) and wants(line, 2.81)


def test_what_a_person_interrupts_is_not_wanted_and_a_slow_policy_not_asked_meanwhile() -> None:
    line = asking()
    line.sent(1, 1.0)
    line.void()
    assert not line.awaits and not wants(line, 1.1, person=True), "it is still busy"
    assert line.answered(1, 1.7) is None
    assert not wants(line, 1.8, person=True), "it cannot say what it would have done"
    assert wants(line, 1.8)


def test_answers_to_nothing_are_refused_by_name() -> None:
    acting = Acting(SessionConfig(), ("x", "y"), PERIOD)
    acting.look(10, 1.0, person=False)
    for wrong in (ActionChunk(11, np.zeros((1, 2))), ActionChunk(9, np.zeros((1, 2)))):
        with pytest.raises(ContractError, match=rf"{wrong.stamp_ns} ns, which was not asked about"):
            acting.answer(wrong, 1.01)
    assert acting.waits and acting.dropped_answers == 2
    with pytest.raises(ContractError, match=r"3 axes does not fit this task's x, y"):
        acting.answer(ActionChunk(10, np.zeros((1, 3))), 1.02)
    assert not acting.waits and acting.decide() is None
    acting.look(20, 1.1, person=False)
    assert acting.wants, "it is asked anew"
    acting.answer(ActionChunk(20, np.zeros((1, 2))), 1.11)
    assert not acting.waits
    assert acting.decide() is not None
    assert (acting.dropped_answers, acting.late_actions) == (3, 0)
