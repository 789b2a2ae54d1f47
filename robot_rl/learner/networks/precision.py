"""Number formats: what networks multiply in, and what their parameters are stored in.

Both settings are meant for GPUs, which multiply bfloat16 several times as fast; processors gain nothing by it.

- ``dtype``: of the parameters as a loss or a target sees them. Networks take the format of their parameters for all
  that is multiplied, forth and back, so gradients are computed in it, and summed in it over the devices that share a
  minibatch. Outputs of networks, losses, targets, log-probabilities, norms' statistics, optimisers: all float32.
- ``parameter_dtype``: of parameters and their averages between two calls of ``update``. Within a call all steps are
  made in float32. In bfloat16 a parameter has 8 bits, and a step of Adam or of a target is often less than half the
  last one: rounded to the nearest, such steps are lost, every time. So they are rounded at random, up or down by how
  near either is: the expectation is exact.

A leaf ``…_optimiser`` or ``…_moments`` of a state is no parameter, nor is what is not in a dict: both stay float32. So
does an ``average_actor``: it remembers for thousands of steps, and with them what they were rounded by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp

from robot_rl.contract.ranges import check

Format = Literal["float32", "bfloat16"]
ROUNDING = 1 << 31  # sets the draws apart from all others made of the same key
KEPT = ("_optimiser", "_moments", "average_actor")  # endings of fields of a state that stay float32
Tree = TypeVar("Tree")


@dataclass(frozen=True, kw_only=True)
class Precision:
    """The settings that every algorithm's config has."""

    dtype: Format = "float32"  # what networks multiply and gradients are summed in; bfloat16: for GPUs
    parameter_dtype: Format = "float32"  # what parameters are stored in between two calls
    scale_inputs: bool = True  # by how the demonstrations are spread: `robot_rl.learner.standard`

    def __post_init__(self) -> None:
        check(self)


def cast(tree: Tree, dtype: str) -> Tree:
    """``tree``, a state, a dict of parameters or arguments of a loss, with the parameters in it in ``dtype``."""
    return _change(tree, lambda _, leaf: leaf.astype(dtype))


def store(key: jax.Array, tree: Tree, dtype: str) -> Tree:
    """`cast`, but with numbers that ``dtype`` has not rounded at random: each up or down by how near either is."""
    if dtype == "float32":
        return tree
    key = jax.random.fold_in(key, ROUNDING)
    return _change(tree, lambda i, leaf: _round_at_random(jax.random.fold_in(key, i), leaf))


def value_and_grad(loss: Callable[..., Any], dtype: str, has_aux: bool = True) -> Callable[..., Any]:
    """`jax.value_and_grad` with all parameters among the arguments in ``dtype``; the gradient is float32 again."""

    def wrapped(*arguments: Any) -> Any:
        value, gradient = jax.value_and_grad(loss, has_aux=has_aux)(*cast(arguments, dtype))
        return value, jax.tree.map(lambda slope: slope.astype(jnp.float32), gradient)

    return wrapped


def _change(tree: Tree, change: Callable[[int, jax.Array], jax.Array]) -> Tree:
    """``tree`` with ``change(number, leaf)`` in place of each parameter."""
    paths, structure = jax.tree_util.tree_flatten_with_path(tree)
    changed: Tree = jax.tree_util.tree_unflatten(
        structure, [change(i, leaf) if _is_parameter(path, leaf) else leaf for i, (path, leaf) in enumerate(paths)]
    )
    return changed


def _is_parameter(path: tuple[Any, ...], leaf: Any) -> bool:
    fields = (entry.name for entry in path if isinstance(entry, jax.tree_util.GetAttrKey))
    return (
        any(isinstance(entry, jax.tree_util.DictKey) for entry in path)
        and jnp.issubdtype(leaf.dtype, jnp.floating)
        and not any(field.endswith(KEPT) for field in fields)
    )


def _round_at_random(key: jax.Array, value: jax.Array) -> jax.Array:
    """bfloat16 is the upper half of a float32: a uniform draw in place of the lower half decides about the carry."""
    value = value.astype(jnp.float32)
    bits = jax.lax.bitcast_convert_type(value, jnp.uint32) + jax.random.bits(key, value.shape, jnp.uint16)
    kept = jax.lax.bitcast_convert_type((bits >> 16).astype(jnp.uint16), jnp.bfloat16)
    return jnp.where(jnp.isfinite(value), kept, value.astype(jnp.bfloat16))
