"""Flow matching against numpy, finite differences and a distribution with two peaks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from robot_rl.learner.networks import flow

F, K = 3, 4


def params(seed: int = 0, hidden: tuple[int, ...] = (6, 5)) -> dict[str, np.ndarray]:
    """A small flow with no zero biases."""
    rng = np.random.default_rng(seed)
    tree = flow.flow_create(jax.random.PRNGKey(seed), F, K, hidden)
    return {name: np.asarray(p) + rng.normal(size=p.shape).astype(np.float32) * 0.3 for name, p in tree.items()}


def reference_velocity(p, features, x, t) -> np.ndarray:
    """The MLP in float64 on the concatenated inputs."""
    h = np.concatenate((features, x, t[..., None]), axis=-1).astype(np.float64)
    last = len(p) // 2 - 1
    for i in range(last):
        h = np.maximum(h @ p[f"w{i}"].astype(np.float64) + p[f"b{i}"], 0.0)
    return h @ p[f"w{last}"].astype(np.float64) + p[f"b{last}"]


def test_velocity_equals_the_reference_and_broadcasts() -> None:
    p, rng = params(), np.random.default_rng(1)
    features, x, t = rng.normal(size=(7, F)), rng.normal(size=(7, 2, K)), rng.random((7, 2))
    repeated = np.repeat(features[:, None], 2, axis=1)
    found = flow.velocity(p, features[:, None], x, t)
    np.testing.assert_allclose(found, reference_velocity(p, repeated, x, t), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("shape", [(9, 1), (9, K)])
def test_loss_equals_the_reference(shape: tuple[int, ...]) -> None:
    p, rng, key = params(), np.random.default_rng(2), jax.random.PRNGKey(4)
    features, action, weight = rng.normal(size=(9, F)), rng.uniform(-1, 1, (9, K)), rng.random(shape)
    noise_key, time_key = jax.random.split(key)
    noise = np.asarray(jax.random.normal(noise_key, action.shape), np.float64)
    t = np.asarray(jax.random.uniform(time_key, (9,)), np.float64)
    point = np.array([(1 - t[i]) * noise[i] + t[i] * action[i] for i in range(9)])
    error = reference_velocity(p, features, point, t) - (action - noise)
    expected = sum(np.broadcast_to(weight, error.shape).ravel() * error.ravel() ** 2) / error.size
    np.testing.assert_allclose(flow.flow_loss(p, key, features, action, weight), expected, rtol=1e-5)


def test_gradient_of_the_loss_equals_finite_differences() -> None:
    with jax.enable_x64(True):
        rng, key = np.random.default_rng(3), jax.random.PRNGKey(5)
        p = {name: jnp.asarray(value, jnp.float64) for name, value in params().items()}
        features, action, weight = rng.normal(size=(9, F)), rng.uniform(-1, 1, (9, K)), rng.random((9, 1))
        loss = lambda p: flow.flow_loss(p, key, features, action, weight)  # noqa: E731
        gradient = jax.grad(loss)(p)
        for _ in range(5):
            way = {name: rng.normal(size=value.shape) for name, value in p.items()}
            ahead = loss({name: p[name] + 1e-6 * way[name] for name in p})
            behind = loss({name: p[name] - 1e-6 * way[name] for name in p})
            slope = sum((gradient[name] * way[name]).sum() for name in p)
            np.testing.assert_allclose((ahead - behind) / 2e-6, slope, rtol=1e-5)


def test_sampling_is_eulers_method() -> None:
    p, rng = params(), np.random.default_rng(6)
    features, noise = rng.normal(size=(5, F)), 0.5 * rng.normal(size=(5, K))
    x = noise
    for i in range(4):
        x = x + 0.25 * reference_velocity(p, features, x, np.full(5, 0.25 * i))
    assert (np.abs(x) > 1.0).any() and (np.abs(x) < 1.0).any()  # so that the clip shows
    np.testing.assert_allclose(flow.flow_sample(p, features, noise, 4), np.clip(x, -1, 1), atol=2e-5)


def test_a_straight_flow_needs_one_step() -> None:
    p = {name: np.zeros_like(value) for name, value in params().items()}
    p["b2"] = np.array([0.5, -0.5, 2.0, 0.0], np.float32)
    noise = np.full((1, K), 0.25, np.float32)
    for steps in (1, 7):
        np.testing.assert_allclose(flow.flow_sample(p, np.ones((1, F)), noise, steps)[0], (0.75, -0.25, 1, 0.25))


def test_learns_two_peaks_where_the_features_say_so() -> None:
    """s = 0: a is −0.6 or 0.6, never between; s = 1: a = 0.3. Three quarters of the draws at s = 0 are the left ones.

    2000 draws: the share's standard error is 0.01; the flow's own error allows 0.08.
    """

    @jax.jit
    def train(p, key):
        adam = optax.adam(3e-3)

        def step(carry, key):
            p, moments = carry
            which, side, flow_key = jax.random.split(key, 3)
            s = jax.random.bernoulli(which, shape=(256, 1)).astype(jnp.float32)
            two = jnp.where(jax.random.bernoulli(side, 0.75, (256, 1)), -0.6, 0.6)
            action = jnp.where(s == 0, two, 0.3)
            change, moments = adam.update(jax.grad(flow.flow_loss)(p, flow_key, s, action), moments)
            return (optax.apply_updates(p, change), moments), None

        return jax.lax.scan(step, (p, adam.init(p)), jax.random.split(key, 1500))[0][0]

    p = train(flow.flow_create(jax.random.PRNGKey(0), 1, 1, (32, 32)), jax.random.PRNGKey(1))
    noise = jax.random.normal(jax.random.PRNGKey(2), (2000, 1))
    there = np.asarray(flow.flow_sample(p, jnp.zeros((2000, 1)), noise, 10))
    assert abs((there < 0.0).mean() - 0.75) < 0.08
    assert (np.abs(np.abs(there) - 0.6) < 0.25).mean() > 0.9
    assert (np.abs(np.asarray(flow.flow_sample(p, jnp.ones((2000, 1)), noise, 10)) - 0.3) < 0.25).mean() > 0.95
