"""Snippets that are asked about, and the split of their episodes."""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.rewards.answers import AnswersError, Span
from robot_rl.rewards.snippets import LEAST, draw, split

EPISODES = {span.name: span for span in (Span("demos", index, 0, 12 + index) for index in range(20))}


def test_each_episode_is_in_one_part_whatever_their_order() -> None:
    parts = split(EPISODES, stopping=0.2, judging=0.3)
    assert sorted(name for part in parts for name in part) == sorted(EPISODES)
    assert [len(part) for part in parts] == [10, 4, 6]
    assert split(list(EPISODES)[::-1], 0.2, 0.3) == parts
    moved = [
        sum(name not in now for name in then)
        for then, now in zip(parts, split([*EPISODES, "new"], 0.2, 0.3), strict=True)
    ]
    assert max(moved) <= 1


@pytest.mark.parametrize("count", [6, 7, 9])
@pytest.mark.parametrize(("stopping", "judging"), [(0.0, 0.0), (0.5, 0.49), (0.0, 0.99), (0.99, 0.0)])
def test_every_part_has_episodes(count: int, stopping: float, judging: float) -> None:
    assert all(len(part) >= LEAST for part in split(list(EPISODES)[:count], stopping, judging))


def test_too_few_episodes_are_refused() -> None:
    with pytest.raises(AnswersError, match="5 episodes are too few for preferences; record 6 at least"):
        split(list(EPISODES)[:5], 0.2, 0.2)


def test_pairs_are_of_two_episodes_of_one_part() -> None:
    parts = split(EPISODES, 0.2, 0.2)
    drawn = [draw(parts, EPISODES, 10, 2, np.random.default_rng(seed)) for seed in range(200)]
    assert all(parts.of(pair) is not None for pair in drawn)
    assert all(first.episode != second.episode for first, second in drawn)
    assert all(span.steps == 10 and span.step + 10 <= EPISODES[span.name].steps for pair in drawn for span in pair)
    assert {parts.of(pair) for pair in drawn} == set(parts)
    assert {span.step + 10 - EPISODES[span.name].steps for pair in drawn for span in pair} >= {0, -1}
    assert parts.of([Span("demos", 99, 0, 1)]) is None


def test_snippets_are_of_episodes_that_are_long_enough() -> None:
    parts = split(EPISODES, 0.2, 0.2)
    drawn = [draw(parts, EPISODES, 24, 1, np.random.default_rng(seed))[0] for seed in range(50)]
    assert {span.episode for span in drawn} <= set(range(12, 20))
    assert draw(parts, EPISODES, 31, 1, np.random.default_rng(0)) == [Span("demos", 19, 0, 31)]
    with pytest.raises(AnswersError, match="length=31: too few episodes have that many steps"):
        draw(parts, EPISODES, 31, 2, np.random.default_rng(0))
