"""A running average of parameters, for policies that imitate: what acts, while what is learnt goes up and down.

θ̄ ← d_k θ̄ + (1 − d_k) θ,   d_k = min(0.9999, 1 − (1 + k)^−0.75) after step k = 0, 1, …     (Diffusion Policy)
"""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp

MOST_DECAY, POWER = 0.9999, 0.75
Tree = TypeVar("Tree")


def decay_after(made: jax.Array | int) -> jax.Array:
    """d_k after step k = ``made``."""
    decay: jax.Array = jnp.minimum(MOST_DECAY, 1.0 - (1.0 + jnp.asarray(made, jnp.float32)) ** -POWER)
    return decay


def followed(average: Tree, learnt: Tree, made: jax.Array | int) -> Tree:
    """θ̄ after step k = ``made``, which led to θ, ``learnt``."""
    d = decay_after(made)
    moved: Tree = jax.tree.map(lambda mean, new: d * mean + (1.0 - d) * new, average, learnt)
    return moved
