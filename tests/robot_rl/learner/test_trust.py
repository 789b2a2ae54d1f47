"""Who acts: episodes counted for the clone or the learner, and the chance that the learner does better."""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.contract import Source
from robot_rl.data.episode import Transitions
from robot_rl.learner.trust import LEAST, MOST, Trust, Turns, better, hoped, learner_explores, learner_leads


def episode(number: int, rewards: list[float], version: int, start: int = 0, over: bool = True, person: bool = False):
    count = len(rewards)
    last = np.arange(count) == count - 1
    return Transitions(
        "online",
        number,
        start,
        {
            "reward": np.float32(rewards),
            "terminated": last & over,
            "truncated": np.zeros(count, bool),
            "source": np.full(count, Source.PERSON if person else Source.POLICY, np.uint8),
            "version": np.full(count, version),
        },
    )


def test_episodes_count_for_who_acted_in_all_of_them() -> None:
    trust, turns = Trust(), Turns()
    turns.take(10, True)
    turns.take(20, False)
    trust.add(episode(0, [0.0, 1.0], 3))
    trust.add(episode(1, [0.0], 12, over=False))
    trust.add(episode(1, [1.0, 1.0], 19, start=1))
    trust.add(episode(2, [5.0], 9, over=False))
    trust.add(episode(2, [5.0], 11, start=1))  # both
    trust.add(episode(3, [7.0], 15, person=True))
    trust.add(episode(4, [0.5], 25))
    trust.add(episode(5, [9.0], 12, over=False))
    assert trust.returns(turns, 24) == ([1.0, 0.5], [2.0])
    assert trust.returns(turns, 25) == ([1.0, 0.5], []), "the learner was another one then"
    assert trust.ended == 5


def test_a_turn_holds_until_the_next_and_is_kept_by_a_checkpoint() -> None:
    turns = Turns()
    assert not turns.learner(0)
    turns.take(4, True)
    turns.take(6, True)
    turns.take(9, False)
    again = Turns((version, bool(learner)) for version, learner in turns.state)
    assert [again.learner(version) for version in (3, 4, 8, 9, 50)] == [False, True, True, False, False]
    assert turns.state == [[4, 1], [9, 0]]


def test_the_chance_says_who_is_better_and_how_sure_that_is() -> None:
    assert better([], []) == 0.5
    assert better([1.0] * 5, [1.0] * 5) == 0.5
    few, many = better([0.0, 1.0], [1.0, 1.0]), better([0.0, 1.0] * 20, [1.0] * 40)
    assert 0.5 < few < 0.8 < 0.99 < many
    assert better([1.0, 1.0], [0.0, 1.0]) == pytest.approx(1.0 - few)
    assert better([-3.0, -1.0], [-1.0, -1.0]) == pytest.approx(few)  # in any units


def test_one_lucky_episode_does_not_make_a_leader() -> None:
    assert not learner_leads(better([0.0] * 5, [1.0]), 1, False)
    assert learner_leads(better([0.0] * 5, [1.0] * 5), 5, False)
    assert not learner_leads(better([1.0] * 10, [0.0, 1.0] * 5), 10, False)


def test_the_better_the_clone_the_more_it_takes_to_lead_in_its_place_and_a_leader_stays_until_it_is_worse() -> None:
    def chance(clone: int, learner: int) -> float:
        """Of successes out of ten episodes each."""
        return better([1.0] * clone + [0.0] * (10 - clone), [1.0] * learner + [0.0] * (10 - learner))

    assert learner_leads(chance(2, 5), 10, False)
    assert not learner_leads(chance(6, 6), 10, False)
    assert not learner_leads(chance(8, 9), 10, False)
    assert learner_leads(chance(8, 9), 10, True)
    assert learner_leads(chance(6, 6), 10, True)
    assert not learner_leads(chance(6, 5), 10, True)


def test_a_learner_is_hoped_for_until_it_disappoints() -> None:
    clone = [1.0] * 7 + [0.0] * 3
    assert hoped(clone, []) > 0.9 > 0.5 > better(clone, [])
    assert hoped(clone, [0.0, 0.0, 0.0]) < 0.2
    assert hoped(clone, [1.0] * 20) > better(clone, [1.0] * 20) > 0.8
    assert hoped([], []) == 0.5


def test_the_worse_the_learner_seems_the_less_it_acts_but_both_go_on_to_be_known() -> None:
    draws = np.linspace(0.0, 1.0, 1000, endpoint=False)
    shares = [np.mean([learner_explores(chance, draw) for draw in draws]) for chance in (0.0, 0.7, 1.0)]
    np.testing.assert_allclose(shares, [LEAST, 0.7, MOST], atol=2e-3)


def test_a_learner_that_is_worse_costs_little_and_one_that_is_better_takes_over() -> None:
    """Successes of 400 episodes: the clone's chance is 0.7, the learner's another."""
    for rate, at_least in ((0.3, 0.45), (0.95, 0.85)):
        rng = np.random.default_rng(0)
        clone, learner, total = [], [], 0.0
        for _ in range(400):
            if learner_explores(hoped(clone[-100:], learner[-20:]), rng.random()):
                learner.append(float(rng.random() < rate))
                total += learner[-1]
            else:
                clone.append(float(rng.random() < 0.7))
                total += clone[-1]
        assert total / 400 > at_least
        assert learner_leads(better(clone[-100:], learner[-20:]), len(learner), False) == (rate > 0.7)
