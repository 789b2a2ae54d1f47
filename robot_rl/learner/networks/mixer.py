"""A network over the steps of a chunk: each step is a token with a time of its own; blocks mix tokens and channels.

    h    = x W_x + s W_s + b                                    x: the token, s: the features, alike for all tokens
    h   += g₁ ⊙ W₂ᵀ GELU(W₁ᵀ u),   u = (1 + γ₁) ⊙ LN(h) + β₁    over tokens, alike for all channels; not of a single one
    h   += g₂ ⊙ GELU(u W₃) W₄,     u = (1 + γ₂) ⊙ LN(h) + β₂    over channels, alike for all tokens; so for each block
    out  = ((1 + γ) ⊙ LN(h) + β) W
    β, γ, g = c M + n,   c = SiLU(SiLU(e(t) A) B),   e(t) = sin, cos 2πt/p for periods p from 4e-3 to 4

M and n begin at 0, so each block begins as the identity (AdaLN-zero; Peebles and Xie, arXiv 2212.09748). The time is a
token's own because real-time chunking is learnt by it: some tokens are given, at the time of clean actions, and the
others continue them (see `chunk_flow`). The blocks are those of Black et al. (arXiv 2506.07339), narrower.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from robot_rl.learner.networks import initial
from robot_rl.learner.networks.compiled import compiled
from robot_rl.learner.networks.mlp import LAST_LAYER, Params, head, layer_norm

TOKEN_HIDDEN = 32  # hidden numbers of the mixing of tokens
CHANNEL_FACTOR = 2  # hidden numbers of the mixing of channels, for each channel
TIME_FEATURES = 64
PERIODS = (4e-3, 4.0)


def mixer_create(key: jax.Array, feature_size: int, action_size: int, horizon: int, width: int, blocks: int) -> Params:
    """Parameters for H = ``horizon`` tokens of ``action_size`` numbers; ``width`` channels.

    ``x/w, s/w, in/b, t0/…, t1/…``, of each block i ``<i>/m, /n, /w1, /b1, …``, and ``m, n, out/…``.
    """
    keys = iter(jax.random.split(key, 5 + 4 * blocks))
    hidden = CHANNEL_FACTOR * width
    params: Params = {
        "x/w": initial.glorot(next(keys), (action_size, width)),
        "s/w": initial.glorot(next(keys), (feature_size, width)),
        "in/b": initial.zeros(width),
        "t0/w": initial.glorot(next(keys), (TIME_FEATURES, width)),
        "t0/b": initial.zeros(width),
        "t1/w": initial.glorot(next(keys), (width, width)),
        "t1/b": initial.zeros(width),
    }
    mixed = horizon > 1
    for i in range(blocks):
        numbers = (6 if mixed else 3) * width
        params |= {f"{i}/m": initial.zeros(width, numbers), f"{i}/n": initial.zeros(numbers)}
        sizes = (horizon, TOKEN_HIDDEN), (TOKEN_HIDDEN, horizon), (width, hidden), (hidden, width)
        for number, (inputs, outputs) in enumerate(sizes, start=1):
            key = next(keys)
            if mixed or number > 2:
                params[f"{i}/w{number}"] = initial.glorot(key, (inputs, outputs))
                params[f"{i}/b{number}"] = initial.zeros(outputs)
    params |= {"m": initial.zeros(width, 2 * width), "n": initial.zeros(2 * width), "out/b": initial.zeros(action_size)}
    params["out/w"] = initial.glorot(next(keys), (width, action_size), LAST_LAYER)
    return params


@compiled()
def mixer_apply(params: Params, features: jax.Array, x: jax.Array, t: jax.Array) -> jax.Array:
    """``out (…, H, a)`` float32 for ``features (…, f)``, tokens ``x (…, H, a)`` and their times ``t``.

    ``t (…, H)`` is from 0 to 1, or ``(…, 1)`` where all tokens have the same, which is cheaper.
    """
    dtype = params["x/w"].dtype
    features, x = features.astype(dtype), x.astype(dtype)
    h = x @ params["x/w"] + (features @ params["s/w"])[..., None, :] + params["in/b"]
    c = embedding(t).astype(dtype)
    for name in ("t0", "t1"):
        c = jax.nn.silu(c @ params[f"{name}/w"] + params[f"{name}/b"])
    blocks = sum(name.endswith("/w3") for name in params)
    for i in range(blocks):
        modulation = jnp.split(c @ params[f"{i}/m"] + params[f"{i}/n"], params[f"{i}/n"].shape[-1] // h.shape[-1], -1)
        if f"{i}/w1" in params:
            shift, scale, gate = modulation[:3]
            u = jnp.swapaxes((1.0 + scale) * layer_norm(h) + shift, -1, -2)
            h = h + gate * jnp.swapaxes(_dense_twice(params, i, 1, u), -1, -2)
        shift, scale, gate = modulation[-3:]
        h = h + gate * _dense_twice(params, i, 3, (1.0 + scale) * layer_norm(h) + shift)
    shift, scale = jnp.split(c @ params["m"] + params["n"], 2, axis=-1)
    return head((1.0 + scale) * layer_norm(h) + shift, params["out/w"]) + params["out/b"]


def _dense_twice(params: Params, block: int, number: int, u: jax.Array) -> jax.Array:
    """GELU(u W + b) W' + b', of the layers ``number`` and the next of a ``block``."""
    first, second = ((params[f"{block}/w{n}"], params[f"{block}/b{n}"]) for n in (number, number + 1))
    return jax.nn.gelu(u @ first[0] + first[1]) @ second[0] + second[1]


def embedding(t: jax.Array) -> jax.Array:
    """``e(t) (…, TIME_FEATURES)`` of times ``t (…)``: sines, then cosines."""
    periods = jnp.geomspace(*PERIODS, TIME_FEATURES // 2)
    angle = 2.0 * jnp.pi * t[..., None] / periods
    return jnp.concatenate((jnp.sin(angle), jnp.cos(angle)), axis=-1)


def drawn_prefix(key: jax.Array, shape: tuple[int, ...], most: int) -> jax.Array:
    """Bool ``(…, H)`` of ``shape``: the tokens i < d that are given, d drawn uniformly from 0 to ``most``."""
    count = jax.random.randint(key, (*shape[:-1], 1), 0, most + 1)
    return jnp.arange(shape[-1]) < count


def weighted_mean(weight: jax.Array, values: jax.Array) -> jax.Array:
    """The mean of ``values (…, H, a)``, each token counting ``weight (…, H)``; 0 where none counts."""
    total = jnp.maximum(weight.sum() * values.shape[-1], 1.0)
    mean: jax.Array = (weight[..., None] * values).sum() / total
    return mean
