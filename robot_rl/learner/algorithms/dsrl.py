"""Latent steering: a flow that imitates stays as it is, and a small actor chooses the noise it starts from (DSRL).

Wagenmaker et al., arXiv 2506.15799, with noise aliasing. The base is a flow that imitated the demonstrations, chunks of
H actions a = F(s, w) of noise w ~ N(0, I); then it is left alone. Whatever the actor π does, the arm moves in ways that
the base knows. One call of `update` takes G minibatches of windows; on each

    y    = Σ_{k<H} γ^k r_{t+k} + γ^H m min_i Q̄_i(s_{t+H}, F(s_{t+H}, w')),   w' ~ π
    L_Q  = mean over members and batch of (Q_i(s, a) − y)²      a: the chunk that was executed, windows as in `chunked`
    L_W  = mean of (Q_W(s, w) − min_i Q_i(s, F(s, w)))²,   of w one half ~ N(0, I), the other ~ π

and then one step of actor and temperature on the last of them:

    L_π  = mean of α log π(u|s) − Q_W(s, w),   w = b u,   u ~ π a Gaussian under a tanh, b = ``bound``
    L_α  = α (H_π − H̄),   H_π the entropy of u

Q learns of all chunks, a person's too, whose noise nobody knows; Q_W hands on what it says about those that the base
can make, and spares the actor the gradient through the flow. Departures from the public code: rewards are discounted
within a chunk, as in `chunked`, and half of the noise that Q_W learns from is the actor's, since in many dimensions
N(0, I) hardly ever comes near the bounds.

Without anybody's demonstrations there is nothing to steer.
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
from robot_rl.contract.ranges import Count, Discount, Finite, Positive, Rate, Widths
from robot_rl.data.replay import Batch
from robot_rl.learner import frozen
from robot_rl.learner.agent import Agent, Algorithm, Base
from robot_rl.learner.algorithms.chunked import Values, critic_loss, fill, q_values, with_axis
from robot_rl.learner.algorithms.rlpd import alpha_loss
from robot_rl.learner.frozen import FlowBase
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.flow import flow_create
from robot_rl.learner.networks.mlp import (
    Params,
    actor_apply,
    actor_create,
    critics_apply,
    critics_create,
    tanh_gaussian,
)
from robot_rl.learner.networks.parts import join, part
from robot_rl.learner.networks.precision import Precision, cast, store, value_and_grad


@dataclass(frozen=True)
class SteeringConfig(Precision):
    """The settings of an agent that chooses a flow's noise. Defaults: sized for 2 cores, as `ChunkedConfig`."""

    horizon: Count = 5  # H, steps of a chunk: 0.5 s
    hidden: Widths = (256, 256)  # width of the hidden layers: flow, critics, actor
    critics: Count = 2  # E, members of the ensemble
    layer_norm: bool = True  # in the critics
    discount: Discount = 0.97  # γ, of one step
    learning_rate: Positive = 3e-4  # of all (Adam)
    target_rate: Rate = 0.005  # τ: how fast the target critics follow
    flow_steps: Count = 5  # of Euler's method, from noise to a chunk
    initial_temperature: Positive = 0.01  # α at the start: of the order of one step's difference in value, as in rlpd
    critic_steps: Count = 4  # G, critic steps per actor step

    def noise(self, key: jax.Array, mean: jax.Array, log_std: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Noise w ``(n, k)`` that an actor's outputs ``(n, k)`` stand for, and what it costs ``(n,)``, times α."""
        raise NotImplementedError

    def usual(self, mean: jax.Array) -> jax.Array:
        """w ``(n, k)`` without chance."""
        raise NotImplementedError

    @property
    def least_gain(self) -> float:
        """What the mean of the costs, with its sign changed, is held at by α."""
        raise NotImplementedError


@dataclass(frozen=True)
class DsrlConfig(SteeringConfig):
    """Defaults as those of `SteeringConfig`; b and H̄ the paper's for one arm."""

    bound: Positive = 1.5  # b: the noise chosen is in [−b, b]
    target_entropy: Finite = 0.0  # H̄ of u, all its numbers together

    def noise(self, key: jax.Array, mean: jax.Array, log_std: jax.Array) -> tuple[jax.Array, jax.Array]:
        """w = b u, and log π(u|s)."""
        u, log_prob = tanh_gaussian(key, mean, log_std)
        return self.bound * u, log_prob

    def usual(self, mean: jax.Array) -> jax.Array:
        """b tanh μ."""
        return self.bound * jnp.tanh(mean)

    @property
    def least_gain(self) -> float:
        """H̄."""
        return self.target_entropy


class DsrlState(NamedTuple):
    """Everything that learns."""

    base: FlowBase
    values: Values
    target_values: Values
    noise_critic: Params
    actor: Params
    log_alpha: jax.Array
    value_optimiser: Any
    noise_optimiser: Any
    actor_optimiser: Any
    alpha_optimiser: Any
    key: jax.Array


def create(key: jax.Array, layout: Layout, config: SteeringConfig) -> DsrlState:
    """A fresh agent."""
    encoder_key, critic_key, flow_key, steering_key, key = jax.random.split(key, 5)
    features, size = encoder.size(layout), config.horizon * layout.action_size
    seen = encoder.create(encoder_key, layout)
    critics = critics_create(critic_key, features, size, config.hidden, config.critics, config.layer_norm)
    values = Values(seen, critics)
    state = DsrlState(
        base=FlowBase(seen, flow_create(flow_key, features, size, config.hidden)),
        values=values,
        target_values=values,
        value_optimiser=optax.adam(config.learning_rate).init(values),
        key=key,
        **steering(steering_key, features, size, config),
    )
    return store(key, state, config.parameter_dtype)


def steering(key: jax.Array, features: int, size: int, config: SteeringConfig) -> dict[str, Any]:
    """The fields of a state that choose noise w ``(size,)`` by so many ``features``, fresh."""
    noise_key, actor_key = jax.random.split(key)
    noise_critic = critics_create(noise_key, features, size, config.hidden, 1, config.layer_norm)
    actor = actor_create(actor_key, features, size, config.hidden, layer_norm=False)
    log_alpha = jnp.log(jnp.float32(config.initial_temperature))
    adam = optax.adam(config.learning_rate)
    return {
        "noise_critic": noise_critic,
        "noise_optimiser": adam.init(noise_critic),
        "actor": actor,
        "actor_optimiser": adam.init(actor),
        "log_alpha": log_alpha,
        "alpha_optimiser": adam.init(log_alpha),
    }


def steer(key: jax.Array, actor: Params, features: jax.Array, config: SteeringConfig) -> tuple[jax.Array, jax.Array]:
    """Noise w ``(n, k)`` for ``features (n, f)``, and what it costs ``(n,)``: log π(u|s)."""
    return config.noise(key, *actor_apply(actor, features))


def critic_target(key: jax.Array, state: DsrlState, batch: Batch, config: SteeringConfig) -> jax.Array:
    """y ``(n,)``."""
    features = encoder.features(state.target_values.encoder, batch.next_state, batch.next_images)
    noise, _ = steer(key, state.actor, features, config)
    seen = state.base.features(batch.next_state, batch.next_images)
    chunk = state.base.chunks(seen, noise, config.flow_steps)
    value = critics_apply(state.target_values.critics, features, chunk).min(axis=0)
    horizon = batch.reward.shape[-1]
    rewards = batch.reward @ config.discount ** jnp.arange(horizon)
    target: jax.Array = rewards + config.discount**horizon * batch.mask * value
    return target


def aliased(
    key: jax.Array, state: DsrlState, features: jax.Array, batch: Batch, config: SteeringConfig
) -> tuple[jax.Array, jax.Array]:
    """Noise w ``(n, 2, k)``, of N(0, I) and of π, and what Q says about its chunks ``(n, 2)``."""
    drawn_key, steer_key = jax.random.split(key)
    steered, _ = steer(steer_key, state.actor, features, config)
    noise = jnp.stack((jax.random.normal(drawn_key, steered.shape), steered), axis=1)
    seen = state.base.features(batch.state, batch.images)
    chunks = state.base.chunks(seen[:, None], noise, config.flow_steps)
    return noise, q_values(state.values.critics, features, chunks).min(axis=0)


def noise_loss(noise_critic: Params, features: jax.Array, noise: jax.Array, value: jax.Array) -> jax.Array:
    """L_W for ``features (n, f)``, ``noise (n, N, k)`` and what Q says, ``value (n, N)``."""
    loss: jax.Array = ((q_values(noise_critic, features, noise)[0] - value) ** 2).mean()
    return loss


def actor_loss(
    actor: Params,
    key: jax.Array,
    noise_critic: Params,
    log_alpha: jax.Array,
    features: jax.Array,
    config: SteeringConfig,
) -> tuple[jax.Array, jax.Array]:
    """L_π, and the entropy H_π."""
    noise, cost = steer(key, actor, features, config)
    q = critics_apply(noise_critic, features, noise)[0]
    return (jnp.exp(log_alpha) * cost - q).mean(), -cost.mean()


def value_step(
    state: DsrlState, key: jax.Array, batch: Batch, config: SteeringConfig
) -> tuple[DsrlState, tuple[jax.Array, dict[str, jax.Array]]]:
    """One step of Q, whose targets follow, and one of Q_W, on one minibatch ``(n,)`` of windows; the features there."""
    fill_key, target_key, noise_key, image_key = jax.random.split(key, 4)
    batch = encoder.augment(image_key, batch)
    adam, seen = optax.adam(config.learning_rate), cast(state, config.dtype)
    target = critic_target(target_key, seen, batch, config)
    (loss, (q, features)), gradient = value_and_grad(critic_loss, config.dtype)(
        state.values, fill(fill_key, batch), target, batch
    )
    change, value_optimiser = adam.update(gradient, state.value_optimiser)
    values = optax.apply_updates(state.values, change)

    features = jax.lax.stop_gradient(features)
    noise, value = aliased(noise_key, seen._replace(values=cast(values, config.dtype)), features, batch, config)
    noise_error, gradient = value_and_grad(noise_loss, config.dtype, has_aux=False)(
        state.noise_critic, features, noise, value
    )
    change, noise_optimiser = adam.update(gradient, state.noise_optimiser)
    state = state._replace(
        values=values,
        target_values=optax.incremental_update(values, state.target_values, config.target_rate),
        noise_critic=optax.apply_updates(state.noise_critic, change),
        value_optimiser=value_optimiser,
        noise_optimiser=noise_optimiser,
    )
    info = {"critic/loss": loss, "critic/q_mean": q.mean(), "critic/target_mean": target.mean()}
    return state, (features, info | {"critic/noise_loss": noise_error})


@partial(jax.jit, static_argnames="config")
def update(state: DsrlState, batch: Batch, config: SteeringConfig) -> tuple[DsrlState, dict[str, jax.Array]]:
    """G steps of the critics, one of actor and temperature; ``batch`` has leading axes ``(G, n)``."""
    state, info = learn(cast(state, "float32"), batch, config)
    return store(state.key, state, config.parameter_dtype), info


def learn(state: DsrlState, batch: Batch, config: SteeringConfig) -> tuple[DsrlState, dict[str, jax.Array]]:
    """`update` of a state in float32, not compiled by itself."""
    batch = with_axis(batch)
    keys = jax.random.split(state.key, batch.reward.shape[0] + 2)
    state, (features, rows) = jax.lax.scan(lambda s, kb: value_step(s, *kb, config), state, (keys[2:], batch))
    adam = optax.adam(config.learning_rate)
    (loss, entropy), gradient = value_and_grad(partial(actor_loss, config=config), config.dtype)(
        state.actor, keys[1], state.noise_critic, state.log_alpha, features[-1]
    )
    change, actor_optimiser = adam.update(gradient, state.actor_optimiser)
    slope = jax.grad(alpha_loss)(state.log_alpha, entropy, config.least_gain)
    alpha_change, alpha_optimiser = adam.update(slope, state.alpha_optimiser)
    state = state._replace(
        actor=optax.apply_updates(state.actor, change),
        log_alpha=optax.apply_updates(state.log_alpha, alpha_change),
        actor_optimiser=actor_optimiser,
        alpha_optimiser=alpha_optimiser,
        key=keys[0],
    )
    info = {name: values.mean() for name, values in rows.items()}
    info |= {"actor/loss": loss, "actor/entropy": entropy, "temperature/alpha": jnp.exp(state.log_alpha)}
    # Not finite as soon as one parameter is: a gradient can overflow where its loss does not.
    info |= {"critic/norm": optax.tree.norm(state.values), "actor/norm": optax.tree.norm(state.actor)}
    return state, info


def base_of(config: SteeringConfig) -> Base:
    """The flow with its encoder; the critics begin to see by the same."""

    def replaced(state: DsrlState, base: FlowBase) -> DsrlState:
        values, targets = (kept._replace(encoder=base.encoder) for kept in (state.values, state.target_values))
        return state._replace(base=base, values=values, target_values=targets)

    return frozen.imitated(optax.adam(config.learning_rate), partial(act, config=config, steered=False), replaced)


def published(state: DsrlState) -> Params:
    """The parameters that `act` takes."""
    return join(**state.base.published, actor=state.actor, encoder=state.values.encoder)


def act(
    params: Params,
    carry: Any,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    key: jax.Array,
    deterministic: bool,
    config: SteeringConfig,
    steered: bool = True,
) -> tuple[jax.Array, Any]:
    """A chunk ``(H, a)``; see `robot_rl.learner.agent.Agent.act`.

    Of noise that the actor draws, without exploring of its mean; not ``steered``, the base's own: N(0, I).
    """
    actor = part(params, "actor")
    features = encoder.see(params, state, images)
    mean, log_std = actor_apply(actor, features)
    if not steered:
        noise = jax.random.normal(key, mean.shape)
    elif deterministic:
        noise = config.usual(mean)
    else:
        noise, _ = config.noise(key, mean, log_std)
    base = frozen.found_in(params)
    seen = base.see(state, images)
    return base.chunks(seen, noise, config.flow_steps).reshape(config.horizon, -1), carry


def make_agent(config: DsrlConfig | None = None) -> Agent:
    """DSRL by the contract that all agents share."""
    config = config or DsrlConfig()
    return Agent(
        name="dsrl",
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


AGENT = Algorithm(DsrlConfig, make_agent)
