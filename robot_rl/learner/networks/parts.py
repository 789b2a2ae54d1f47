"""Published parameters: those of several networks in one flat mapping, ``<part>/<name>`` → array."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from robot_rl.learner.networks.mlp import Params


def join(**networks: Mapping[str, jax.Array]) -> Params:
    """The parameters of ``networks`` under their names, in float32."""
    return {
        f"{part}/{name}": value if value.dtype == jnp.float32 else value.astype(jnp.float32)
        for part, params in networks.items()
        for name, value in params.items()
    }


def part(params: Mapping[str, jax.Array], name: str) -> Params:
    """The parameters of the network ``name`` of `join`; empty when there are none."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): value for key, value in params.items() if key.startswith(prefix)}
