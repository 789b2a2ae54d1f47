"""How often something like this was shown: counts by flips of coins (Lobel et al., arXiv 2306.03186).

Each sample z of the demonstrations has K coins c ∈ {−1, 1}^K of its own, and a network f learns them:

    f(z) = u(z) + (p(z) − m) ⊙ g
    L    = mean of ‖f(z) − c‖² / K
    n̂(z) = K / ‖f(z)‖²

Among n samples that f cannot tell apart, the best f is the mean of their coins, and ‖f‖²/K is 1/n on average. p, a
second network, stays as it was drawn; m and 1/g are its mean and deviation over the data, so that what is unlike all
that was shown, where u has learnt nothing, counts 1 or less. The coins of a sample are hashed from its numbers: it
always has the same ones, and twice the same numbers are one sample. u and p are

    h = LN(GELU(z A + a)),   h ← h + GELU(LN(h) W + w) V + v, twice,   h B + b

This is the counter of TACO (arXiv 2512.02834), but narrower, of two blocks instead of three, without dropout, and its
coins are hashed instead of drawn. Fitted for long, u learns the coins of each sample by heart,
and all counts come to 1: 16 passes over the samples are TACO's. Coins of samples that were held out are nobody's, so L
there is 1 + ‖f‖²/K on average: it falls while u learns to undo p, and rises once u learns coins by heart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from robot_rl.learner.networks import initial
from robot_rl.learner.networks.mlp import Params, head, layer_norm
from robot_rl.learner.networks.parts import part

COINS = 20  # K
WIDTH, HIDDEN, BLOCKS = 128, 256, 2
HASH = 0  # key of the factors that coins are hashed with
LEAST_SPREAD = 1e-6  # variance of p below which it is not scaled up


class Counts(NamedTuple):
    """u and p, and the first and the second moment of p ``(2, K)`` over ``seen`` minibatches."""

    learnt: Params
    prior: Params
    prior_moments: jax.Array
    seen: jax.Array

    @property
    def published(self) -> dict[str, Params]:
        """Networks and numbers by the names that `found_in` looks for."""
        spread = {"moments": self.prior_moments, "seen": self.seen}
        return {"counts": self.learnt, "prior": self.prior, "spread": spread}


def counts_create(key: jax.Array, size: int) -> Counts:
    """Counts of samples of ``size`` numbers, none of which was seen yet."""
    learnt_key, prior_key = jax.random.split(key)
    moments = jnp.stack((jnp.zeros(COINS), jnp.ones(COINS)))
    return Counts(_network(learnt_key, size), _network(prior_key, size), moments, jnp.float32(0.0))


def found_in(params: Mapping[str, jax.Array]) -> Counts:
    """The counts among ``params`` that were published. Raises KeyError when there are none."""
    spread = part(params, "spread")
    return Counts(part(params, "counts"), part(params, "prior"), spread["moments"], spread["seen"])


def see_prior(counts: Counts, samples: jax.Array, weight: jax.Array) -> Counts:
    """``counts`` whose moments of p are also over the minibatch ``samples (n, k)``, each counting ``weight (n,)``.

    Each minibatch counts alike, but for one without weight, which does not.
    """
    p, share = network_apply(counts.prior, samples), weight / jnp.maximum(weight.sum(), 1.0)
    found = jnp.stack((share @ p, share @ p**2))
    counted = (weight.sum() > 0.0).astype(jnp.float32)
    moments = counts.prior_moments + counted * (found - counts.prior_moments) / (1.0 + counts.seen)
    return counts._replace(prior_moments=moments, seen=counts.seen + counted)


def flips(counts: Counts, samples: jax.Array) -> jax.Array:
    """f ``(…, K)`` of ``samples (…, k)``."""
    mean, square = counts.prior_moments
    gain = jax.lax.rsqrt(jnp.maximum(square - mean**2, LEAST_SPREAD))
    found: jax.Array = network_apply(counts.learnt, samples) + (network_apply(counts.prior, samples) - mean) * gain
    return found


def rareness(counts: Counts, samples: jax.Array) -> jax.Array:
    """1/n̂ ``(…)`` of ``samples (…, k)``."""
    return (flips(counts, samples) ** 2).mean(axis=-1)


def coins(rows: jax.Array) -> jax.Array:
    """c ``(n, K)`` of samples by their numbers ``rows (n, k)``: the first bits of sums of random multiples of them."""
    bits = jax.lax.bitcast_convert_type(rows.astype(jnp.float32), jnp.uint32)
    factors = jax.random.bits(jax.random.PRNGKey(HASH), (rows.shape[-1], COINS), jnp.uint32) | 1
    mixed = (bits[..., None] * factors).sum(axis=-2, dtype=jnp.uint32)
    return 1.0 - 2.0 * (mixed >> 31).astype(jnp.float32)


def counts_loss(counts: Counts, samples: jax.Array, flipped: jax.Array, weight: jax.Array) -> jax.Array:
    """L for ``samples (n, k)`` with the coins ``flipped (n, K)``, each sample counting ``weight (n,)``."""
    error = ((flips(counts, samples) - flipped) ** 2).mean(axis=-1)
    loss: jax.Array = (weight * error).sum() / jnp.maximum(weight.sum(), 1.0)
    return loss


def network_apply(params: Params, samples: jax.Array) -> jax.Array:
    """u or p ``(…, K)`` of ``samples (…, k)``."""
    x = samples.astype(params["in/w"].dtype)
    h = layer_norm(jax.nn.gelu(x @ params["in/w"] + params["in/b"]))
    for i in range(BLOCKS):
        inner = jax.nn.gelu(layer_norm(h) @ params[f"{i}/w"] + params[f"{i}/b"])
        h = h + inner @ params[f"{i}/v"] + params[f"{i}/c"]
    return head(h, params["out/w"]) + params["out/b"]


def _network(key: jax.Array, size: int) -> Params:
    keys = iter(jax.random.split(key, 2 + 2 * BLOCKS))
    params = {"in/w": initial.glorot(next(keys), (size, WIDTH)), "in/b": initial.zeros(WIDTH)}
    for i in range(BLOCKS):
        params |= {f"{i}/w": initial.glorot(next(keys), (WIDTH, HIDDEN)), f"{i}/b": initial.zeros(HIDDEN)}
        params |= {f"{i}/v": initial.glorot(next(keys), (HIDDEN, WIDTH)), f"{i}/c": initial.zeros(WIDTH)}
    return params | {"out/w": initial.glorot(next(keys), (WIDTH, COINS)), "out/b": initial.zeros(COINS)}
