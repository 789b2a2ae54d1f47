"""Chunks by a Gaussian: each number of H actions has a mean and a spread of its own, all independent.

    μ = tanh(m(s)),   log σ = l + (h − l) (1 + tanh r(s))/2,   l = log 0.02, h = log 1
    L = mean of w (½ ((a − μ)/σ)² + log σ + ½ log 2π)

m and r are the two halves of an MLP's output. The bounds keep an axis that the person never moved from making the loss
as low as anyone likes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from robot_rl.learner.networks.mixer import weighted_mean
from robot_rl.learner.networks.mlp import Params, ensemble_apply, ensemble_create

LEAST, MOST = math.log(0.02), math.log(1.0)


def gaussian_create(key: jax.Array, feature_size: int, action_size: int, horizon: int, hidden: Sequence[int]) -> Params:
    """Parameters of the MLP, with layer norms."""
    return ensemble_create(key, (feature_size, *hidden, 2 * horizon * action_size), 1, layer_norm=True)


def gaussian_apply(params: Params, features: jax.Array, horizon: int) -> tuple[jax.Array, jax.Array]:
    """μ and log σ ``(n, H, a)`` for ``features (n, f)``."""
    out = ensemble_apply(params, features)[0]
    mean, raw = (half.reshape(len(features), horizon, -1) for half in jnp.split(out, 2, axis=-1))
    return jnp.tanh(mean), LEAST + (MOST - LEAST) * 0.5 * (1.0 + jnp.tanh(raw))


def gaussian_loss(params: Params, features: jax.Array, chunk: jax.Array, weight: jax.Array) -> jax.Array:
    """L for ``features (n, f)`` and ``chunk (n, H, a)``; steps count ``weight (n, H)``."""
    mean, log_std = gaussian_apply(params, features, chunk.shape[-2])
    score = (chunk - mean) * jnp.exp(-log_std)
    return weighted_mean(weight, 0.5 * score**2 + log_std + 0.5 * math.log(2.0 * math.pi))


def mean_error(params: Params, features: jax.Array, chunk: jax.Array, weight: jax.Array) -> jax.Array:
    """Mean of w (a − μ)²: how well it imitates in use, where it is μ."""
    mean, _ = gaussian_apply(params, features, chunk.shape[-2])
    return weighted_mean(weight, (chunk - mean) ** 2)
