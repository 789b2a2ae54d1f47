"""When a learner is stopped: what no rewards can add up to, and what is not finite."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robot_rl.learner.watch import ENTROPY, EXCESS, anomaly, value_limit


def test_the_limit_is_a_multiple_of_what_the_best_of_policies_can_reach() -> None:
    reward, discount = 2.5, 0.9
    best = sum(reward * discount**k for k in range(1000))  # the largest reward for ever
    assert value_limit(reward, 0.0, 7, discount) == pytest.approx(EXCESS * best)
    # With entropy: a = 3 axes, each as narrow as the actor can make it, at temperature 0.1.
    bonus = sum(0.1 * 3 * -math.log(1e-5) * discount**k for k in range(1000))
    assert value_limit(reward, 0.1, 3, discount) == pytest.approx(EXCESS * (best + bonus))


def test_no_action_is_less_random_than_the_limit_allows_for() -> None:
    """log π of a tanh-Gaussian of the smallest σ at μ = 0, where tanh stretches nothing, averaged over draws."""
    u = 1e-5 * np.random.default_rng(0).normal(size=100_000)
    log_prob = -0.5 * (u / 1e-5) ** 2 - math.log(1e-5) - 0.5 * math.log(2 * math.pi) - np.log(1 - np.tanh(u) ** 2)
    assert 0.8 * ENTROPY < log_prob.mean() < ENTROPY


def test_without_a_reward_yet_the_limit_is_that_of_a_reward_of_one() -> None:
    assert value_limit(0.0, 0.0, 2, 0.5) == value_limit(1.0, 0.0, 2, 0.5) == 2.0 * EXCESS
    assert value_limit(1.0, 0.0, 2, 1.0) == math.inf


def test_a_temperature_that_runs_away_does_not_take_the_limit_with_it() -> None:
    assert value_limit(3.0, 1e9, 2, 0.9) == value_limit(3.0, 3.0, 2, 0.9)


@pytest.mark.parametrize("name", ["critic/q_mean", "critic/target_mean", "grasp/q_mean"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_values_of_either_sign_beyond_the_limit_are_named(name: str, sign: float) -> None:
    inside, outside = (sign * factor * EXCESS * 2.0 / (1.0 - 0.75) for factor in (0.99, 1.01))
    info = {"critic/loss": 1e30, "cost/c_mean": 1e30}  # tell nothing by their size
    assert anomaly(info | {name: inside}, 2.0, 2, 0.75) == ""
    assert f"{name} {outside:.3g}: it explodes" in anomaly(info | {name: outside}, 2.0, 2, 0.75)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_anything_that_is_not_finite_is_named(value: float) -> None:
    said = anomaly({"critic/loss": 1.0, "actor/norm": value, "encoder/norm": value}, math.inf, 2, 0.9)
    assert said == "gave actor/norm, encoder/norm not finite"
