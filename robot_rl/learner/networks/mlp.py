"""Networks as plain functions of parameter pytrees: the tanh-Gaussian actor and the critic ensemble.

They multiply in the format of their parameters (see `precision`) and hand out float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import jax
import jax.numpy as jnp

from robot_rl.learner.networks import initial
from robot_rl.learner.networks.compiled import compiled

Params = dict[str, jax.Array]
Activation = Literal["relu", "tanh"]  # of hidden layers; parameters do not tell it, so both sides are given the same
ACTIVATIONS: dict[Activation, Callable[[jax.Array], jax.Array]] = {"relu": jax.nn.relu, "tanh": jnp.tanh}
LOG_STD_MIN, LOG_STD_MAX = math.log(1e-5), math.log(5.0)
LAYER_NORM_EPSILON = 1e-6
LAST_LAYER = 0.01  # values and actions start near 0; from anywhere in ±1 it takes hundreds of steps to get there


def actor_create(
    key: jax.Array, state_size: int, action_size: int, hidden: Sequence[int], layer_norm: bool = False
) -> Params:
    """An MLP with a last layer of width 2a, mean and log std: ``w0, b0, …``, and ``g, c`` of the LayerNorms."""
    params = mlp_create(key, (state_size, *hidden, 2 * action_size))
    return params | (norms_create(hidden) if layer_norm else {})


@compiled("activation")
def actor_apply(params: Params, state: jax.Array, activation: Activation = "relu") -> tuple[jax.Array, jax.Array]:
    """Mean and log std ``(…, a)`` before the tanh, for ``state (…, d)``: Dense (→ LayerNorm) → activation, …, Dense."""
    last = last_layer(params)
    hidden = state.astype(params["w0"].dtype)
    for i in range(last):
        hidden = hidden @ params[f"w{i}"] + params[f"b{i}"]
        if f"g{i}" in params:
            hidden = layer_norm(hidden) * params[f"g{i}"] + params[f"c{i}"]
        hidden = ACTIVATIONS[activation](hidden)
    mean, log_std = jnp.split(head(hidden, params[f"w{last}"]) + params[f"b{last}"], 2, axis=-1)
    return mean, jnp.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)


def action_size_of(params: Params) -> int:
    """a, from an actor's parameters."""
    return params[f"b{last_layer(params)}"].shape[-1] // 2


def last_layer(params: Params) -> int:
    """Number of the last Dense layer, from 0."""
    return sum(name.startswith("w") for name in params) - 1


def norms_create(widths: Sequence[int], members: Sequence[int] = ()) -> Params:
    """``g0, c0, …``, scale and offset of LayerNorms of these ``widths``, with leading axes ``members``."""
    scales = {f"g{i}": initial.ones(*members, width) for i, width in enumerate(widths)}
    return scales | {f"c{i}": initial.zeros(*members, width) for i, width in enumerate(widths)}


@compiled()
def tanh_gaussian(key: jax.Array, mean: jax.Array, log_std: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Action ``a = tanh(u) (…, a)``, ``u ~ N(mean, std)``, and ``log π(a) (…)``.

    ``log π = log N(u) − Σ 2 (log 2 − u − softplus(−2u))``: the last term is ``log(1 − tanh² u)`` without cancellation.
    """
    noise = jax.random.normal(key, mean.shape)
    raw = mean + jnp.exp(log_std) * noise
    gauss = -0.5 * noise**2 - log_std - 0.5 * jnp.log(2.0 * jnp.pi)
    squash = 2.0 * (jnp.log(2.0) - raw - jax.nn.softplus(-2.0 * raw))
    return jnp.tanh(raw), (gauss - squash).sum(axis=-1)


def critics_create(
    key: jax.Array, state_size: int, action_size: int, hidden: Sequence[int], members: int, layer_norm: bool
) -> Params:
    """An ensemble of critics ``Q(s, a)``: `ensemble_create` with one output."""
    return ensemble_create(key, (state_size + action_size, *hidden, 1), members, layer_norm)


@compiled("activation")
def critics_apply(params: Params, state: jax.Array, action: jax.Array, activation: Activation = "relu") -> jax.Array:
    """``Q (members, n)`` for ``state (n, d)`` and ``action (n, a)``."""
    return ensemble_apply(params, jnp.concatenate((state, action), axis=-1), activation)[..., 0]


def ensemble_create(key: jax.Array, sizes: Sequence[int], members: int, layer_norm: bool) -> Params:
    """MLPs side by side: a leading axis ``members`` on each parameter. ``g, c``: scale and offset of the LayerNorms."""
    params = mlp_create(key, sizes, (members,))
    return params | (norms_create(sizes[1:-1], (members,)) if layer_norm else {})


@compiled("activation")
def ensemble_apply(params: Params, inputs: jax.Array, activation: Activation = "relu") -> jax.Array:
    """``(members, n, outputs)`` for ``inputs (n, d)``: Dense (→ LayerNorm) → activation, …, Dense."""
    last = last_layer(params)
    hidden = jnp.broadcast_to(inputs.astype(params["w0"].dtype), (params["w0"].shape[0], *inputs.shape))
    for i in range(last):
        hidden = hidden @ params[f"w{i}"] + params[f"b{i}"][:, None]
        if f"g{i}" in params:
            hidden = layer_norm(hidden) * params[f"g{i}"][:, None] + params[f"c{i}"][:, None]
        hidden = ACTIVATIONS[activation](hidden)
    return head(hidden, params[f"w{last}"]) + params[f"b{last}"][:, None]


def head(hidden: jax.Array, weights: jax.Array) -> jax.Array:
    """``hidden @ weights``, the sums not rounded to the format of the factors."""
    return jnp.matmul(hidden, weights, preferred_element_type=jnp.promote_types(hidden.dtype, jnp.float32))


def widen(x: jax.Array) -> jax.Array:
    """``x`` in float32 at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def layer_norm(x: jax.Array) -> jax.Array:
    """``(x − mean) / √(var + ε)`` over the last axis, in float32 and then in the format of ``x``."""
    wide = widen(x)
    centred = wide - wide.mean(axis=-1, keepdims=True)
    return (centred * jax.lax.rsqrt((centred**2).mean(axis=-1, keepdims=True) + LAYER_NORM_EPSILON)).astype(x.dtype)


def mlp_create(key: jax.Array, sizes: Sequence[int], members: Sequence[int] = ()) -> Params:
    """Glorot-uniform weights, zero biases; the last layer's weights times ``LAST_LAYER``; leading axes ``members``."""
    params = {}
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        key, subkey = jax.random.split(key)
        scale = LAST_LAYER if i == len(sizes) - 2 else 1.0
        params[f"w{i}"] = initial.glorot(subkey, (*members, inputs, outputs), scale)
        params[f"b{i}"] = initial.zeros(*members, outputs)
    return params
