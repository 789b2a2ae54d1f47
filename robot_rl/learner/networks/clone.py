"""The clone: a network that does what the demonstrations do, one action at a time.

Two kinds. A *mean* is one action for each state:

    c(s) = tanh(W₂ h₂ + b₂),   h = ReLU(LayerNorm(W h + b)), twice
    L_c  = mean of (c(s) − a)²

A *drawn* clone is a flow of single actions (`chunk_flow`, whose chunk has one step), so where a person does now this
and now that it does either, and not what lies between:

    c(s, w) = clip(x(1), −1, 1),   dx/dt = v(s, x, t), x(0) = w ~ N(0, I)

With cameras s is the state and what an encoder of the clone's own finds in the images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.chunk_flow import flow_loss, flow_sample
from robot_rl.learner.networks.mixer import mixer_create
from robot_rl.learner.networks.mlp import Params, ensemble_apply, ensemble_create

Kind = Literal["drawn", "mean"]
HIDDEN = (256, 256)  # of a mean
WIDTH, BLOCKS = 64, 2  # of a drawn clone
STEPS = 4  # of Euler's method, from noise to its action
JUDGE, DRAWS = 0, 4  # key of the noise that a drawn clone is judged with, and how many draws of it


class Clone(NamedTuple):
    """Its parameters; without cameras the encoder is empty."""

    encoder: Params
    policy: Params

    @property
    def drawn(self) -> bool:
        """Whether its actions depend on noise."""
        return "x/w" in self.policy


def create(key: jax.Array, layout: Layout, kind: Kind) -> Clone:
    """A clone that has seen nothing."""
    encoder_key, policy_key = jax.random.split(key)
    seen, features, size = encoder.create(encoder_key, layout), encoder.size(layout), layout.action_size
    if kind == "drawn":
        return Clone(seen, mixer_create(policy_key, features, size, 1, WIDTH, BLOCKS))
    return Clone(seen, ensemble_create(policy_key, (features, *HIDDEN, size), 1, layer_norm=True))


def features(clone: Clone, state: jax.Array, images: Mapping[str, jax.Array] | None) -> jax.Array:
    """``(n, f)`` of ``state (n, d)`` and ``images`` (camera → ``(n, h, w, 3)`` uint8)."""
    return encoder.features(clone.encoder, state, images)


def apply(clone: Clone, seen: jax.Array, noise: jax.Array) -> jax.Array:
    """c ``(…, n, a)`` in [−1, 1] for features ``seen (n, f)`` and ``noise (…, n, a)``, which a mean has no use for."""
    if clone.drawn:
        return flow_sample(clone.policy, seen, noise[..., None, :], STEPS)[..., 0, :]
    return jnp.broadcast_to(jnp.tanh(ensemble_apply(clone.policy, seen)[0]), noise.shape)


def loss(clone: Clone, key: jax.Array, batch: Batch) -> jax.Array:
    """L_c over a minibatch ``(n, …)`` of single steps, or that of the flow, by one draw each."""
    seen = features(clone, batch.state, batch.images)
    if clone.drawn:
        chunk = batch.action[:, None]
        return flow_loss(clone.policy, key, seen, chunk, jnp.ones(chunk.shape[:-1]))
    error: jax.Array = apply(clone, seen, batch.action) - batch.action
    return (error**2).mean()


def judged(clone: Clone, batch: Batch) -> jax.Array:
    """`loss` of demonstrations ``batch (n, …)`` that it did not see, always by the same noise."""
    keys = jax.random.split(jax.random.PRNGKey(JUDGE), DRAWS if clone.drawn else 1)
    losses: jax.Array = jax.lax.map(lambda key: loss(clone, key, batch), keys)
    return losses.mean()
