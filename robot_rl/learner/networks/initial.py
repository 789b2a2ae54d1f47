"""First parameters, drawn and laid out by the host.

XLA would compile a program for each shape of them, which took the learner's first seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np


def uniform(key: jax.Array, shape: Sequence[int], bound: float) -> jax.Array:
    """Numbers of ``shape`` between −``bound`` and ``bound``."""
    return _drawn(key, shape, lambda rng: rng.uniform(-bound, bound, shape))


def glorot(key: jax.Array, shape: Sequence[int], scale: float = 1.0) -> jax.Array:
    """Weights ``(…, inputs, outputs)``, between ±``scale`` √(6 / (inputs + outputs)): Glorot and Bengio (2010)."""
    return uniform(key, shape, scale * (6.0 / (shape[-2] + shape[-1])) ** 0.5)


def orthogonal(key: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Matrices ``(…, rows, columns)`` whose rows, or columns where these are fewer, are orthonormal."""
    *lead, rows, columns = shape

    def draw(rng: np.random.Generator) -> np.ndarray:
        q, r = np.linalg.qr(rng.normal(size=(*lead, max(rows, columns), min(rows, columns))))
        q *= np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]  # else they are not uniformly distributed
        return q if rows >= columns else np.swapaxes(q, -1, -2)

    return _drawn(key, shape, draw)


def zeros(*shape: int) -> jax.Array:
    """Float32 zeros of ``shape``."""
    made: jax.Array = jax.device_put(np.zeros(shape, np.float32))
    return made


def ones(*shape: int) -> jax.Array:
    """Float32 ones of ``shape``."""
    made: jax.Array = jax.device_put(np.ones(shape, np.float32))
    return made


def _drawn(key: jax.Array, shape: Sequence[int], draw: Callable[[np.random.Generator], np.ndarray]) -> jax.Array:
    """Numbers that ``draw`` takes from a generator seeded by ``key``, also where ``key`` is traced."""

    def drawn(key: jax.Array) -> np.ndarray:
        return draw(np.random.default_rng(np.asarray(key))).astype(np.float32)

    if isinstance(key, jax.core.Tracer):
        result = jax.pure_callback(drawn, jax.ShapeDtypeStruct(tuple(shape), jnp.float32), key)
    else:
        result = jax.device_put(drawn(key))
    made: jax.Array = result
    return made
