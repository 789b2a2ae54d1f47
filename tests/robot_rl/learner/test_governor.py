"""The update-to-data governor: never ahead, nothing forgiven, exact accounting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.learner.governor import UtdGovernor

MOVES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 300)), max_size=60)


@given(st.floats(0.01, 25.0), st.integers(0, 50), MOVES)
def test_invariants_under_any_history(target: float, start_after: int, moves) -> None:
    governor = UtdGovernor(target, start_after)
    for steps, wish in moves:
        governor.receive(steps)
        governor.make(min(wish, governor.due))
        earned = target * max(0, governor.received - start_after)
        assert -1e-6 < earned - (governor.made + governor.due) < 1.0 + 1e-6
        assert governor.due >= 0
        assert governor.ratio <= target + 1e-9
    again = UtdGovernor(target, start_after)
    again.restore(governor.state())
    assert again == governor


def test_another_target_concerns_the_steps_from_then_on() -> None:
    governor, faster = UtdGovernor(4.0, start_after=10), UtdGovernor(8.0, start_after=10)
    governor.receive(110)
    governor.make(400)
    faster.restore(governor.state())
    assert faster.due == 0
    faster.receive(1)
    assert faster.due == 8


@given(st.floats(0.01, 25.0), st.lists(st.integers(0, 40), max_size=60))
def test_a_learner_that_keeps_up_is_at_its_target_within_one_update(target: float, arrivals) -> None:
    governor = UtdGovernor(target, start_after=10)
    for steps in arrivals:
        governor.receive(steps)
        governor.make(governor.due)
    assert target * governor.counted - 1 < governor.made + 1e-6 and governor.made <= target * governor.counted + 1e-6


def test_nothing_is_due_before_the_start_and_when_the_data_stops() -> None:
    governor = UtdGovernor(4.0, start_after=100)
    governor.receive(100)
    assert governor.due == 0
    governor.receive(1)
    assert governor.due == 4
    governor.make(4)
    assert governor.due == 0
    with pytest.raises(ValueError, match="1 updates made where 0 were due"):
        governor.make(1)


def test_values_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="target"):
        UtdGovernor(0.0)
    with pytest.raises(ValueError, match="start_after"):
        UtdGovernor(1.0, start_after=-1)
    with pytest.raises(ValueError, match="cannot receive"):
        UtdGovernor(1.0).receive(-1)
