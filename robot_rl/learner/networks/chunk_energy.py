"""Chunks of least energy: H actions go down a learnt E(s, x) until they hardly move.

    E(s, x)  = ½ ‖x − g(s, x)‖²,   g a `mixer`
    x_t      = (1 − t) x̂ + t a,   x̂ ~ N(0, I), a the chunk of the data, t ~ U(0, 1)
    L        = mean of w (∇_x E(s, x_t) − c(t) (x̂ − a))²,   c(t) = min(1, (1 − t)/(1 − τ)),   τ = `LEVELS_OFF`
    acting:    x ← x − (1 − τ) ∇_x E(s, x) from x̂ on

L and c are those of equilibrium matching (Wang and Du, arXiv 2510.02300); the form of E is ours. Until t = τ, E falls
as fast as a flow moves, from there on ever less, and not at all at the data. So the way is the shorter, the nearer to
the data it begins: it ends where no number of a chunk moves by more than `STILL`, after ``steps`` at the latest. Only
differences of E for the same s are learnt, and nothing keeps a step from leading up where E has become too steep.

Energy-based transformers (EBT-Policy: Davies et al., arXiv 2510.27545) are trained by a number of such steps, the last
of which shall end at a.
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


def energy_sample(params: Params, features: jax.Array, noise: jax.Array, steps: int) -> jax.Array:
    """Chunks ``(n, H, a)`` in [−1, 1] that ``noise (n, H, a)`` comes down to, in ``steps`` at most."""

    def goes_on(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        _, moving, made = carry
        return moving.any() & (made < steps)

    def step(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        x, moving, made = carry
        moved = jnp.where(moving[:, None, None], -(1.0 - LEVELS_OFF) * slope(params, features, x), 0.0)
        return x + moved, jnp.abs(moved).max(axis=(-2, -1)) > STILL, made + 1

    x, _, _ = jax.lax.while_loop(goes_on, step, (noise, jnp.ones(len(noise), bool), jnp.int32(0)))
    return jnp.clip(x, -1.0, 1.0)
