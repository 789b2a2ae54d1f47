"""Numbers of records: whatever a network does to them, each is judged once, and none is handed out late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hardware.force.sequence import BITS, WINDOW, SequenceTracker
from hardware.interfaces import ForceEventKind

WRAP = 1 << BITS


@given(
    first=st.sampled_from([0, 1, WRAP - 1, WRAP - 20]) | st.integers(0, WRAP - 1),
    order=st.lists(st.integers(0, 60), min_size=1, max_size=80),
)
def test_every_record_is_judged_as_it_came(first: int, order: list[int]) -> None:
    tracker = SequenceTracker()
    seen: set[int] = set()
    newest = order[0]
    for step in order:
        arrival = tracker.feed((first + step) % WRAP)
        if not seen:
            expected = (True, None, 0)
        elif step in seen:
            expected = (False, ForceEventKind.REPEATED, 1) if step >= order[0] else None
        elif step < newest:
            expected = (False, ForceEventKind.REORDERED, 1)
        elif step > newest + 1:
            expected = (True, ForceEventKind.LOST, step - newest - 1)
        else:
            expected = (True, None, 0)
        if expected is not None:  # of those before the first, nobody keeps which have come
            assert tuple(arrival) == expected
        assert arrival.newer == (not seen or step > newest)
        seen.add(step)
        newest = max(newest, step)


def test_a_device_that_counts_anew_is_named() -> None:
    tracker = SequenceTracker()
    tracker.feed(WINDOW + 100)
    assert tracker.feed(1) == (True, ForceEventKind.RESTARTED, 1)
    assert tracker.feed(2) == (True, None, 0)


def test_a_gap_of_any_size_is_counted_in_bounded_memory() -> None:
    tracker = SequenceTracker()
    tracker.feed(0)
    assert tracker.feed(10**9) == (True, ForceEventKind.LOST, 10**9 - 1)
    assert tracker.feed(10**9 - 1).kind is ForceEventKind.REORDERED
