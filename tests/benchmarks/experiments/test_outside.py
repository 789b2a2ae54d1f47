"""The outside RLPD learns from minibatches of which half are demonstrations; where sbx is installed."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.experiments.outside import START, UPDATES, Learner
from robot_rl.data.episode import Transitions

pytest.importorskip("sbx")


def steps(count: int, reward: float) -> Transitions:
    rng = np.random.default_rng(count)
    last = np.arange(count) == count - 1
    columns = {"state": rng.normal(size=(count + 1, 3)), "action": rng.uniform(-1.0, 1.0, (count, 2))}
    return Transitions("", 0, 0, columns | {"reward": np.full(count, reward, np.float32), "terminated": last})


def test_each_minibatch_is_half_demonstrations() -> None:
    learner = Learner(3, 2, 0, steps(40, 1.0)["state"], steps=200)
    learner.add(steps(40, 1.0), demonstration=True)
    assert learner.learn() == 0, "before there is anything of its own"
    learner.add(steps(START, 0.0))
    rewards = learner.sample(64 * UPDATES).rewards.numpy().reshape(UPDATES, 64)
    np.testing.assert_array_equal(rewards.sum(axis=1), 32.0)
    assert learner.learn() == UPDATES
    assert np.abs(learner.act(np.zeros(3), deterministic=True)).max() <= 1.0
