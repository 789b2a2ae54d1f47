"""Latent steering, stage by stage: what the steered flow does becomes what the flow does by itself (GoRL).

After Zhang et al., arXiv 2512.02581. `dsrl` chooses the noise w of a flow F that stays as it is, so it never does what
that flow cannot. Here two things take turns. For ``stage`` calls of `update`, G minibatches each, a latent policy π
steers the decoder F by critics as in `dsrl`, but by a Gaussian that is held near N(0, I):

    L_π  = mean of α D(s) − Q_W(s, w),   w ~ π(s) = N(μ, σ²),   D = mean of ½ (μ² + σ² − 1) − log σ
    L_α  = log α · (D̄ − D)              D: the divergence from N(0, I), mean of the numbers; D̄ = ``divergence``

and beside it a coming decoder F' learns what comes of that, one step on the last minibatch of a call:

    L_F' = flow matching of F(s, w),   s of the batch, w ~ π(s), each with noise of its own ~ N(0, I)

Then F' takes the place of F, and π and Q_W begin anew: N(0, I) leads there by now, and π can go as far again. That F'
can still be steered is what D̄ is for: of a π that has become sure of itself nothing but one chunk is left to imitate.
The critics of chunks know nothing of noise and learn on.

F begins as the base that imitated the demonstrations (`robot_rl.learner.frozen`), which is kept: it acts alone until
the whole agent has earned it (`robot_rl.learner.earned`).

Departures from the paper: it steers by PPO or SAC on what was just collected, from a decoder that begins as the
identity, and trains each decoder from nothing on the pairs of state and action of its stage. Here chunks for F' are
drawn anew at states of replay, where data of a stage would be few, and F' begins as F. The paper's cost is that of
mean μ² and mean σ² with a fixed weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from robot_rl.contract import Layout
from robot_rl.contract.ranges import Count, Positive
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent, Algorithm, Base
from robot_rl.learner.algorithms import dsrl
from robot_rl.learner.algorithms.chunked import with_axis
from robot_rl.learner.algorithms.dsrl import DsrlState, SteeringConfig, steer
from robot_rl.learner.frozen import FlowBase
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.flow import flow_loss, flow_size
from robot_rl.learner.networks.mlp import Params
from robot_rl.learner.networks.parts import join, part
from robot_rl.learner.networks.precision import cast, store, value_and_grad


@dataclass(frozen=True)
class GorlConfig(SteeringConfig):
    """Defaults as those of `SteeringConfig`; how long a stage is, and how far it leads, was not tuned."""

    divergence: Positive = 0.5  # D̄: that of a shift by one standard deviation
    stage: Count = 500  # calls of update, of G critic steps each, until the coming decoder takes over

    def noise(self, key: jax.Array, mean: jax.Array, log_std: jax.Array) -> tuple[jax.Array, jax.Array]:
        """w ~ N(μ, σ²), and D."""
        variance = jnp.exp(2.0 * log_std)
        divergence = 0.5 * (mean**2 + variance - 1.0) - log_std
        return mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape), divergence.mean(axis=-1)

    def usual(self, mean: jax.Array) -> jax.Array:
        """μ."""
        return mean

    @property
    def least_gain(self) -> float:
        """−D̄."""
        return -self.divergence


class GorlState(NamedTuple):
    """Everything that learns, the base that it began as, and ``made``, the calls of this stage.

    ``steered.base`` is the decoder F, ``coming`` F'.
    """

    base: FlowBase
    steered: DsrlState
    coming: Params
    coming_optimiser: Any
    made: jax.Array
    key: jax.Array


def create(key: jax.Array, layout: Layout, config: GorlConfig) -> GorlState:
    """A fresh agent."""
    steered = dsrl.create(key, layout, config)
    flow = steered.base.flow
    coming_optimiser = _adam(config).init(cast(flow, "float32"))
    return GorlState(steered.base, steered, flow, coming_optimiser, jnp.int32(0), steered.key)


def steered_chunks(key: jax.Array, steered: DsrlState, batch: Batch, config: GorlConfig) -> tuple[jax.Array, jax.Array]:
    """F(s, w) ``(n, k)`` of noise that π draws, and ``(n, f)``, what decoders see, of a minibatch ``(n, …)``."""
    noise, _ = steer(key, steered.actor, encoder.features(steered.values.encoder, batch.state, batch.images), config)
    seen = steered.base.features(batch.state, batch.images)
    return steered.base.chunks(seen, noise, config.flow_steps), seen


def decoder_step(state: GorlState, key: jax.Array, batch: Batch, config: GorlConfig) -> tuple[GorlState, jax.Array]:
    """One step of F' on one minibatch ``(n, …)``, in float32; the loss before it."""
    steer_key, flow_key = jax.random.split(key)
    chunk, seen = steered_chunks(steer_key, cast(state.steered, config.dtype), batch, config)
    loss, gradient = value_and_grad(flow_loss, config.dtype, has_aux=False)(state.coming, flow_key, seen, chunk)
    change, optimiser = _adam(config).update(gradient, state.coming_optimiser)
    return state._replace(coming=optax.apply_updates(state.coming, change), coming_optimiser=optimiser), loss


def next_stage(state: GorlState, key: jax.Array, config: GorlConfig) -> GorlState:
    """``state``, in float32, in which F' has taken over, and what chooses noise is fresh."""
    decoder = state.steered.base._replace(flow=state.coming)
    features, size = state.steered.actor["w0"].shape[0], flow_size(state.coming)
    return state._replace(
        steered=state.steered._replace(base=decoder, **dsrl.steering(key, features, size, config)),
        coming_optimiser=_adam(config).init(state.coming),
        made=jnp.zeros_like(state.made),
    )


@partial(jax.jit, static_argnames="config")
def update(state: GorlState, batch: Batch, config: GorlConfig) -> tuple[GorlState, dict[str, jax.Array]]:
    """G steps of the critics, one of π and one of F', at the end of a stage the next; ``batch`` is ``(G, n, …)``."""
    batch, state = with_axis(batch), cast(state, "float32")
    key, shift_key, decoder_key, stage_key = jax.random.split(state.key, 4)
    steered, info = dsrl.learn(state.steered._replace(key=key), batch, config)
    last = encoder.augment(shift_key, jax.tree.map(lambda column: column[-1], batch._replace(columns={})))
    state = state._replace(steered=steered, made=state.made + 1, key=steered.key)
    state, loss = decoder_step(state, decoder_key, last, config)
    state = jax.lax.cond(
        state.made >= config.stage, lambda state: next_stage(state, stage_key, config), lambda state: state, state
    )
    info |= {"decoder/loss": loss, "decoder/norm": optax.tree.norm(state.coming)}
    return store(state.key, state, config.parameter_dtype), info


def base_of(config: GorlConfig) -> Base:
    """The flow with its encoder, of which decoders begin; the critics begin to see by the same."""
    steering = dsrl.base_of(config)

    def replaced(state: GorlState, base: FlowBase) -> GorlState:
        return state._replace(
            base=base,
            steered=steering.replace(state.steered, base),
            coming=base.flow,
            coming_optimiser=_adam(config).init(cast(base.flow, "float32")),
        )

    return steering._replace(replace=replaced)


def published(state: GorlState) -> Params:
    """The parameters that `act` takes."""
    own = join(decoder=state.steered.base.flow, actor=state.steered.actor, encoder=state.steered.values.encoder)
    return own | join(**state.base.published)


def act(
    params: Params,
    carry: Any,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    key: jax.Array,
    deterministic: bool,
    config: GorlConfig,
) -> tuple[jax.Array, Any]:
    """A chunk ``(H, a)`` of the steered decoder; see `dsrl.act`."""
    steered = {**params, **join(flow=part(params, "decoder"))}
    return dsrl.act(steered, carry, state, images, key, deterministic, config)


def make_agent(config: GorlConfig | None = None) -> Agent:
    """GoRL by the contract that all agents share."""
    config = config or GorlConfig()
    return Agent(
        name="gorl",
        config=config,
        updates_per_call=config.critic_steps,
        actor_share=1.0 / config.critic_steps,
        create=partial(create, config=config),
        update=partial(update, config=config),
        actor=published,
        act=partial(act, config=config),
        horizon=config.horizon,
        base=base_of(config),
        needs_base=True,
    )


def _adam(config: GorlConfig) -> optax.GradientTransformation:
    return optax.adam(config.learning_rate)


AGENT = Algorithm(GorlConfig, make_agent)
