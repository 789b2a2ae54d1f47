"""A flow that is guided towards a plan: the published formulas in numbers, a linear field, and finite differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robot_rl.learner.networks.guidance import Guide, Method, guided_sample, guided_velocity, soft_mask, strength

METHODS: tuple[Method, ...] = ("jacobian", "identity")


@pytest.mark.parametrize(("t", "g"), [(0.2, 4.25), (0.4, 2.17), (0.6, 2.17), (0.8, 4.25), (0.1, 9.11), (0.9, 9.11)])
def test_the_strength_without_its_cap(t: float, g: float) -> None:
    assert strength(t, limit=100.0) == pytest.approx(g, abs=0.005)
    assert strength(t) == pytest.approx(min(g, 5.0), abs=0.005)


def test_the_strength_is_capped_where_there_is_only_noise() -> None:
    assert strength(0.0) == 5.0
    assert [strength(k / 5) == 5.0 for k in range(5)] == [True, False, False, False, False]
    assert [strength(k / 10) == 5.0 for k in range(10)] == [True, True, *[False] * 7, True]


def test_the_soft_mask() -> None:
    mask = soft_mask(10, delay=2, overlap=6)
    np.testing.assert_allclose(mask, [1, 1, 0.571, 0.287, 0.114, 0.026, 0, 0, 0, 0], atol=0.0006)
    assert mask.dtype == np.float32
    np.testing.assert_array_equal(soft_mask(4, delay=9, overlap=3), [1, 1, 1, 0])
    np.testing.assert_array_equal(soft_mask(3, delay=3, overlap=9), [1, 1, 1])
    np.testing.assert_array_equal(soft_mask(3, delay=2, overlap=0), [0, 0, 0])


def linear(x: jax.Array, t: float) -> jax.Array:
    """v = x/2 − t, so that x̂₁ = x (1 + (1 − t)/2) − t (1 − t)."""
    return 0.5 * x - t


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("t", [0.0, 0.2, 0.8])
def test_a_linear_field_is_pulled_as_the_formula_says(method: Method, t: float) -> None:
    x, target, weight = jnp.array([[0.3, -0.4]]), jnp.array([1.0, -1.0]), jnp.array([1.0, 0.25])
    slope = 1.0 + 0.5 * (1.0 - t)
    end = x * slope - t * (1.0 - t)
    pull = weight * (target - end) * (slope if method == "jacobian" else 1.0)
    found = guided_velocity(linear, x, t, target, weight, method)
    np.testing.assert_allclose(found, 0.5 * x - t + strength(t) * pull, rtol=1e-6)


def test_the_jacobian_is_of_the_field_and_mixes_no_samples() -> None:
    rng = np.random.default_rng(0)
    a, b = jnp.asarray(rng.normal(size=(3, 3))), jnp.asarray(rng.normal(size=3))

    def field(x: jax.Array, t: float) -> jax.Array:
        return jnp.tanh(x @ a + b * t)

    t, target, weight = 0.4, jnp.asarray(rng.normal(size=3)), jnp.array([1.0, 0.5, 0.0])
    points = jnp.asarray(rng.normal(size=(5, 3)))
    found = guided_velocity(field, points, t, target, weight, "jacobian")
    for point, v in zip(points, found, strict=True):
        jacobian = jax.jacfwd(lambda x: x + (1.0 - t) * field(x, t))(point)
        end = point + (1.0 - t) * field(point, t)
        expected = field(point, t) + strength(t) * jacobian.T @ (weight * (target - end))
        np.testing.assert_allclose(v, expected, rtol=2e-5, atol=2e-5)


def to_ones(x: jax.Array, t: float) -> jax.Array:
    """The field of a flow whose data are 0.8 alone."""
    return (0.8 - x) / (1.0 - t)


@pytest.mark.parametrize("method", METHODS)
def test_a_chunk_begins_as_the_plan_does_and_ends_as_the_policy_wants(method: Method) -> None:
    noise = jnp.tile(jax.random.normal(jax.random.PRNGKey(0), (6, 2)), 8)  # the same for each action
    plan = np.full((8, 2), -0.3, np.float32)
    guide = Guide(jnp.asarray(plan), jnp.asarray(soft_mask(8, 2, 5)), method)
    free = Guide(jnp.asarray(plan), jnp.zeros(8), method)
    np.testing.assert_allclose(guided_sample(to_ones, noise, 5, free), 0.8, atol=1e-5)
    chunks = np.asarray(guided_sample(linear_to(0.8), noise, 5, guide)).reshape(6, 8, 2)
    wilful = np.asarray(guided_sample(linear_to(0.8), noise, 5, free)).reshape(6, 8, 2)
    np.testing.assert_allclose(chunks[:, 5:], wilful[:, 5:], atol=1e-5)
    away = np.abs(chunks + 0.3).mean(axis=(0, 2))
    assert away[:2].max() < 0.25 * np.abs(wilful + 0.3)[:, :2].mean()
    assert np.all(np.diff(away[1:5]) > 0.0), "the pull fades"


def linear_to(goal: float):  # type: ignore[no-untyped-def]
    """A field that is no exact flow: it goes half of the way to ``goal`` in a unit of time."""

    def field(x: jax.Array, t: float) -> jax.Array:
        return 0.5 * (goal - x)

    return field
