"""Publication after publication: the noise of exploration goes on as long as the policy is of one make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from robot_rl.contract import Observation, View
from robot_rl.policies.loading import GAUSSIAN, ActorLoader, describe, load_actor
from robot_rl.policies.parameters import ParameterError, pack, unpack
from robot_rl.tasks import make_task

TASK = make_task("reach")
SEEN = Observation(7, 0, np.ones(TASK.state_size, np.float32))


def published(version: int, value: float = 0.0, hidden: int = 4, acting: Mapping[str, Any] = GAUSSIAN) -> bytes:
    """An actor of one hidden layer whose mean is ``value`` on every axis, and σ = 1."""
    size = TASK.action.size
    params = {
        "w0": np.zeros((TASK.state_size, hidden), np.float32),
        "b0": np.zeros(hidden, np.float32),
        "w1": np.zeros((hidden, 2 * size), np.float32),
        "b1": np.repeat(np.float32([value, 0.0]), size),
    }
    if acting["kind"] == "grasp":  # without options: what is left is the arm
        params = {f"arm/{name}": array for name, array in params.items()}
    return pack(params, version, describe(TASK, acting))


def noise(policy, mean: float) -> np.ndarray:
    """ε of the next action."""
    return np.arctanh(policy(SEEN).actions[0].astype(np.float64)) - mean


def test_the_noise_goes_on_over_publications() -> None:
    load, once = ActorLoader(TASK, 3, False), load_actor(published(1), TASK, 3, False)
    drawn = []
    for version, mean in ((1, 0.0), (2, 0.5), (5, -0.5)):
        policy = load(published(version, mean))
        assert policy.version == version
        drawn += [noise(policy, mean) for _ in range(3)]
    np.testing.assert_allclose(drawn, [noise(once, 0.0) for _ in range(9)], atol=1e-3)


WARM, HOT = ({"kind": "grasp", "temperature": temperature} for temperature in (0.1, 0.2))


@pytest.mark.parametrize(
    ("one", "other"), [({}, {"hidden": 8}), ({}, {"acting": WARM}), ({"acting": WARM}, {"acting": HOT})]
)
def test_a_policy_of_another_make_gets_an_actor_of_its_own(one: dict, other: dict) -> None:
    load = ActorLoader(TASK, 3, False)
    first, second = load(published(1, **one)), load(published(2, **other))
    assert second.actor is not first.actor
    alone = load_actor(published(2, **other), TASK, 3, False)
    assert np.array_equal(second(SEEN).actions, alone(SEEN).actions)


def test_what_is_refused_changes_nothing() -> None:
    load, once = ActorLoader(TASK, 3, False), load_actor(published(1, 0.5), TASK, 3, False)
    policy = load(published(1, 0.5))
    good = published(2, 0.25)
    for wrong in (good[:-1] + b"?", published(3, np.nan), published(4, acting={"kind": "oracle"}), b""):
        with pytest.raises(ParameterError):
            load(wrong)
    assert policy.version == 1
    assert np.array_equal(policy(SEEN).actions, once(SEEN).actions)
    np.testing.assert_allclose(noise(load(good), 0.25), noise(once, 0.5), atol=1e-5)


def test_a_process_that_starts_again_explores_by_other_noise() -> None:
    first, second = (load_actor(published(version), TASK, 3, False) for version in (1, 2))
    assert not np.array_equal(first(SEEN).actions, second(SEEN).actions)


@pytest.mark.parametrize(
    ("acting", "words"),
    [
        ({"kind": "flow"}, "kind 'flow' with settings {}: missing a required argument: 'horizon'"),
        ({"kind": "flash", "hold": 3}, "kind 'flash' with settings {'hold': 3}: .*'hold'"),
        ({"kind": "oracle"}, "kind 'oracle'; this version knows expo, flash"),
    ],
)
def test_settings_of_another_version_are_named(acting: dict, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        load_actor(published(1, acting=acting), TASK, 3, False)


def test_a_policy_that_moves_by_another_scale_is_refused() -> None:
    params, version, meta = unpack(published(1))
    with pytest.raises(ParameterError, match=r"trained with scale .*0\.5.* but this run has scale"):
        load_actor(pack(params, version, meta | {"scale": [0.5] * TASK.action.size}), TASK, 3, False)


def test_a_policy_trained_without_some_fields_is_used_without_them_or_refused_by_name() -> None:
    blind = View(TASK, ("linear_velocity", "budget"))
    size = TASK.action.size
    params = {"w0": np.zeros((blind.state_size, 2 * size), np.float32), "b0": np.zeros(2 * size, np.float32)}
    data = pack(params, 1, describe(blind))
    assert load_actor(data, blind, 3, True)(Observation(7, 0, np.ones(blind.state_size, np.float32))).version == 1
    with pytest.raises(
        ParameterError, match=r"without linear_velocity, budget of .* learner\.without=linear_velocity,b"
    ):
        load_actor(data, TASK, 3, True)
    with pytest.raises(ParameterError, match=r"with linear_velocity, budget of the state, which learner\.without"):
        load_actor(published(1), blind, 3, True)
    other = pack(params, 1, describe(View(TASK, ("tank",))))
    with pytest.raises(ParameterError, match="it was trained with fields"):
        load_actor(other, blind, 3, True)
