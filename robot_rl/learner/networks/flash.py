"""FlashSAC's networks: weights, features and gradients of bounded norm, so that a large network bootstraps stably.

    h    = BN₀(x) W₀
    h   ← h + ReLU(BN(ReLU(BN(h W₁)) W₂))       for each block; W₁: d → 4d, W₂: 4d → d
    out  = (h / rms(h) ⊙ g) W ⊙ s + b

Parameters are a flat dict, layer k = 0 … 2N + 1 for N blocks: ``wk (in, out)``; ``gk, ck``: scale and offset of the
batch norm before W₀ and after W₁ … W₂ₙ; of the last layer ``g``, the RMSNorm's scale, ``w``, ``b`` and, in an actor
alone, ``s`` (s = 1 without it). Each may have leading axes, those of an ensemble. Batch norms in training mode take
mean and variance over the batch, in evaluation mode they take running ones, ``mk, vk`` in a dict of their own: those
are followed, not learnt.

With ``norm="layer"`` layer norms take the place of those inside, and ``h = ((x − m) / √(v + 1), 1) W₀`` with running
moments m, v in both modes: the network is then one and the same function however a batch is composed. Large inputs are
brought to size and small ones left small, for a robot's are mostly noise (`flash_sac` has figures). The 1 at the end is
there because layer norms see the direction of their input alone.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import jax
import jax.numpy as jnp

from robot_rl.learner.networks import initial
from robot_rl.learner.networks.compiled import compiled
from robot_rl.learner.networks.mlp import Params, head, layer_norm, widen

LOG_STD_MIN, LOG_STD_MAX = -10.0, 2.0
LARGEST_PLACE = 0.99  # of a log std between its ends, −1 and 1, to begin at: there it still has a slope
RMS_EPSILON = 1e-6
BATCH_EPSILON = 1e-5
LAYERED_EPSILON = 1.0  # added to the variances of inputs
EXPANSION = 4  # a block is so many times wider inside
Norm = Literal["batch", "layer"]
CRITIC_REACH = 16.0  # norm of a critic's last features, √256, whatever its width: how sharp a distribution can be


def create(
    key: jax.Array,
    inputs: int,
    width: int,
    blocks: int,
    outputs: int,
    members: int | None = None,
    reach: float | None = None,
    norm: str = "batch",
) -> tuple[Params, Params]:
    """Parameters and running statistics of a network, or of ``members`` of them on a leading axis.

    Orthogonal weights, brought to their norms by `bound`, which ``reach`` is for; statistics of mean 0 and variance 1.
    ``norm``: a `Norm`.
    """
    lead = () if members is None else (members,)
    sizes = (inputs, width, *(EXPANSION * width, width) * blocks, outputs)
    params: Params = {}
    statistics: Params = {}
    last = len(sizes) - 2
    layered = norm == "layer"
    for k, (before, after) in enumerate(pairwise(sizes)):
        if k == 0 or (k < last and not layered):
            measured = after if k else before
            statistics |= {f"m{k}": initial.zeros(*lead, measured), f"v{k}": initial.ones(*lead, measured)}
        rows = before + (layered and k == 0)
        params[f"w{k}"] = initial.orthogonal(jax.random.fold_in(key, k), (*lead, rows, after))
        if k == 0 and layered:
            continue
        normed = before if k in (0, last) else after
        params[f"g{k}"] = initial.ones(*lead, normed)
        if k < last:
            params[f"c{k}"] = initial.zeros(*lead, normed)
    params[f"b{last}"] = initial.zeros(*lead, outputs)
    return _bound(params, reach), statistics


def bound(params: Params, reach: float | None = None) -> Params:
    """The same directions at the norms they are held to: of every parameter after every step of an optimiser.

    The weights of each output have norm 1, scale and offset of a batch norm together √d, the scale of the RMSNorm
    ``reach``, by default √d; the head's ``b`` and ``s`` are free. Features after the RMSNorm are about as long as its
    scale, so outputs lie within about ±``reach`` s of the bias.
    """
    last = _layers(params) - 1
    held = dict(params)
    for k in range(last + 1):
        w = params[f"w{k}"]
        held[f"w{k}"] = w / jnp.linalg.norm(w, axis=-2, keepdims=True)
        if f"g{k}" not in params:
            continue
        g = params[f"g{k}"]
        c = params.get(f"c{k}", jnp.zeros_like(g))
        norm = g.shape[-1] ** 0.5 if reach is None or k < last else reach
        stretch = norm / jnp.linalg.norm(jnp.concatenate((g, c), axis=-1), axis=-1, keepdims=True)
        held[f"g{k}"] = stretch * g
        if f"c{k}" in params:
            held[f"c{k}"] = stretch * c
    return held


_bound = compiled("reach")(bound)


def is_layered(params: Params) -> bool:
    """Whether layer norms take the place of batch norms: rows do not know of each other, nor of running statistics."""
    return "g0" not in params


@compiled()
def apply(params: Params, x: jax.Array, statistics: Params | None = None) -> tuple[jax.Array, Params]:
    """Outputs ``(…, n, out)`` for ``x (n, in)``, and the batch's means and variances at each batch norm, for `follow`.

    Evaluation mode with ``statistics``, which take the place of the batch's; then no moments come back. Networks with
    layer norms always need ``statistics``, and always give the moments of ``x``.
    """
    last, dtype, layered = _layers(params) - 1, params["w0"].dtype, is_layered(params)
    moments: Params = {}

    def centred(k: int, x: jax.Array, epsilon: float = BATCH_EPSILON) -> jax.Array:
        """``(x − mean) / √(var + ε)`` of batch or running moments."""
        if statistics is None or layered:
            moments[f"m{k}"], moments[f"v{k}"] = x.mean(axis=-2), x.var(axis=-2)
        taken = moments if statistics is None else statistics
        return (x - taken[f"m{k}"][..., None, :]) * jax.lax.rsqrt(taken[f"v{k}"][..., None, :] + epsilon)

    def norm(k: int, x: jax.Array) -> jax.Array:
        x = layer_norm(widen(x)) if layered else centred(k, widen(x))
        return (x * params[f"g{k}"][..., None, :] + params[f"c{k}"][..., None, :]).astype(dtype)

    if layered:
        x = centred(0, widen(x), LAYERED_EPSILON)
        x = jnp.concatenate((x, jnp.ones((*x.shape[:-1], 1))), axis=-1).astype(dtype)
    else:
        x = norm(0, x)
    hidden = x @ params["w0"]
    for k in range(1, last, 2):
        inner = jax.nn.relu(norm(k, hidden @ params[f"w{k}"]))
        hidden = hidden + jax.nn.relu(norm(k + 1, inner @ params[f"w{k + 1}"]))
    hidden = widen(hidden)
    hidden = hidden * jax.lax.rsqrt((hidden**2).mean(axis=-1, keepdims=True) + RMS_EPSILON)
    hidden = (hidden * params[f"g{last}"][..., None, :]).astype(dtype)
    out = head(hidden, params[f"w{last}"])
    if f"s{last}" in params:
        out = out * params[f"s{last}"][..., None, :]
    return out + params[f"b{last}"][..., None, :], moments


def follow(statistics: Params, moments: Params, rows: int, rate: jax.Array) -> Params:
    """Running statistics after a batch of ``rows``, whose variances are made unbiased."""
    unbiased = {"m": 1.0, "v": rows / (rows - 1)}
    return {name: old + rate * (unbiased[name[0]] * moments[name] - old) for name, old in statistics.items()}


def begin_at_zero(params: Params, std: float) -> Params:
    """An actor whose outputs are 0 and ``std`` before the tanh, whatever it sees, until it learns otherwise."""
    last = _layers(params) - 1
    scale, bias = params[f"s{last}"], params[f"b{last}"]
    size = bias.shape[-1] // 2
    place = 2.0 * (math.log(std) - LOG_STD_MIN) / (LOG_STD_MAX - LOG_STD_MIN) - 1.0
    raw = math.atanh(min(max(place, -LARGEST_PLACE), LARGEST_PLACE))
    return params | {f"s{last}": jnp.zeros_like(scale), f"b{last}": jnp.zeros_like(bias).at[size:].set(raw)}


def gaussian(outputs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and log std ``(…, a)`` before the tanh, of an actor's ``outputs (…, 2a)``: log σ = −10 + 6 (1 + tanh ·)."""
    mean, raw = jnp.split(outputs, 2, axis=-1)
    return mean, LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (1.0 + jnp.tanh(raw))


def _layers(params: Params) -> int:
    return sum(name.startswith("w") for name in params)
