"""Chunks by a flow: noise is carried to H actions at once (flow matching; Lipman et al., arXiv 2210.02747).

    x_t = (1 − t) x₀ + t a,   x₀ ~ N(0, I), a the chunk of the data, t ~ U(0, 1)
    L   = mean of w ‖v(s, x_t, t) − (a − x₀)‖²
    a   = clip(x(1), −1, 1),   dx/dt = v(s, x, t), x(0) = x₀, by Euler's method

Time goes from noise at 0 to actions at 1, v is a `mixer`. **A chunk that continues another** (training-time real-time
chunking): the first d actions are given. In training d ~ U{0, …, d_max} tokens are those of the data at the time 1, and
only the others have a loss. In sampling the given ones are put back at the time 1 before each step of Euler's method.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from robot_rl.learner.networks.mixer import drawn_prefix, mixer_apply, weighted_mean
from robot_rl.learner.networks.mlp import Params

CLEAN = 1.0  # t of actions that are known


def flow_loss(
    params: Params, key: jax.Array, features: jax.Array, chunk: jax.Array, weight: jax.Array, prefix: int = 0
) -> jax.Array:
    """L for ``features (…, f)`` and ``chunk (…, H, a)``, one draw each; steps count ``weight (…, H)``.

    ``prefix``: d_max; 0: nothing is given.
    """
    noise_key, time_key, prefix_key = jax.random.split(key, 3)
    noise = jax.random.normal(noise_key, chunk.shape)
    t = jax.random.uniform(time_key, (*chunk.shape[:-2], 1))
    if prefix:
        given = drawn_prefix(prefix_key, chunk.shape[:-1], prefix)
        t, weight = jnp.where(given, CLEAN, t), jnp.where(given, 0.0, weight)
    point = (1.0 - t[..., None]) * noise + t[..., None] * chunk
    error = mixer_apply(params, features, point, t) - (chunk - noise)
    return weighted_mean(weight, error**2)


def flow_sample(
    params: Params,
    features: jax.Array,
    noise: jax.Array,
    steps: int,
    given: jax.Array | None = None,
    count: jax.Array | int = 0,
) -> jax.Array:
    """Chunks ``(…, H, a)`` in [−1, 1] that ``noise (…, H, a)`` leads to, by ``steps`` of Euler's method.

    The first ``count`` actions are those of ``given (…, H, a)``, where there is one.
    """
    known = jnp.arange(noise.shape[-2]) < count

    def put_back(x: jax.Array) -> jax.Array:
        return x if given is None else jnp.where(known[:, None], given, x)

    def velocity(x: jax.Array, t: jax.Array) -> jax.Array:
        return mixer_apply(params, features, x, t if given is None else jnp.where(known, CLEAN, t))

    return carried(velocity, noise, steps, put_back)


def carried(
    velocity: Callable[[jax.Array, jax.Array], jax.Array],
    noise: jax.Array,
    steps: int,
    put_back: Callable[[jax.Array], jax.Array] = lambda x: x,
) -> jax.Array:
    """Chunks in [−1, 1] to which ``velocity``, of points ``(…, H, a)`` and a time ``(1,)``, carries ``noise``.

    ``put_back`` is done to the points before each step, and at the end.
    """

    def step(i: jax.Array, x: jax.Array) -> jax.Array:
        x = put_back(x)
        return x + velocity(x, jnp.full((1,), i / steps)) / steps

    return jnp.clip(put_back(jax.lax.fori_loop(0, steps, step, noise)), -1.0, 1.0)
