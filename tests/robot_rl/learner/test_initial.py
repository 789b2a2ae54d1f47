"""First parameters: how they are spread, and that a traced key draws the same ones."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from robot_rl.learner.networks import initial

KEY = jax.random.PRNGKey(3)


def test_weights_are_spread_as_glorot_says_and_each_key_has_its_own() -> None:
    weights = np.asarray(initial.glorot(KEY, (4, 30, 70), scale=0.5))
    bound = 0.5 * (6.0 / 100) ** 0.5
    assert weights.dtype == np.float32
    assert 0.99 * bound < np.abs(weights).max() <= bound
    np.testing.assert_allclose(weights.std(), bound / 3**0.5, rtol=0.03)
    assert abs(weights.mean()) < 0.03 * bound
    np.testing.assert_array_equal(weights, initial.glorot(KEY, (4, 30, 70), scale=0.5))
    assert not np.array_equal(weights, initial.glorot(jax.random.PRNGKey(4), (4, 30, 70), scale=0.5))
    assert not np.array_equal(weights[0], weights[1])


@pytest.mark.parametrize(("rows", "columns"), [(7, 4), (4, 7), (5, 5)])
def test_rows_or_columns_are_orthonormal_and_as_often_negative(rows: int, columns: int) -> None:
    matrices = np.asarray(initial.orthogonal(KEY, (400, rows, columns)))
    few = matrices if rows <= columns else np.swapaxes(matrices, -1, -2)
    np.testing.assert_allclose(
        few @ np.swapaxes(few, -1, -2), np.broadcast_to(np.eye(few.shape[1]), (400, *few.shape[1:2] * 2)), atol=1e-5
    )
    assert 0.45 < (matrices[:, 0, 0] > 0).mean() < 0.55, "LAPACK's signs have a side of their own"


def test_a_traced_key_draws_the_same() -> None:
    traced = jax.jit(lambda key: initial.orthogonal(key, (3, 2)))(KEY)
    np.testing.assert_array_equal(traced, initial.orthogonal(KEY, (3, 2)))
    assert jax.eval_shape(lambda key: initial.uniform(key, (3, 2), 1.0), KEY).shape == (3, 2)
