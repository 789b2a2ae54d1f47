"""The lease on an arm: unit tests, and random histories against a plain re-statement of its rule."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.lease import TIMEOUT, Lease, LeaseError, Priority, Writer

POLICY, RESET, PERSON, STOP = Priority
ADA, BOB, EVE = Writer(1, "/ada"), Writer(2, "/bob"), Writer(3, "/eve")


def test_whoever_commands_first_holds_it_as_long_as_they_go_on() -> None:
    lease = Lease()
    assert lease.holder(0.0) is None
    for now in (0.0, 0.25, 0.5, 0.75):
        assert lease.claim(ADA, POLICY, now).granted
        assert not lease.claim(BOB, POLICY, now + 0.01).granted
    assert lease.holder(0.75 + TIMEOUT - 1e-6).writer == ADA
    assert lease.holder(0.75 + TIMEOUT + 1e-6) is None
    assert lease.claim(BOB, POLICY, 1.2).granted
    assert not lease.claim(ADA, POLICY, 1.3).granted


@pytest.mark.parametrize("holder", [POLICY, RESET, PERSON])
@pytest.mark.parametrize("other", list(Priority))
def test_only_a_higher_priority_takes_it_away(holder: Priority, other: Priority) -> None:
    lease = Lease()
    lease.claim(ADA, holder, 0.0)
    assert lease.claim(BOB, other, 0.1).granted == (other > holder)
    assert lease.holder(0.1).writer == (BOB if other > holder else ADA)


def test_a_refusal_names_both_and_is_news_once() -> None:
    lease = Lease()
    lease.claim(ADA, RESET, 0.0)
    first, second = lease.claim(BOB, POLICY, 0.1), lease.claim(BOB, POLICY, 0.11)
    assert first.refusal == "/bob (policy) may not command: /ada has the lease (reset)"
    assert (first.news, second.news, second.refusal) == (True, False, first.refusal)
    assert lease.claim(EVE, POLICY, 0.12).news, "another intruder"
    assert lease.claim(EVE, PERSON, 0.13).granted
    assert lease.claim(BOB, POLICY, 0.14).news, "another holder"
    assert lease.claim(BOB, POLICY, 0.5).granted
    assert lease.claim(EVE, POLICY, 0.6).news, "it has held the lease since"
    assert lease.claim(ADA, PERSON, 0.61) == (True, "", False)


def test_a_holder_may_step_down_and_is_then_what_it_stepped_down_to() -> None:
    lease = Lease()
    lease.claim(ADA, PERSON, 0.0)
    assert not lease.claim(BOB, RESET, 0.05).granted
    lease.claim(ADA, POLICY, 0.1)
    assert lease.claim(BOB, RESET, 0.15).granted


def test_a_command_without_a_priority_keeps_the_one_there_is() -> None:
    lease = Lease()
    lease.claim(ADA, PERSON, 0.0)
    lease.claim(ADA, None, 0.1)
    assert lease.holder(0.1).priority is PERSON
    assert not lease.claim(BOB, None, 0.1).granted
    lease.claim(BOB, None, 1.0)
    assert lease.holder(1.0).priority is POLICY


def test_a_stop_lasts_until_it_is_released() -> None:
    lease = Lease()
    lease.claim(ADA, PERSON, 0.0)
    assert lease.claim(EVE, STOP, 0.1).granted
    for writer in (ADA, BOB, EVE):
        assert not lease.claim(writer, PERSON, 1e6).granted
    assert lease.claim(EVE, STOP, 1e6).granted
    assert not lease.claim(ADA, STOP, 1e6).granted
    with pytest.raises(LeaseError, match=r"/ada cannot release .*/eve has the lease \(stop\)"):
        lease.release(ADA)
    lease.release(EVE)
    assert lease.holder(1e6) is None
    assert lease.claim(ADA, POLICY, 1e6).granted
    lease.release(ADA)
    lease.release(BOB)  # nobody holds it: nothing to let go of


def test_a_writer_under_another_name_keeps_what_it_holds() -> None:
    lease, named = Lease(), Writer("/ada", "/ada")
    lease.claim(ADA, PERSON, 0.0)
    lease.rename(BOB, EVE)
    assert lease.holder(0.0).writer == ADA
    lease.rename(ADA, named)
    assert lease.holder(0.0) == (named, PERSON, 0.0)
    assert lease.claim(named, POLICY, 0.1).granted
    assert not lease.claim(ADA, POLICY, 0.2).granted


def test_time_in_which_nobody_listened_does_not_count() -> None:
    lease = Lease()
    lease.excuse(1.0)  # nobody holds it
    lease.claim(ADA, POLICY, 0.0)
    lease.excuse(2.0)
    assert not lease.claim(BOB, POLICY, 2.0 + TIMEOUT - 1e-6).granted
    assert lease.claim(ADA, POLICY, 2.0 + TIMEOUT - 1e-6).granted
    lease.excuse(2.0)
    assert lease.claim(BOB, POLICY, 4.0 + 2 * TIMEOUT + 1e-6).granted, "but what is left is not longer"


@pytest.mark.parametrize("seconds", [-1e-9, math.nan, math.inf])
def test_a_pause_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(LeaseError, match=f"not {seconds} s"):
        Lease().excuse(seconds)


@pytest.mark.parametrize("timeout", [0.0, -1.0, math.nan, math.inf])
def test_a_timeout_that_is_none_is_refused(timeout: float) -> None:
    with pytest.raises(LeaseError, match=f"not {timeout} s"):
        Lease(timeout)


histories = st.lists(
    st.tuples(
        st.floats(0.0, 0.5),  # time since the command before
        st.sampled_from([ADA, BOB, EVE]),
        st.sampled_from([POLICY, RESET, PERSON]),
    ),
    min_size=1,
    max_size=60,
)


@given(histories)
def test_of_any_history_one_writer_holds_it_at_a_time(history: list[tuple[float, Writer, Priority]]) -> None:
    """The rule, stated over the whole past instead of as a state: somebody is refused if, and only if, another one was
    granted a command less than the timeout ago, since when nobody else was, at the same priority or a higher one."""
    lease, now = Lease(), 0.0
    granted: list[tuple[float, Writer, Priority]] = []
    for after, writer, priority in history:
        now += after
        rivals = [g for g in granted[-1:] if now - g[0] <= TIMEOUT and g[1] != writer and g[2] >= priority]
        claim = lease.claim(writer, priority, now)
        assert claim.granted == (not rivals)
        assert bool(claim.refusal) == (not claim.granted)
        if claim.granted:
            granted.append((now, writer, priority))
        held = lease.holder(now)
        assert (held.commanded, held.writer, held.priority) == granted[-1]


@given(histories, st.integers(0, 59))
def test_nothing_is_granted_between_a_stop_and_its_release(history: list, when: int) -> None:
    lease, now, when = Lease(), 0.0, when % len(history)
    stop = Writer("button", "the button")
    for index, (after, writer, priority) in enumerate(history):
        now += after
        if index == when:
            assert lease.claim(stop, STOP, now).granted
        assert not (lease.claim(writer, priority, now).granted and index >= when)
