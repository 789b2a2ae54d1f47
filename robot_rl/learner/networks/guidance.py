"""Real-time chunking: a flow that is guided to begin with what is being done (Black et al., arXiv 2506.07339).

While a policy thinks, the arm goes on with the chunk before. Y are the actions of that chunk from the time of the
observation on; the first d of them will have acted when the answer can. The flow of the new chunk, which goes from
noise at t = 0 to actions at t = 1 with velocity v, is pulled towards Y where W says so:

    x̂₁ = x_t + (1 − t) v(x_t, t)                        where it is heading
    v  ← v + g(t) Jᵀ [W ⊙ (Y − x̂₁)],  J = ∂x̂₁/∂x_t        (`jacobian`), or J = I (`identity`)
    g(t) = min(β, (1 − t)/t · (t² + (1 − t)²)/(1 − t)²)

    W_i = 1                       for i < d
        = c (eᶜ − 1)/(e − 1)      for d ≤ i < n,   c = (n − i)/(n − d + 1)
        = 0                       from n on, the number of actions in Y

`identity` (LeRobot's variant) takes one evaluation of v a step and no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Method = Literal["jacobian", "identity"]
Field = Callable[[jax.Array, float], jax.Array]  # (x, t) ↦ v, of each point by itself

LIMIT = 5.0  # β


class Guide(NamedTuple):
    """Y ``(H, a)`` and W ``(H,)`` of a chunk of H actions, and how it is pulled there."""

    target: jax.Array
    weight: jax.Array
    method: Method


def soft_mask(rows: int, delay: int, overlap: int) -> np.ndarray:
    """W ``(rows,)`` float32 for d = ``delay`` and n = ``overlap``, both from 0 on; a d beyond n is n."""
    overlap = min(overlap, rows)
    delay = min(delay, overlap)
    weight = np.zeros(rows, np.float32)
    weight[:delay] = 1.0
    c = (overlap - np.arange(delay, overlap)) / (overlap - delay + 1.0)
    weight[delay:overlap] = c * np.expm1(c) / math.expm1(1.0)
    return weight


def strength(t: float, limit: float = LIMIT) -> float:
    """g(t) for t from 0 to below 1."""
    if t <= 0.0:
        return limit
    return min(limit, (t**2 + (1.0 - t) ** 2) / (t * (1.0 - t)))


def guided_velocity(
    field: Field, x: jax.Array, t: float, target: jax.Array, weight: jax.Array, method: Method, limit: float = LIMIT
) -> jax.Array:
    """v + g Jᵀ[W ⊙ (Y − x̂₁)] ``(…, k)`` at the points ``x (…, k)``; ``target`` and ``weight`` broadcast to them."""
    left = 1.0 - t
    if method == "identity":
        v = field(x, t)
        pull = weight * (target - (x + left * v))
    else:

        def heading(point: jax.Array) -> tuple[jax.Array, jax.Array]:
            velocity = field(point, t)
            return point + left * velocity, velocity

        end, back, v = jax.vjp(heading, x, has_aux=True)
        (pull,) = back((weight * (target - end)).astype(end.dtype))
    return v + strength(t, limit) * pull


def guided_sample(field: Field, noise: jax.Array, steps: int, guide: Guide, limit: float = LIMIT) -> jax.Array:
    """Chunks ``(…, H a)`` in [−1, 1]: where ``noise (…, H a)`` ends, by ``steps`` of Euler's method."""
    target = guide.target.reshape(-1)
    weight = jnp.repeat(guide.weight, guide.target.shape[-1])
    x = noise
    for i in range(steps):
        x = x + guided_velocity(field, x, i / steps, target, weight, guide.method, limit) / steps
    return jnp.clip(x, -1.0, 1.0)
