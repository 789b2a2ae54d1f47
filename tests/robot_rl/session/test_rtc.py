"""Real-time chunking: an answer takes up the plan that went on while it was thought about, or is dropped."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from robot_rl.contract import ActionChunk, ContractError, Observation, Planned
from robot_rl.session.acting import Acting
from robot_rl.session.chunks import ChunkBuffer
from robot_rl.session.config import SessionConfig
from tests.robot_rl.acting import Decides
from tests.robot_rl.session.slow import Bench

PERIOD = 0.1
TASK_AXES = 3


def rising(stamp: int, asked: float, rows: int) -> ActionChunk:
    """Each action is the stamp and, as hundredths, the tick at which it is due."""
    return ActionChunk(stamp, stamp + 0.01 * (round(asked / PERIOD) + np.arange(rows))[:, None], version=1)


def test_what_is_planned_is_sampled_once_a_control_period_up_to_a_gap_or_a_place() -> None:
    buffer = ChunkBuffer(PERIOD)
    buffer.take(ActionChunk(0, np.arange(3.0)[:, None], times=np.array([0.0, 0.2, 0.4])), 0.0, 0.0)
    assert [float(action[0]) for action in buffer.ahead(0.1)] == [0.0, 1.0, 1.0, 2.0, 2.0]
    buffer.clear()
    assert buffer.ahead(0.1) == []
    buffer.take(ActionChunk(0, np.ones((4, 1))), 0.0, 0.0)
    places = np.array([[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]] * 3)
    buffer.take(ActionChunk(0, np.ones((3, 1)), places=places), 0.2, 0.2)
    assert len(buffer.ahead(0.0)) == 2


def test_an_answer_takes_over_where_it_was_told_to_and_one_that_took_longer_is_dropped() -> None:
    acting = Acting(SessionConfig(chunks="rtc", policy_timeout=5.0), ("x",), PERIOD)
    arrivals = {3: (0, 0.0), 10: (7, 0.7), 15: (11, 1.1), 18: (15, 1.5)}  # before tick → tick asked about, its time [s]
    acted: list[float | None] = []
    asked: dict[int, Planned] = {}
    for tick in range(20):
        now = PERIOD * tick
        if tick in arrivals:
            stamp, since = arrivals[tick]
            acting.answer(rising(stamp, since, 8), now - 0.05)
        acting.look(tick, now, person=False)
        assert acting.planned is not None
        if acting.wants:
            asked[tick] = acting.planned
        due = acting.decide()
        acted.append(None if due is None else round(float(due.action[0]), 2))
    assert {tick: (len(plan.actions), plan.delay) for tick, plan in asked.items()} == {
        0: (0, 0), 7: (4, 3), 11: (4, 3), 15: (0, 0),
    }  # fmt: skip
    np.testing.assert_allclose(asked[7].actions[:, 0], [0.04, 0.05, 0.06, 0.07], atol=1e-6)
    assert acted == [
        *[None] * 3, *(0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06),
        *(7.1, 7.11, 7.12, 7.13, 7.14),
        *[None] * 3, *(15.15, 15.16),
    ]  # fmt: skip
    assert acting.dropped_answers == 1, "it took four control periods, and three were foreseen"


def test_ticks_that_tremble_drop_nothing() -> None:
    acting = Acting(SessionConfig(chunks="rtc", policy_timeout=5.0), ("x",), PERIOD)
    rng = np.random.default_rng(0)
    asked: dict[int, float] = {}  # tick asked about → its time [s]
    for tick in range(100):
        now = PERIOD * tick + float(rng.uniform(-0.02, 0.02))
        for since in [since for since in asked if since + 3 <= tick]:
            acting.answer(rising(since, asked[since], 10), asked.pop(since) + 0.26)
        acting.look(tick, now, person=False)
        if acting.wants:
            asked[tick] = now
        assert acting.decide() is not None or tick < 3
    assert acting.dropped_answers == 0


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(latency: float | Iterator[float], config: SessionConfig) -> Bench:
        made.append(Bench(latency, config))
        return made[-1]

    yield make
    for each in made:
        each.world.disconnect()


def obedient(rows: int) -> Decides:
    """Takes up what is planned while it thinks, and then does something else each time."""

    def decide(seen: Observation) -> ActionChunk:
        planned = seen.planned
        assert planned is not None
        actions = np.full((rows, TASK_AXES), 0.1 * len(policy.handed))
        first = planned.actions[: planned.delay]
        actions[: len(first)] = first
        return ActionChunk(seen.stamp_ns, actions, version=1)

    policy = Decides(decide)
    return policy


def test_a_slow_policy_that_takes_up_the_plan_acts_without_a_gap(bench) -> None:
    running = bench(0.3, SessionConfig(chunks="rtc", horizon=30))
    policy = obedient(10)
    (episode, *_) = running.run(policy, 1)
    acted = [round(float(step.policy_action[0]), 1) for step in episode.steps]
    assert [step.timing.late for step in episode.steps] == [True] * 3 + [False] * 27
    stamps = [step.reading.stamp_ns for step in episode.steps]
    asked = [stamps.index(handed[-1].stamp_ns) for handed in policy.handed]
    assert asked == [0, 8, 13, 18, 23, 28], "with half a chunk left"
    assert acted[3:] == [round(0.1 * (1 + max(0, (tick - 6) // 5)), 1) for tick in range(3, 30)]
    assert running.session.policy.dropped_answers == 0


def test_jitter_drops_what_took_longer_than_foreseen_and_the_arm_goes_on(bench) -> None:
    rng = np.random.default_rng(0)
    latencies = (float(rng.uniform(0.0, 0.6)) for _ in itertools.count())
    running = bench(latencies, SessionConfig(chunks="rtc", horizon=200))
    (episode, *_) = running.run(obedient(30), 1)
    late = [step.timing.late for step in episode.steps]
    assert 0 < running.session.policy.dropped_answers < 10
    assert not any(late[10:])


@pytest.mark.parametrize("chunks", ["splice", "wait", "ensemble"])
def test_nobody_else_is_told_a_plan(bench, chunks: str) -> None:
    running = bench(0.0, SessionConfig(chunks=chunks, horizon=4))
    policy = Decides(lambda seen: ActionChunk(seen.stamp_ns, np.zeros((3, TASK_AXES))))
    running.run(policy, 1)
    assert all(seen.planned is None for handed in policy.handed for seen in handed)


@pytest.mark.parametrize(
    ("actions", "delay", "words"),
    [
        (np.zeros(3), 0, r"shape \(n, a\) with n ≤ 100"),
        (np.zeros((101, 1)), 0, r"shape \(n, a\) with n ≤ 100"),
        (np.full((1, 1), np.nan), 0, "not finite"),
        (np.zeros((0, 2)), -1, "of 0 actions cannot be -1"),
        (np.zeros((2, 1)), 3, "of 2 actions cannot be 3"),
    ],
)
def test_a_plan_that_is_none_is_refused(actions: np.ndarray, delay: int, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        Planned(actions, delay)
