"""The comparison of two clocks, and what follows from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.contract.ranges import RangeError
from robot_rl.session.link import FEWEST, KEPT, Clocks, Exchange, Link, LinkConfig

NS = 1e9
PERIOD = 0.2  # [s] between questions
WAYS = st.lists(
    st.tuples(st.floats(1e-4, 0.5), st.floats(1e-4, 0.5)), min_size=FEWEST, max_size=2 * KEPT
)  # [s] there and back


def exchange(asked: float, there: float, back: float, offset: float) -> Exchange:
    """A question at ``asked`` [s] whose ways take ``there`` and ``back``, to a clock that is ``offset`` ahead."""
    times = (asked, asked + there + offset, asked + there + back)
    return Exchange(*(round(time * NS) for time in times))


def compared(ways: list[tuple[float, float]], offset: float) -> Link:
    link = Link(LinkConfig())
    for i, (there, back) in enumerate(ways):
        link.ask()
        link.hear(exchange(PERIOD * i, there, back, offset), PERIOD * i)
    return link


def now(link_of: list[tuple[float, float]]) -> float:
    """The time [s] of the last of so many answers."""
    return PERIOD * (len(link_of) - 1)


@given(ways=WAYS, offset=st.floats(-10.0, 10.0))
def test_the_offset_is_as_sure_as_it_says(ways: list[tuple[float, float]], offset: float) -> None:
    """However the ways differ: the error is at most half of the shortest round trip that is remembered."""
    clocks = compared(ways, offset).clocks()
    shortest = min(there + back for there, back in ways[-KEPT:])
    assert clocks.uncertainty == pytest.approx(500.0 * shortest, abs=1e-5)
    assert abs(clocks.offset - 1000.0 * offset) <= clocks.uncertainty + 1e-5


@given(ways=WAYS, offset=st.floats(-0.05, 0.05))
def test_no_episode_begins_with_clocks_that_are_apart(ways: list[tuple[float, float]], offset: float) -> None:
    allowed = compared(ways, offset).hindrance(now(ways)) == ""
    assert not (allowed and abs(offset) > LinkConfig().offset_limit + 1e-9)


def test_clocks_that_agree_hinder_nothing_and_others_are_told_apart() -> None:
    ways = [(0.002, 0.002)] * FEWEST
    assert compared(ways, 0.001).hindrance(now(ways)) == ""
    apart = compared(ways, -0.05).hindrance(now(ways))
    assert "50.0 ms behind (±2.0, jitter 0.0 ms), round trip 4.0 ms" in apart
    assert "link.offset_limit, 20 ms" in apart and "synchronise" in apart
    slow = [(0.03, 0.03)] * FEWEST
    assert "nobody knows whether they agree" in compared(slow, 0.0).hindrance(now(slow))


def test_nothing_is_known_before_a_few_answers_nor_after_a_silence() -> None:
    ways = [(0.002, 0.002)] * FEWEST
    assert Link(LinkConfig()).hindrance(0.0) == "the other computer does not answer"
    assert "being compared" in compared(ways[1:], 0.0).hindrance(now(ways[1:]))
    link = compared(ways, 0.0)
    later = now(ways) + LinkConfig().silence + 0.1
    assert link.hindrance(later) == "the other computer does not answer"
    link.hear(exchange(later, 0.002, 0.002, 0.0), later)
    assert "being compared" in link.hindrance(later)


def test_a_clock_that_is_set_while_it_runs_is_noticed_once_the_exchanges_before_are_forgotten() -> None:
    ways = [(0.002, 0.002)] * KEPT
    link = compared(ways, 0.0)
    for i in range(KEPT, 2 * KEPT):
        link.hear(exchange(PERIOD * i, 0.0021, 0.002, 0.5), PERIOD * i)
    assert link.clocks().offset == pytest.approx(500.0, abs=0.1)


def test_jitter_and_loss_are_counted() -> None:
    rng = np.random.default_rng(0)
    delays = 0.002 + 0.001 * rng.uniform(-1.0, 1.0, (1000, 2))
    # An offset is half the difference of two such delays, and the jitter that of two such offsets, root mean square.
    expected = 1.0 * np.sqrt(1.0 / 3.0) * np.sqrt(2.0) * 0.5 * np.sqrt(2.0)
    seen = [compared([tuple(row) for row in part], 0.0).clocks().jitter for part in np.split(delays, 40)]
    assert np.mean(seen) == pytest.approx(expected, rel=0.1)
    link = Link(LinkConfig())
    for i in range(101):
        link.ask()
        if i % 4:
            link.hear(exchange(PERIOD * i, 0.002, 0.002, 0.0), PERIOD * i)
    assert link.loss == pytest.approx(0.25)
    link.count_anew()
    assert link.loss == 0.0


def test_an_answer_from_before_our_clock_was_set_back_counts_for_nothing() -> None:
    link = Link(LinkConfig())
    link.hear(Exchange(asked=10, answered=5, heard=5), 0.0)
    assert link.silent(0.0) == np.inf


def test_settings_out_of_range_are_refused() -> None:
    for settings in ({"offset_limit": 0.0}, {"silence": 0.0}, {"images": "png"}):
        with pytest.raises(RangeError, match=next(iter(settings))):
            LinkConfig(**settings)
    assert str(Clocks(-1.25, 0.5, 0.25, 3.0)).startswith("the arm's clock is 1.2 ms behind")
