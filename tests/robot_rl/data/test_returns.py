"""Running discounted returns against plain numpy, and in a learner that is restored."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from robot_rl.data.episode import Transitions
from robot_rl.data.returns import ReturnStatistics
from robot_rl.data.store import EpisodeStore
from robot_rl.learner.algorithms.flash_sac import FlashConfig, make_agent
from robot_rl.learner.loop import LearnerLoop, LoopConfig
from tests.robot_rl.recording import DOMAIN, SCHEMA, reader, steps, transitions, with_columns

GAMMA = 0.9


def running(rewards: np.ndarray) -> list[float]:
    """G_t = Σ_k γᵏ r_{t−k}, each sum taken anew."""
    return [float(sum(GAMMA**k * rewards[t - k] for k in range(t + 1))) for t in range(len(rewards))]


def of(store: str, episode: int, count: int, seed: int) -> Transitions:
    return dataclasses.replace(transitions(count, seed, episode), store=store)


def test_statistics_are_those_of_every_steps_return_however_stores_take_turns() -> None:
    arms = [of("left", 0, 9, 1), of("right", 4, 7, 2), of("left", 1, 5, 3)]
    statistics = ReturnStatistics(GAMMA)
    left, right, later = arms
    for part in (left.span(0, 4), right.span(0, 3), left.span(4, 5), left.span(5, 9), right.span(3, 7), later):
        statistics.add(part)
    returns = np.concatenate([running(arm["reward"]) for arm in arms])
    assert statistics.count == 21
    assert statistics.deviation == pytest.approx(returns.std())
    assert statistics.largest == pytest.approx(np.abs(returns).max())


def test_a_return_ends_with_its_last_reward_and_not_before() -> None:
    """One success of reward 1: G is 1 at that step, and the next episode starts from 0."""
    statistics = ReturnStatistics(GAMMA)
    for episode in range(2):
        success = np.array([0.0, 0.0, 1.0], np.float32)
        statistics.add(with_columns(of("arm", episode, 3, 0), reward=success))
    assert statistics.largest == 1.0
    assert statistics.deviation == pytest.approx(np.std([0, 0, 1, 0, 0, 1]))


def test_steps_that_went_missing_are_not_bridged() -> None:
    whole = of("arm", 0, 9, 1)
    statistics = ReturnStatistics(GAMMA)
    statistics.add(whole.span(0, 4))
    statistics.add(whole.span(6, 9))
    expected = np.concatenate((running(whole["reward"][:4]), running(whole["reward"][6:])))
    assert statistics.deviation == pytest.approx(expected.std())


def test_nothing_seen_is_no_deviation() -> None:
    statistics = ReturnStatistics(GAMMA)
    assert (statistics.deviation, statistics.largest) == (0.0, 0.0)


def test_a_restored_learner_scales_rewards_as_before_and_learns_on_alike(tmp_path) -> None:
    """The normaliser is a function of the stores, so it needs no place of its own in a checkpoint."""
    agent = make_agent(FlashConfig(actor_width=4, critic_width=4, blocks=1, bins=11, critic_steps=2))
    config = LoopConfig(utd=2.0, start_after=5, batch_size=8, capacity=500, demo_capacity=300)

    def learner() -> LearnerLoop:
        demos, online = ([reader(tmp_path / name)] for name in ("demos", "online"))
        return LearnerLoop(
            agent, DOMAIN, demos=demos, online=online, config=config, checkpoints=tmp_path / "checkpoints"
        )

    with (
        EpisodeStore.create_or_open(tmp_path / "demos", SCHEMA) as demos,
        EpisodeStore.create_or_open(tmp_path / "online", SCHEMA) as online,
    ):
        record(demos, 12, 1)
        writer = online.begin({"seed": 2})
        for i, step in enumerate(steps(16, 2)):
            writer.append(step)
            if i == 11:  # in the middle of an episode
                first = learner()
                run_dry(first)
                first.checkpoint()
        writer.finish()
        run_dry(first)
        second = learner()
        assert second.restore()
        run_dry(second)
    assert first.version == second.version == 11
    assert (second.sources.returns.count, second.sources.returns.deviation) == (28, first.sources.returns.deviation)
    assert first.sources.returns.deviation > 0.0
    assert first.parameters() == second.parameters()


def record(store: EpisodeStore, count: int, seed: int) -> None:
    writer = store.begin({"seed": seed})
    for step in steps(count, seed):
        writer.append(step)
    writer.finish()


def run_dry(learner: LearnerLoop) -> None:
    while learner.step():
        pass
