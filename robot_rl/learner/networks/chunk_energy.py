"""Chunks of least energy: H actions go downhill in a learnt E(s, x) until they hardly move.

    E(s, x)  = ½ ‖x − g(s, x)‖²,   g a `mixer`
    x_t      = (1 − t) x̂ + t a,   x̂ ~ N(0, I), a the chunk of the data, t ~ U(0, 1)
    L        = mean of w (∇_x E(s, x_t) − c(t) (x̂ − a))²,   c(t) = min(1, (1 − t)/(1 − τ)),   τ = `LEVELS_OFF`
    acting:    x ← x − (1 − τ) ∇_x E(s, x) from x̂ on

(Wang and Du's equilibrium matching, arXiv 2510.02300.) Far from the data E falls as a flow goes, from there on less and
less, and not at all at the data itself. A chunk ends where no number of it moves by more than `STILL`, after ``steps``
at the latest: few where the person always did the same, more where it is not clear which way. E tells how well a chunk
fits what is seen: it is 0 where g gives a chunk back as it is.

Energy-based transformers (EBT-Policy: Davies et al., arXiv 2510.27545) make K such steps in training and ask that the
last one ends at a. By that, E came out nearly level between two ways where chunks have few numbers: the best answer to
an x of unknown t, the mean of all a that it may come from, is close to x itself there.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from robot_rl.learner.networks.mixer import mixer_apply, weighted_mean
from robot_rl.learner.networks.mlp import Params

LEVELS_OFF = 0.8  # τ, t from which on E is the more level, the nearer x_t is to the data
STILL = 0.01  # largest change of a number in [−1, 1] that ends the way down


def energy(params: Params, features: jax.Array, x: jax.Array) -> jax.Array:
    """E ``(…)`` of ``x (…, H, a)`` for ``features (…, f)``, by the ``params`` of a mixer."""
    error = x - mixer_apply(params, features, x, jnp.zeros(1))
    half: jax.Array = 0.5 * (error**2).sum(axis=(-2, -1))
    return half


def slope(params: Params, features: jax.Array, x: jax.Array) -> jax.Array:
    """∇_x E ``(…, H, a)``."""
    found: jax.Array = jax.grad(lambda x: energy(params, features, x).sum())(x)
    return found


def energy_loss(params: Params, key: jax.Array, features: jax.Array, chunk: jax.Array, weight: jax.Array) -> jax.Array:
    """L for ``features (…, f)`` and ``chunk (…, H, a)``, one draw each; steps count ``weight (…, H)``."""
    noise_key, time_key = jax.random.split(key)
    noise = jax.random.normal(noise_key, chunk.shape)
    t = jax.random.uniform(time_key, (*chunk.shape[:-2], 1, 1))
    falls = jnp.minimum(1.0, (1.0 - t) / (1.0 - LEVELS_OFF)) * (noise - chunk)
    return weighted_mean(weight, (slope(params, features, (1.0 - t) * noise + t * chunk) - falls) ** 2)


def energy_sample(params: Params, features: jax.Array, noise: jax.Array, steps: int) -> tuple[jax.Array, jax.Array]:
    """Chunks ``(n, H, a)`` in [−1, 1] below ``noise (n, H, a)``, and the steps ``(n,)`` that each took."""

    def goes_on(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        return carry[2].any()

    def step(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        x, made, moving = carry
        moved = jnp.where(moving[:, None, None], -(1.0 - LEVELS_OFF) * slope(params, features, x), 0.0)
        made = made + moving
        return x + moved, made, (jnp.abs(moved).max(axis=(-2, -1)) > STILL) & (made < steps)

    begin = noise, jnp.zeros(len(noise), jnp.int32), jnp.ones(len(noise), bool)
    x, made, _ = jax.lax.while_loop(goes_on, step, begin)
    return jnp.clip(x, -1.0, 1.0), made
