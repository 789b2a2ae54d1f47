"""The clone: a network that does what the demonstrations do.

    c(s) = tanh(W₂ h₂ + b₂),   h = ReLU(LayerNorm(W h + b)), twice
    L_c  = mean of (c(s) − a)²

With cameras s is the state and what an encoder of the clone's own finds in the images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.mlp import Params, ensemble_apply, ensemble_create

HIDDEN = (256, 256)


class Clone(NamedTuple):
    """Its parameters; without cameras the encoder is empty."""

    encoder: Params
    policy: Params


def create(key: jax.Array, layout: Layout) -> Clone:
    """A clone that has seen nothing."""
    encoder_key, policy_key = jax.random.split(key)
    sizes = encoder.size(layout), *HIDDEN, layout.action_size
    return Clone(encoder.create(encoder_key, layout), ensemble_create(policy_key, sizes, 1, layer_norm=True))


def apply(clone: Clone, state: jax.Array, images: Mapping[str, jax.Array] | None) -> jax.Array:
    """``c(s) (n, a)`` in [−1, 1] for ``state (n, d)`` and ``images`` (camera → ``(n, h, w, 3)`` uint8)."""
    return jnp.tanh(ensemble_apply(clone.policy, encoder.features(clone.encoder, state, images))[0])


def loss(clone: Clone, batch: Batch) -> jax.Array:
    """L_c over a minibatch ``(n, …)`` of single steps."""
    error: jax.Array = apply(clone, batch.state, batch.images) - batch.action
    return (error**2).mean()
