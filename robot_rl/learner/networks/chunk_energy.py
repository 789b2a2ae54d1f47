"""Chunks of least energy: H actions go downhill in a learnt E(s, x) until they hardly move (after EBT-Policy).

    E(s, x)  = ½ ‖x − g(s, x)‖²,   g a `mixer`
    x        ← x − η ∇_x E(s, x),   η = e^r learnt with it
    x_0      = (1 − t) x̂ + t a,   x̂ ~ N(0, I), a the chunk of the data, t ~ U(0, 1)
    L        = mean of w (x_K − a)²,   K = `UNROLLED` steps, through which it is differentiated, ∇E included

A chunk begins as noise x̂ and ends where no number of it moves by more than `STILL`, after ``steps`` at the latest: few
where the person always did the same, more where it is not clear which way. E tells how well a chunk fits what is seen:
it is 0 where g gives a chunk back as it is. (A sum of numbers from the tokens in its place, each after a layer norm,
is nearly level far from the data, and did not come to keep two ways in as many steps as a flow takes.)

Davies et al. (arXiv 2510.27545) begin at x̂ in training, too, and put noise on each step. From x̂ alone, which says
nothing of a, L is least at the mean of all a; beginning somewhere between noise and data keeps two ways two ways, as in
`chunk_flow`, and what is random is the beginning alone.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from robot_rl.learner.networks import initial
from robot_rl.learner.networks.mixer import mixer_apply, mixer_create, weighted_mean
from robot_rl.learner.networks.mlp import Params

UNROLLED = 2  # K
STILL = 0.01  # largest change of a number in [−1, 1] that ends the way down


def energy_create(key: jax.Array, feature_size: int, action_size: int, horizon: int, width: int, blocks: int) -> Params:
    """Parameters of g, those of the mixer, and r as ``rate (1,)``."""
    return {**mixer_create(key, feature_size, action_size, horizon, width, blocks), "rate": initial.zeros(1)}


def energy(params: Params, features: jax.Array, x: jax.Array) -> jax.Array:
    """E ``(…)`` of ``x (…, H, a)`` for ``features (…, f)``."""
    error = x - mixer_apply(params, features, x, jnp.zeros(1))
    half: jax.Array = 0.5 * (error**2).sum(axis=(-2, -1))
    return half


def change(params: Params, features: jax.Array, x: jax.Array) -> jax.Array:
    """−η ∇_x E ``(…, H, a)``."""
    slope: jax.Array = jax.grad(lambda x: energy(params, features, x).sum())(x)
    return -jnp.exp(params["rate"].astype(x.dtype)) * slope


def energy_loss(params: Params, key: jax.Array, features: jax.Array, chunk: jax.Array, weight: jax.Array) -> jax.Array:
    """L for ``features (…, f)`` and ``chunk (…, H, a)``, one draw each; steps count ``weight (…, H)``."""
    noise_key, time_key = jax.random.split(key)
    t = jax.random.uniform(time_key, (*chunk.shape[:-2], 1, 1))
    x = (1.0 - t) * jax.random.normal(noise_key, chunk.shape) + t * chunk
    for _ in range(UNROLLED):
        x = x + change(params, features, x)
    return weighted_mean(weight, (x - chunk) ** 2)


def energy_sample(params: Params, features: jax.Array, noise: jax.Array, steps: int) -> tuple[jax.Array, jax.Array]:
    """Chunks ``(n, H, a)`` in [−1, 1] below ``noise (n, H, a)``, and the steps ``(n,)`` that each took."""

    def goes_on(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        return carry[2].any()

    def step(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        x, made, moving = carry
        moved = jnp.where(moving[:, None, None], change(params, features, x), 0.0)
        made = made + moving
        return x + moved, made, (jnp.abs(moved).max(axis=(-2, -1)) > STILL) & (made < steps)

    begin = noise, jnp.zeros(len(noise), jnp.int32), jnp.ones(len(noise), bool)
    x, made, _ = jax.lax.while_loop(goes_on, step, begin)
    return jnp.clip(x, -1.0, 1.0), made
