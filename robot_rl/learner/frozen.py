"""A base that stays as it is: a flow of chunks that imitates, for agents that steer it or edit what it says.

    a = F(s, w),   w ~ N(0, I),   s: the features that the base's own encoder finds

Such an agent asks its base for two things, `FlowBase.features` of what is seen and `FlowBase.chunks` for noise, and no
gradient goes into it. Before everything else the base imitates the demonstrations (`robot_rl.learner.earned`), or it is
taken over from what another run published; a flow of `chunked` is one, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Base
from robot_rl.learner.algorithms.chunked import SEEN, fill, with_axis
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.flow import flow_loss, flow_sample
from robot_rl.learner.networks.mlp import Params
from robot_rl.learner.networks.parts import part


class FlowBase(NamedTuple):
    """Parameters of the flow, and of the encoder that it sees by, which are none without cameras."""

    encoder: Params
    flow: Params

    def features(self, state: jax.Array, images: Mapping[str, jax.Array] | None) -> jax.Array:
        """``(n, f)`` of ``state (n, d)`` and ``images``, as `encoder.features` takes them."""
        return encoder.features(self.encoder, state, images)

    def chunks(self, features: jax.Array, noise: jax.Array, steps: int) -> jax.Array:
        """F ``(…, k)`` in [−1, 1] for ``features (…, f)`` and ``noise (…, k)``, by ``steps`` of Euler's method."""
        return flow_sample(self.flow, features, noise, steps)

    @property
    def published(self) -> dict[str, Params]:
        """Networks by the names that `found_in` looks for."""
        return {"flow": self.flow, SEEN: self.encoder}


def found_in(params: Mapping[str, jax.Array]) -> FlowBase:
    """The base among the ``params`` that an agent published. Raises ValueError when there is none."""
    flow = part(params, "flow")
    if not flow:
        raise ValueError("there is no flow of chunks among these parameters; agents chunked, dsrl and rlt publish one")
    return FlowBase(part(params, SEEN) or part(params, encoder.NAME), flow)


def imitation_loss(base: FlowBase, key: jax.Array, batch: Batch) -> jax.Array:
    """L of the flow over windows ``(n, …)``, the steps that were executed alone."""
    batch = with_axis(batch)
    flow_key, fill_key = jax.random.split(key)
    weight = jnp.repeat(batch.valid, batch.action.shape[-1], axis=-1)
    features = base.features(batch.state, batch.images)
    return flow_loss(base.flow, flow_key, features, fill(fill_key, batch), weight)


def imitated(
    optimiser: optax.GradientTransformation, act: Callable[..., Any], replace: Callable[[Any, FlowBase], Any]
) -> Base:
    """The part of an agent that imitates, where the agent's state keeps a `FlowBase` as ``base``.

    ``act``: by the base alone. ``replace``: ``(state, base) → state`` with it in place.
    """
    return Base(
        optimiser=optimiser,
        learnt=lambda state: state.base,
        replace=replace,
        loss=imitation_loss,
        act=act,
        found=found_in,
    )
