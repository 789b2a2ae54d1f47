"""A base that stays as it is: a flow of chunks that imitates, for agents that steer it, edit or sift what it says.

    a = F(s, w),   w ~ N(0, I),   s: the features that the base's own encoder finds

Such an agent asks its base for two things, `FlowBase.features` of what is seen and `FlowBase.chunks` for noise (or
learns on a copy of it, as `gorl` and `pa_rl`), and no gradient goes into it. Before everything else the base imitates
the demonstrations (`robot_rl.learner.earned`), or it is taken over from what another run published; a flow of `chunked`
is one, too. `critic_step` is what critics of whole chunks, over the base's features, learn by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Base
from robot_rl.learner.algorithms.chunked import SEEN, fill, whole, with_axis
from robot_rl.learner.algorithms.rlpd import draw_subset
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.flow import flow_loss, flow_sample
from robot_rl.learner.networks.mlp import Params, critics_apply
from robot_rl.learner.networks.parts import part
from robot_rl.learner.networks.precision import cast, value_and_grad


class FlowBase(NamedTuple):
    """Parameters of the flow, and of the encoder that it sees by, which are none without cameras."""

    encoder: Params
    flow: Params

    def features(self, state: jax.Array, images: Mapping[str, jax.Array] | None) -> jax.Array:
        """``(n, f)`` of ``state (n, d)`` and ``images``, as `encoder.features` takes them."""
        return encoder.features(self.encoder, state, images)

    def see(self, state: jax.Array, images: Mapping[str, jax.Array]) -> jax.Array:
        """``(1, f)`` of one observation, ``state (d,)`` and ``images`` as in `Observation`."""
        return self.features(state[None], {name: image[None] for name, image in images.items()})

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
        raise ValueError(
            "there is no flow of chunks among these parameters; agents chunked, dsrl, gorl, pa_rl and rlt publish one"
        )
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


def seen(key: jax.Array, base: FlowBase, batch: Batch) -> Batch:
    """``batch`` with the features in place of states, and no images."""
    batch = encoder.augment(key, batch)
    state = base.features(batch.state, batch.images)
    return batch._replace(
        state=state, next_state=base.features(batch.next_state, batch.next_images), images=None, next_images=None
    )


def critic_loss(critics: Params, chunk: jax.Array, target: jax.Array, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """L_Q over all members, and Q ``(E, n)``; ``batch.state`` is the features."""
    q = critics_apply(critics, batch.state, chunk)
    return (whole(batch) * (q - target) ** 2).mean(), q


def target_of(key: jax.Array, critics: Params, batch: Batch, chunk: jax.Array, config: Any) -> jax.Array:
    """y ``(n,)``: the rewards, and what follows them where ``chunk (n, k)`` is executed next.

    It is worth the least of ``config.subset`` of the ``critics``, drawn anew; ``batch.next_state`` is the features.
    """
    members = draw_subset(key, config.critics, config.subset)
    subset = {name: values[members] for name, values in critics.items()}
    value = critics_apply(subset, batch.next_state, chunk).min(axis=0)
    steps = batch.reward.shape[-1]
    rewards = batch.reward @ config.discount ** jnp.arange(steps)
    target: jax.Array = rewards + config.discount**steps * batch.mask * value
    return target


def critic_step(
    state: Any, key: jax.Array, batch: Batch, config: Any, critic_target: Callable[..., jax.Array]
) -> tuple[Any, tuple[Batch, dict[str, jax.Array]]]:
    """One step of the critics on one minibatch ``(n,)`` of windows, whose targets follow; the batch as it was seen.

    Of any agent whose state has a ``base``, ``critics``, ``target_critics`` and ``critic_optimiser``, for the targets
    ``critic_target(key, state, batch, config) (n,)``.
    """
    image_key, fill_key, target_key = jax.random.split(key, 3)
    lower = cast(state, config.dtype)
    batch = seen(image_key, lower.base, batch)
    target = critic_target(target_key, lower, batch, config)
    (loss, q), gradient = value_and_grad(critic_loss, config.dtype)(state.critics, fill(fill_key, batch), target, batch)
    change, optimiser = optax.adam(config.learning_rate).update(gradient, state.critic_optimiser)
    critics = optax.apply_updates(state.critics, change)
    state = state._replace(
        critics=critics,
        target_critics=optax.incremental_update(critics, state.target_critics, config.target_rate),
        critic_optimiser=optimiser,
    )
    return state, (batch, {"critic/loss": loss, "critic/q_mean": q.mean(), "critic/target_mean": target.mean()})
