"""The numpy actor is the JAX actor."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from robot_rl.contract import Observation
from robot_rl.learner.algorithms import rlpd
from robot_rl.learner.networks import mlp
from robot_rl.policies.actor import NumpyActor
from robot_rl.policies.base import ActorPolicy, Policy, RandomPolicy
from robot_rl.policies.parameters import ParameterError, pack, unpack
from robot_rl.tasks.reach import Reach

D, A = 7, 3


def params(seed: int = 0) -> dict[str, np.ndarray]:
    tree = mlp.actor_create(jax.random.PRNGKey(seed), D, A, (32, 16))
    rng = np.random.default_rng(seed)
    return {name: np.asarray(p) + rng.normal(size=p.shape).astype(np.float32) * 0.3 for name, p in tree.items()}


def test_parity_with_jax() -> None:
    weights, state = params(), np.random.default_rng(1).normal(size=(50, D)).astype(np.float32) * 3
    actor = NumpyActor(unpack(pack(weights, 0, {})).params)
    mean, std = actor.distribution(state)
    jax_mean, jax_log_std = mlp.actor_apply(weights, state)
    np.testing.assert_allclose(mean, jax_mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(std, np.exp(jax_log_std), rtol=1e-4, atol=1e-7)
    chosen = rlpd.sample(weights, state, jax.random.PRNGKey(0), deterministic=True)
    np.testing.assert_allclose(actor(state, deterministic=True), chosen, atol=1e-4)
    assert (actor.state_size, actor.action_size) == (D, A)


def test_draws_follow_the_distribution() -> None:
    actor, state = NumpyActor(params(), seed=3), np.zeros(D, np.float32)
    mean, std = actor.distribution(state)
    draws = actor(np.tile(state, (20_000, 1)))
    assert draws.dtype == np.float32
    below = (draws < np.tanh(mean)).mean(axis=0)  # tanh is monotonic: the median stays the median
    assert np.abs(below - 0.5).max() < 4 * 0.5 / np.sqrt(20_000)
    inside = ((draws > np.tanh(mean - std)) & (draws < np.tanh(mean + std))).mean(axis=0)
    assert np.abs(inside - 0.6827).max() < 4 * 0.466 / np.sqrt(20_000)


def test_noise_is_seeded_and_goes_on_after_new_parameters() -> None:
    state = np.ones(D, np.float32)
    one, two = NumpyActor(params(), 5), NumpyActor(params(), 5)
    assert np.array_equal(one(state), two(state))
    two.load(params())
    assert np.array_equal(one(state), two(state))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"w1": np.zeros((3, 16), np.float32)}, "layer 1"),
        ({"b2": np.full(2 * A, np.nan, np.float32)}, "layer 2 is not finite"),
        ({"x": np.zeros(1, np.float32)}, "are named w0"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(change, named) -> None:
    with pytest.raises(ParameterError, match=named):
        NumpyActor(params() | change)


def test_parameters_and_states_of_another_task_are_refused() -> None:
    actor = NumpyActor(params())
    other = mlp.actor_create(jax.random.PRNGKey(0), D + 1, A, (32,))
    with pytest.raises(ParameterError, match=r"sizes \(8, 3\)"):
        actor.load({name: np.asarray(p) for name, p in other.items()})
    with pytest.raises(ParameterError, match=r"state has shape \(8,\)"):
        actor(np.zeros(D + 1))
    actor(np.zeros(D))  # the old ones stay in use


@pytest.mark.parametrize("policy", [RandomPolicy(Reach()), ActorPolicy(NumpyActor(params()), version=4)])
def test_policies_answer_the_observation_they_were_asked_about(policy: Policy) -> None:
    chunk = policy.act([Observation(123, 0, np.zeros(D, np.float32))])
    assert isinstance(policy, Policy)
    assert chunk.stamp_ns == 123 and chunk.actions.shape == (1, A)
    assert (np.abs(chunk.actions) <= 1.0).all()
    assert (policy.history, policy.horizon, policy.rate) == (1, None, None)
    assert chunk.version == getattr(policy, "version", -1)
