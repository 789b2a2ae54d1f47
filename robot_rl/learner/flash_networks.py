"""FlashSAC's networks: weights, features and gradients of bounded norm, so that a large network bootstraps stably.

    h    = BN₀(x) W₀
    h   ← h + ReLU(BN(ReLU(BN(h W₁)) W₂))       for each block; W₁: d → 4d, W₂: 4d → d
    out  = (h / rms(h) ⊙ g) W + b

Parameters are a flat dict, layer k = 0 … 2N + 1 for N blocks: ``wk (in, out)``; ``gk, ck``: scale and offset of the
batch norm before W₀ and after W₁ … W₂ₙ; of the last layer ``g``, the RMSNorm's scale, ``w`` and ``b``. Each may have
leading axes, those of an ensemble. Batch norms in training mode take mean and variance over the batch, in evaluation
mode they take running ones, ``mk, vk`` in a dict of their own: those are followed, not learnt.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp

from robot_rl.learner.networks import Params, head, widen
from robot_rl.policies.flash import LOG_STD_MAX, LOG_STD_MIN, RMS_EPSILON

BATCH_EPSILON = 1e-5
EXPANSION = 4  # a block is so many times wider inside


@partial(jax.jit, static_argnames=("inputs", "width", "blocks", "outputs", "members"))
def create(
    key: jax.Array, inputs: int, width: int, blocks: int, outputs: int, members: int | None = None
) -> tuple[Params, Params]:
    """Parameters and running statistics of a network, or of ``members`` of them on a leading axis.

    Orthogonal weights, brought to their norms by `bound`; statistics of mean 0 and variance 1.
    """
    if members is not None:
        return jax.vmap(lambda k: create(k, inputs, width, blocks, outputs))(jax.random.split(key, members))
    sizes = (inputs, width, *(EXPANSION * width, width) * blocks, outputs)
    params: Params = {}
    statistics: Params = {}
    last = len(sizes) - 2
    for k, (before, after) in enumerate(pairwise(sizes)):
        params[f"w{k}"] = jax.nn.initializers.orthogonal()(jax.random.fold_in(key, k), (before, after))
        normed = before if k in (0, last) else after
        params[f"g{k}"] = jnp.ones(normed)
        if k < last:
            params[f"c{k}"] = jnp.zeros(normed)
            statistics |= {f"m{k}": jnp.zeros(normed), f"v{k}": jnp.ones(normed)}
    params[f"b{last}"] = jnp.zeros(outputs)
    return bound(params), statistics


def bound(params: Params) -> Params:
    """The same directions at the norms they are held to: of every parameter after every step of an optimiser.

    The weights of each output have norm 1, scale and offset of a batch norm together √d, the scale of the RMSNorm √d;
    the head's bias is free.
    """
    held = dict(params)
    for k in range(_layers(params)):
        w, g = params[f"w{k}"], params[f"g{k}"]
        held[f"w{k}"] = w / jnp.linalg.norm(w, axis=-2, keepdims=True)
        c = params.get(f"c{k}", jnp.zeros_like(g))
        stretch = jnp.sqrt(g.shape[-1] / (g**2 + c**2).sum(axis=-1, keepdims=True))
        held[f"g{k}"] = stretch * g
        if f"c{k}" in params:
            held[f"c{k}"] = stretch * c
    return held


def apply(params: Params, x: jax.Array, statistics: Params | None = None) -> tuple[jax.Array, Params]:
    """Outputs ``(…, n, out)`` for ``x (n, in)``, and the batch's means and variances at each batch norm, for `follow`.

    Evaluation mode with ``statistics``, which take the place of the batch's; then no moments come back.
    """
    last, dtype = _layers(params) - 1, params["w0"].dtype
    moments: Params = {}

    def batch_norm(k: int, x: jax.Array) -> jax.Array:
        x = widen(x)
        if statistics is None:
            moments[f"m{k}"], moments[f"v{k}"] = x.mean(axis=-2), x.var(axis=-2)
        taken = moments if statistics is None else statistics
        slope = params[f"g{k}"] * jax.lax.rsqrt(taken[f"v{k}"] + BATCH_EPSILON)
        normed = (x - taken[f"m{k}"][..., None, :]) * slope[..., None, :] + params[f"c{k}"][..., None, :]
        return normed.astype(dtype)

    hidden = batch_norm(0, x) @ params["w0"]
    for k in range(1, last, 2):
        inner = jax.nn.relu(batch_norm(k, hidden @ params[f"w{k}"]))
        hidden = hidden + jax.nn.relu(batch_norm(k + 1, inner @ params[f"w{k + 1}"]))
    hidden = widen(hidden)
    hidden = hidden * jax.lax.rsqrt((hidden**2).mean(axis=-1, keepdims=True) + RMS_EPSILON)
    hidden = (hidden * params[f"g{last}"][..., None, :]).astype(dtype)
    return head(hidden, params[f"w{last}"]) + params[f"b{last}"][..., None, :], moments


def follow(statistics: Params, moments: Params, rows: int, rate: jax.Array) -> Params:
    """Running statistics after a batch of ``rows``, whose variances are made unbiased."""
    unbiased = {"m": 1.0, "v": rows / (rows - 1)}
    return {name: old + rate * (unbiased[name[0]] * moments[name] - old) for name, old in statistics.items()}


@jax.jit
def fold(params: Params, statistics: Params) -> Params:
    """The network in evaluation mode without its norms: ``w0, b0, …`` for `robot_rl.policies.flash`.

    A batch norm with running statistics is ``x ⊙ slope + offset``, which the matrix beside it takes in, as the last one
    does the RMSNorm's scale.
    """
    last = _layers(params) - 1
    slope, offset = {}, {}
    for k in range(last):
        slope[k] = params[f"g{k}"] / jnp.sqrt(statistics[f"v{k}"] + BATCH_EPSILON)
        offset[k] = params[f"c{k}"] - slope[k] * statistics[f"m{k}"]
    folded = {"w0": slope[0][:, None] * params["w0"], "b0": offset[0] @ params["w0"]}
    for k in range(1, last):
        folded |= {f"w{k}": params[f"w{k}"] * slope[k], f"b{k}": offset[k]}
    return folded | {f"w{last}": params[f"g{last}"][:, None] * params[f"w{last}"], f"b{last}": params[f"b{last}"]}


def gaussian(outputs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and log std ``(…, a)`` before the tanh, of an actor's ``outputs (…, 2a)``: log σ = −10 + 6 (1 + tanh ·)."""
    mean, raw = jnp.split(outputs, 2, axis=-1)
    return mean, LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (1.0 + jnp.tanh(raw))


def _layers(params: Params) -> int:
    return sum(name.startswith("w") for name in params)
