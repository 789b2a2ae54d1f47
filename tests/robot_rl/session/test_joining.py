"""How the chunks of a policy are joined: one after another, as an ensemble; by time alone is in `test_chunks`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from controllers.spatial import Pose
from robot_rl.contract import ActionChunk, Observation
from robot_rl.session.acting import Acting
from robot_rl.session.config import SessionConfig
from robot_rl.session.ensemble import Ensemble, mean_place
from tests.robot_rl.acting import Decides
from tests.robot_rl.session.slow import Bench

PERIOD = 0.1
UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])


def said(value: float, count: int, axes: int = 1, places: np.ndarray | None = None, version: int = 1) -> ActionChunk:
    return ActionChunk(0, np.full((count, axes), value), version, places=places)


def about_z(angle: float) -> np.ndarray:
    return np.array([0.0, 0.0, math.sin(0.5 * angle), math.cos(0.5 * angle)])


def value(ensemble: Ensemble, now: float) -> float | None:
    due = ensemble.due(now)
    return None if due is None else float(due.action[0])


def test_an_ensemble_weighs_the_oldest_answer_most() -> None:
    ensemble = Ensemble(PERIOD, gripper=False, decay=0.5)
    for number, each in enumerate((1.0, 2.0, 4.0)):
        assert ensemble.take(said(each, 4, version=number), PERIOD * number, PERIOD * number) == 0
    a, b = math.exp(-0.5), math.exp(-1.0)
    assert value(ensemble, 0.2) == pytest.approx((1.0 + 2.0 * a + 4.0 * b) / (1.0 + a + b))
    due = ensemble.due(0.3)
    assert due is not None and (due.version, due.chunk, due.due) == (2, 3, pytest.approx(0.3))
    assert value(ensemble, 0.4) == pytest.approx((2.0 + 4.0 * a) / (1.0 + a)), "the first has nothing more to say"
    assert value(ensemble, 0.5) == 4.0
    assert value(ensemble, 0.6) is None


def test_an_ensemble_takes_what_is_not_past_of_an_answer_and_drops_the_rest() -> None:
    ensemble = Ensemble(PERIOD, gripper=False, decay=0.0)
    ensemble.take(said(1.0, 8), 0.0, 0.0)
    assert ensemble.take(said(3.0, 4), asked=0.2, upcoming=0.4) == 2
    assert [value(ensemble, now) for now in (0.4, 0.5, 0.6)] == [2.0, 2.0, 1.0]
    assert ensemble.take(said(3.0, 4), asked=0.3, upcoming=0.9) == 4
    assert value(ensemble, 0.7) == 1.0
    ensemble.clear()
    assert value(ensemble, 0.7) is None


def test_an_ensemble_meets_answers_of_another_rate_where_they_are_in_force() -> None:
    ensemble = Ensemble(PERIOD, gripper=False, decay=0.0)
    ensemble.take(ActionChunk(0, np.array([[0.0], [1.0]]), times=np.array([0.0, 0.2])), 0.0, 0.0)
    ensemble.take(said(0.5, 4), 0.0, 0.0)
    assert [value(ensemble, PERIOD * k) for k in range(4)] == [0.25, 0.25, 0.75, 0.75]


def test_a_gripper_is_told_what_the_newest_answer_says() -> None:
    ensemble = Ensemble(PERIOD, gripper=True, decay=0.0)
    ensemble.take(ActionChunk(0, np.array([[0.2, 1.0]] * 3)), 0.0, 0.0)
    ensemble.take(ActionChunk(0, np.array([[0.4, -1.0]] * 3)), 0.1, 0.1)
    due = ensemble.due(0.1)
    assert due is not None
    np.testing.assert_allclose(due.action, [0.3, -1.0], atol=1e-6)


def test_places_have_a_mean_position_and_a_mean_rotation() -> None:
    ensemble = Ensemble(PERIOD, gripper=False, decay=0.0)
    for k, (x, angle) in enumerate(((0.4, 0.0), (0.6, 0.5 * math.pi))):
        place = np.array([[x, 0.1, 0.2, *about_z(angle)]] * 3)
        ensemble.take(said(0.0, 3, places=place), PERIOD * k, PERIOD * k)
    due = ensemble.due(0.1)
    assert due is not None and due.place is not None
    np.testing.assert_allclose(due.place.translation, [0.5, 0.1, 0.2])
    np.testing.assert_allclose(due.place.rotvec, [0.0, 0.0, 0.25 * math.pi], atol=1e-9)
    ensemble.take(said(0.3, 3), 0.2, 0.2)
    due = ensemble.due(0.2)
    assert due is not None and due.place is None and due.action[0] == np.float32(0.3), "places are another kind"


def test_the_mean_of_two_rotations_about_half_a_turn_is_between_them() -> None:
    places = [Pose(np.zeros(3), about_z(math.radians(angle))) for angle in (175.0, -165.0)]
    mean = mean_place(places, np.array([0.5, 0.5]))
    turns = [np.linalg.norm(mean.difference(place)[3:]) for place in places]
    np.testing.assert_allclose(turns, math.radians(10.0), atol=1e-9)
    weighted = mean_place([Pose(np.zeros(3), UPRIGHT), Pose(np.ones(3), UPRIGHT)], np.array([0.75, 0.25]))
    np.testing.assert_allclose(weighted.translation, 0.25)


def test_one_after_another_drops_what_was_asked_for_while_it_waited() -> None:
    acting = Acting(SessionConfig(chunks="wait", policy_timeout=0.2), ("x",), PERIOD)
    for tick in range(5):
        acting.look(tick, PERIOD * tick, person=False)
        assert acting.wants == (tick in (0, 2, 4)), "what is overdue is asked for anew"
        acting.decide()
    acting.answer(ActionChunk(2, np.full((3, 1), 0.2)), 0.41)
    acting.look(5, 0.5, person=False)
    assert not acting.wants and not acting.waits
    due = acting.decide()
    assert due is not None and due.due == pytest.approx(0.5) and acting.late_actions == 0
    acting.answer(ActionChunk(4, np.full((3, 1), 0.4)), 0.51)
    assert acting.dropped_answers == 1
    values = []
    for tick in (6, 7, 8):
        acting.look(tick, PERIOD * tick, person=False)
        due = acting.decide()
        values.append(None if due is None else float(due.action[0]))
    assert values == [pytest.approx(0.2), pytest.approx(0.2), None]


def test_one_that_is_stamped_for_later_is_not_put_off_further_than_it_must() -> None:
    for arrives, acts in ((0.05, 0.2), (0.15, 0.2), (0.25, 0.3)):
        acting = Acting(SessionConfig(chunks="wait"), ("x",), PERIOD)
        acting.look(0, 0.0, person=False)
        acting.decide()
        for tick in range(1, 4):
            now = PERIOD * tick
            if now - PERIOD < arrives <= now:
                acting.answer(ActionChunk(0, np.ones((1, 1)), times=np.array([0.2])), arrives)
            acting.look(tick, now, person=False)
            due = acting.decide()
            assert (due is not None) == (now == pytest.approx(acts))


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(latency: float, config: SessionConfig) -> Bench:
        made.append(Bench(latency, config))
        return made[-1]

    yield make
    for each in made:
        each.world.disconnect()


def counting(rows: int) -> Decides:
    """Its n-th answer says 0.1 n + 0.01 k in its k-th row."""

    def decide(seen: Observation) -> ActionChunk:
        actions = 0.1 * len(policy.handed) + 0.01 * np.arange(rows)[:, None] * np.ones(3)
        return ActionChunk(seen.stamp_ns, actions, version=1)

    policy = Decides(decide)
    return policy


@pytest.mark.parametrize(("latency", "held"), [(0.0, 0), (0.05, 0), (0.3, 3)])
def test_one_after_another_each_chunk_acts_whole_and_the_arm_holds_between(bench, latency: float, held: int) -> None:
    running = bench(latency, SessionConfig(chunks="wait", horizon=17))
    (episode, *_) = running.run(counting(5), 1)
    expected: list[float] = []
    for answer in range(1, 5):
        expected += [math.nan] * held + [0.1 * answer + 0.01 * k for k in range(5)]
    steps = episode.steps
    acted = [math.nan if step.timing.late else float(step.policy_action[0]) for step in steps]
    np.testing.assert_allclose(acted, expected[:17], atol=1e-6)
    assert running.session.policy.late_actions == 0


def test_an_ensemble_asks_in_each_control_period_and_acts_by_the_mean(bench) -> None:
    running = bench(0.0, SessionConfig(chunks="ensemble", horizon=8, ensemble_decay=0.1))
    policy = counting(3)
    (episode, *_) = running.run(policy, 1)
    assert len(policy.handed) == 8
    weights = np.exp(-0.1 * np.arange(3))
    for tick, step in enumerate(episode.steps):
        told = [0.1 * (n + 1) + 0.01 * (tick - n) for n in range(max(0, tick - 2), tick + 1)]
        weight = weights[: len(told)]
        assert float(step.policy_action[0]) == pytest.approx(np.dot(weight, told) / weight.sum(), abs=1e-6)


def test_an_ensemble_asks_a_slow_policy_as_soon_as_it_has_answered(bench) -> None:
    running = bench(0.3, SessionConfig(chunks="ensemble", horizon=13))
    policy = counting(20)
    (episode, *_) = running.run(policy, 1)
    stamps = [step.reading.stamp_ns for step in episode.steps]
    assert [stamps.index(handed[-1].stamp_ns) for handed in policy.handed] == [0, 3, 6, 9, 12]
    assert [step.timing.late for step in episode.steps] == [True] * 3 + [False] * 10
