"""A policy as a flow: an ordinary differential equation carries noise to actions (Lipman et al., arXiv 2210.02747).

    x_t = (1 − t) x₀ + t x₁,   x₀ ~ N(0, I), x₁ the action (or chunk) of the data, t ~ U(0, 1)
    L   = mean of w ‖v(s, x_t, t) − (x₁ − x₀)‖²
    a   = clip(x(1), −1, 1),   dx/dt = v(s, x, t), x(0) = x₀, by Euler's method

It can imitate what a Gaussian cannot: two ways round an obstacle stay two ways. The velocity is an MLP of the features
s, the point x and the time t.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from robot_rl.learner.networks.compiled import compiled
from robot_rl.learner.networks.mlp import Params, head, mlp_create


def flow_create(key: jax.Array, feature_size: int, size: int, hidden: Sequence[int]) -> Params:
    """``w0, b0, …`` of an MLP from features (f), point (k = ``size``) and time (1), in this order, to velocity (k)."""
    return mlp_create(key, (feature_size + size + 1, *hidden, size))


def flow_size(params: Params) -> int:
    """k, how many numbers the points of a flow have."""
    size: int = params[f"b{len(params) // 2 - 1}"].shape[-1]
    return size


@compiled()
def velocity(params: Params, features: jax.Array, x: jax.Array, t: jax.Array | float) -> jax.Array:
    """``v (…, k)`` at the points ``x (…, k)`` and times ``t (…)`` for ``features (…, f)``.

    The leading axes broadcast: features ``(n, 1, f)`` with points ``(n, N, k)`` are multiplied by their weights once
    for all N.
    """
    last = len(params) // 2 - 1
    count, split = features.shape[-1], features.shape[-1] + x.shape[-1]
    weights = params["w0"]
    features, x, t = (jnp.asarray(part).astype(weights.dtype) for part in (features, x, t))
    hidden = features @ weights[:count] + x @ weights[count:split] + t[..., None] * weights[split] + params["b0"]
    for i in range(1, last):
        hidden = jax.nn.relu(hidden) @ params[f"w{i}"] + params[f"b{i}"]
    return head(jax.nn.relu(hidden), params[f"w{last}"]) + params[f"b{last}"]


def flow_loss(
    params: Params, key: jax.Array, features: jax.Array, action: jax.Array, weight: jax.Array | float = 1.0
) -> jax.Array:
    """L for ``features (…, f)`` and ``action (…, k)``, one draw of x₀ and t for each.

    ``weight`` broadcasts to ``(…, k)``: ``(…, 1)`` weighs samples, ``(…, k)`` also masks single numbers. The mean is
    over all numbers, those of weight 0 included.
    """
    noise_key, time_key = jax.random.split(key)
    noise = jax.random.normal(noise_key, action.shape)
    t = jax.random.uniform(time_key, action.shape[:-1])
    point = (1.0 - t[..., None]) * noise + t[..., None] * action
    return (weight * (velocity(params, features, point, t) - (action - noise)) ** 2).mean()


@compiled("steps")
def flow_sample(params: Params, features: jax.Array, noise: jax.Array, steps: int) -> jax.Array:
    """``a (…, k)`` in [−1, 1]: where ``noise (…, k)`` ends for ``features (…, f)``, by ``steps`` of Euler's method."""
    x = noise
    for i in range(steps):
        x = x + velocity(params, features, x, i / steps) / steps
    return jnp.clip(x, -1.0, 1.0)
