"""Chunks by diffusion: noise is taken out of H actions step by step (DDPM, Ho et al., arXiv 2006.11239).

    β_i = min(1 − f((i + 1)/K) / f(i/K), 0.999),   f(u) = cos²(π/2 · (u + 0.008) / 1.008),   i = 0, …, K − 1
    ᾱ_k = Π_{i ≤ k} (1 − β_i)                                                 (squared cosine; arXiv 2102.09672)
    x_k = √ᾱ_k a + √(1 − ᾱ_k) ε,   ε ~ N(0, I), a the chunk of the data, k ~ U{0, …, K − 1}
    L   = mean of w ‖ε̂(s, x_k, k) − ε‖²

k = 0 is the least noise, K − 1 the most. ε̂, a `mixer`, is told the time (k + 1)/K. Sampling is DDIM without noise of
its own (η = 0; Song et al., arXiv 2010.02502), from x ~ N(0, I), in N steps over k = (N − 1) q, …, q, 0, q = ⌊K/N⌋:

    â = clip((x − √(1 − ᾱ_k) ε̂) / √ᾱ_k, −1, 1),   x ← √ᾱ_{k−q} â + √(1 − ᾱ_{k−q}) ε̂,   ᾱ_{k<0} = 1

which are the conventions of diffusers and of Diffusion Policy ("leading" steps, clip_sample, ε̂ as predicted). A chunk
that continues another is made as in `chunk_flow`: what is given has the time 0.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from robot_rl.learner.networks.mixer import drawn_prefix, mixer_apply, weighted_mean
from robot_rl.learner.networks.mlp import Params

CLEAN = 0.0  # time of actions that are known
OFFSET = 0.008
LARGEST_BETA = 0.999


def kept_signal(levels: int) -> np.ndarray:
    """ᾱ ``(K,)`` float64 of K = ``levels``."""
    u = np.arange(levels + 1) / levels
    f = np.cos(0.5 * np.pi * (u + OFFSET) / (1.0 + OFFSET)) ** 2
    beta: np.ndarray = np.minimum(1.0 - f[1:] / f[:-1], LARGEST_BETA)
    return np.cumprod(1.0 - beta)


def diffusion_loss(
    params: Params,
    key: jax.Array,
    features: jax.Array,
    chunk: jax.Array,
    weight: jax.Array,
    levels: int,
    prefix: int = 0,
) -> jax.Array:
    """L for ``features (…, f)`` and ``chunk (…, H, a)``, one draw each; steps count ``weight (…, H)``.

    ``levels``: K. ``prefix``: d_max; 0: nothing is given.
    """
    noise_key, level_key, prefix_key = jax.random.split(key, 3)
    noise = jax.random.normal(noise_key, chunk.shape)
    k = jax.random.randint(level_key, (*chunk.shape[:-2], 1), 0, levels)
    kept, t = jnp.asarray(kept_signal(levels), chunk.dtype)[k], (k + 1) / levels
    if prefix:
        given = drawn_prefix(prefix_key, chunk.shape[:-1], prefix)
        kept, t = jnp.where(given, 1.0, kept), jnp.where(given, CLEAN, t)
        weight = jnp.where(given, 0.0, weight)
    point = jnp.sqrt(kept)[..., None] * chunk + jnp.sqrt(1.0 - kept)[..., None] * noise
    return weighted_mean(weight, (mixer_apply(params, features, point, t) - noise) ** 2)


def diffusion_sample(
    params: Params,
    features: jax.Array,
    noise: jax.Array,
    steps: int,
    levels: int,
    given: jax.Array | None = None,
    count: jax.Array | int = 0,
) -> jax.Array:
    """Chunks ``(…, H, a)`` in [−1, 1] that ``noise (…, H, a)`` leads to, by ``steps`` N ≤ K of DDIM.

    The first ``count`` actions are those of ``given (…, H, a)``, where there is one.
    """
    known = jnp.arange(noise.shape[-2]) < count

    def put_back(x: jax.Array) -> jax.Array:
        return x if given is None else jnp.where(known[:, None], given, x)

    def predict(x: jax.Array, t: jax.Array, kept: jax.Array) -> jax.Array:
        return mixer_apply(params, features, x, t if given is None else jnp.where(known, CLEAN, t))

    return denoised(predict, noise, steps, levels, put_back)


def denoised(
    predict: Callable[[jax.Array, jax.Array, jax.Array], jax.Array],
    noise: jax.Array,
    steps: int,
    levels: int,
    put_back: Callable[[jax.Array], jax.Array] = lambda x: x,
) -> jax.Array:
    """Chunks in [−1, 1] that are left of ``noise`` without ε̂ as ``predict`` says, by ``steps`` N ≤ K of DDIM.

    It is told points x_k ``(…, H, a)``, their time ``(1,)`` and ᾱ_k. ``put_back`` is done to the points before each
    step, and at the end.
    """
    stride = levels // steps
    k = np.arange(steps)[::-1] * stride
    signal = np.concatenate(([1.0], kept_signal(levels)[k[::-1]]))[::-1]  # ᾱ of each step, and of none
    now, after = (jnp.asarray(part, noise.dtype) for part in (signal[:-1], signal[1:]))
    times = jnp.asarray((k + 1) / levels, noise.dtype)

    def step(i: jax.Array, x: jax.Array) -> jax.Array:
        x = put_back(x)
        predicted = predict(x, times[i][None], now[i])
        action = jnp.clip((x - jnp.sqrt(1.0 - now[i]) * predicted) / jnp.sqrt(now[i]), -1.0, 1.0)
        return jnp.sqrt(after[i]) * action + jnp.sqrt(1.0 - after[i]) * predicted

    return jnp.clip(put_back(jax.lax.fori_loop(0, steps, step, noise)), -1.0, 1.0)
