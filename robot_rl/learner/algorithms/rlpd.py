"""RLPD: soft actor-critic with a critic ensemble, LayerNorm and symmetric sampling (Ball et al., arXiv 2302.02948).

One call of `update` takes G minibatches: G critic steps, then one actor and one temperature step on the last of them.

    y    = r + γ m min_{i∈S} Q̄_i(s', a')  [− γ m α log π(a'|s') with entropy backup],   a' ~ π(s')
    L_Q  = mean over members and batch of (Q_i(s, a) − y)²
    L_π  = mean of α log π(ã|s) − mean_i Q_i(s, ã),   ã ~ π(s)
    L_α  = log α · (H_π − H̄),   H_π = −mean log π

S: ``subset`` members drawn without replacement, once per minibatch; only they are evaluated. m is 0 where the task
ended and 1 otherwise, so time limits are bootstrapped.

With cameras s is f_θ(s, images), the state and what the encoder f finds in the images (`encoder`). θ is learnt with the
critics, by L_Q alone: L_π sees its features as constants, those of the last critic step. s' is f_θ̄(s', images'), by the
encoder that the targets follow, for Q̄ and π alike: one pass over the next images where SERL makes two. Every minibatch
is shifted first, images and next images independently.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax

from robot_rl.contract import Layout
from robot_rl.contract.ranges import Count, Discount, Finite, Positive, RangeError, Rate, Widths
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent, Algorithm
from robot_rl.learner.certainty import weighed
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.mlp import (
    Activation,
    Params,
    action_size_of,
    actor_apply,
    actor_create,
    critics_apply,
    critics_create,
    last_layer,
    tanh_gaussian,
)
from robot_rl.learner.networks.parts import join, part
from robot_rl.learner.networks.precision import cast, store, value_and_grad
from robot_rl.learner.warm import WarmConfig

State = TypeVar("State", bound=Any)  # of an agent whose critics are RLPD's
BESIDE = 1 << 30  # sets the draws of what an agent has beside RLPD apart from RLPD's own of the same key


@dataclass(frozen=True)
class RlpdConfig(WarmConfig):
    """Defaults: the paper's, with HIL-SERL's discount and ratio."""

    hidden: Widths = (256, 256)  # width of the hidden layers, actor and critics
    critics: Count = 10  # E, members of the ensemble
    subset: Count = 2  # |S|, members the target is the minimum of
    activation: Activation = "relu"  # of the hidden layers, actor and critics
    layer_norm: bool = True  # in the critics: keeps them from extrapolating beyond the data
    actor_layer_norm: bool = False  # in the actor
    discount: Discount = 0.97  # γ: a reward 33 steps (3.3 s) away counts for 1/e
    learning_rate: Positive = 3e-4  # of actor, critics and temperature (Adam)
    target_rate: Rate = 0.005  # τ: how fast the target critics follow
    initial_temperature: Positive = 0.01  # α at the start: of the order of one step's difference in value (SERL)
    target_entropy: Finite | None = None  # H̄; None: −|A|, SAC's. With RLPD's −|A|/2 the noise shakes the arm out of
    # static friction while it learns, and the deterministic policy, which was never stuck before, gets stuck
    entropy_backup: bool = False  # no: a sparse reward must not be drowned by entropy
    critic_steps: Count = 4  # G, critic steps per actor step

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.subset > self.critics:
            raise RangeError(f"subset={self.subset} must be at most critics={self.critics}")


class RlpdState(NamedTuple):
    """Everything that learns; without cameras the encoders are empty."""

    actor: Params
    encoder: Params
    critics: Params
    target_encoder: Params
    target_critics: Params
    log_alpha: jax.Array
    actor_optimiser: Any
    critic_optimiser: Any  # of encoder and critics
    alpha_optimiser: Any
    key: jax.Array


def create(key: jax.Array, layout: Layout, config: RlpdConfig) -> RlpdState:
    """A fresh agent."""
    actor_key, critic_key, key, encoder_key = jax.random.split(key, 4)
    sizes = encoder.size(layout), layout.action_size
    encoder_params = encoder.create(encoder_key, layout)
    actor = actor_create(actor_key, *sizes, config.hidden, config.actor_layer_norm)
    critics = critics_create(critic_key, *sizes, config.hidden, config.critics, config.layer_norm)
    log_alpha = jnp.log(jnp.float32(config.initial_temperature))
    adam = optax.adam(config.learning_rate)
    state = RlpdState(
        actor=actor,
        encoder=encoder_params,
        critics=critics,
        target_encoder=encoder_params,
        target_critics=critics,
        log_alpha=log_alpha,
        actor_optimiser=adam.init(actor),
        critic_optimiser=adam.init((encoder_params, critics)),
        alpha_optimiser=adam.init(log_alpha),
        key=key,
    )
    return store(key, state, config.parameter_dtype)


def still(state: RlpdState, config: RlpdConfig) -> RlpdState:
    """The agent, whose policy is N(0, σ²) before the tanh, in every state, until it learns otherwise.

    Its actions are as random as the temperature aims at: ½ ln(2πe σ²) = H̄/|A|.
    """
    last, size = last_layer(state.actor), action_size_of(state.actor)
    entropy = -1.0 if config.target_entropy is None else config.target_entropy / size
    log_std = entropy - 0.5 * math.log(2.0 * math.pi * math.e)
    weight, bias = (state.actor[f"{name}{last}"] for name in "wb")
    begun = jnp.zeros_like(bias).at[size:].set(log_std)
    return state._replace(actor=state.actor | {f"w{last}": jnp.zeros_like(weight), f"b{last}": begun})


def critic_target(key: jax.Array, state: RlpdState, batch: Batch, config: RlpdConfig) -> jax.Array:
    """y ``(n,)``; ``batch.next_state`` is the features."""
    subset_key, action_key = jax.random.split(key)
    next_action, log_prob = tanh_gaussian(action_key, *actor_apply(state.actor, batch.next_state, config.activation))
    chosen = draw_subset(subset_key, config.critics, config.subset)
    subset = jax.tree.map(lambda p: p[chosen], state.target_critics)
    value = critics_apply(subset, batch.next_state, next_action, config.activation).min(axis=0)
    if config.entropy_backup:
        value = value - jnp.exp(state.log_alpha) * log_prob
    target: jax.Array = batch.reward + config.discount * batch.mask * value
    return target


def draw_subset(key: jax.Array, members: int, size: int) -> jax.Array:
    """``(size,)`` different members of the ensemble."""
    return jax.random.permutation(key, members)[:size]


def critic_loss(
    critics: Params, target: jax.Array, batch: Batch, activation: Activation = "relu"
) -> tuple[jax.Array, jax.Array]:
    """L_Q over all members, and Q ``(members, n)``; ``batch.state`` is the features."""
    q = critics_apply(critics, batch.state, batch.action, activation)
    return ((q - target) ** 2).mean(), q


def actor_loss(
    actor: Params,
    key: jax.Array,
    critics: Params,
    log_alpha: jax.Array,
    batch: Batch,
    activation: Activation = "relu",
) -> tuple[jax.Array, jax.Array]:
    """L_π, and the policy's entropy estimate H_π; ``batch.state`` is the features."""
    mean, log_std = actor_apply(actor, batch.state, activation)
    action, log_prob = tanh_gaussian(key, mean, log_std)
    q = critics_apply(critics, batch.state, action, activation).mean(axis=0)
    loss = weighed(jnp.exp(log_alpha) * log_prob - q, jnp.tanh(mean), batch.columns)
    return loss.mean(), -log_prob.mean()


def alpha_loss(log_alpha: jax.Array, entropy: jax.Array, target_entropy: float) -> jax.Array:
    """L_α: raises α while the entropy is below its target."""
    return log_alpha * jax.lax.stop_gradient(entropy - target_entropy)


def critic_step(
    state: State, key: jax.Array, batch: Batch, config: Any, target_of: Callable[..., jax.Array] = critic_target
) -> tuple[State, tuple[Batch, dict[str, jax.Array]]]:
    """One step of encoder and critics on one minibatch towards ``target_of``'s; the targets follow.

    ``state`` is an `RlpdState`, or has the same fields for encoder and critics; so has ``config``. Returns also the
    minibatch as the networks saw it: features in place of states and images.
    """
    batch = encoder.augment(jax.random.fold_in(key, 2), batch)
    seen = cast(state, config.dtype)
    batch = batch._replace(next_state=encoder.features(seen.target_encoder, batch.next_state, batch.next_images))
    target = target_of(key, seen, batch, config)

    def loss_of(learnt: tuple[Params, Params]) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        encoder_params, critics = learnt
        features = encoder.features(encoder_params, batch.state, batch.images)
        loss, q = critic_loss(critics, target, batch._replace(state=features), config.activation)
        return loss, (q, features)

    learnt = state.encoder, state.critics
    (loss, (q, features)), gradient = value_and_grad(loss_of, config.dtype)(learnt)
    change, optimiser = optax.adam(config.learning_rate).update(gradient, state.critic_optimiser)
    encoder_params, critics = optax.apply_updates(learnt, change)
    state = state._replace(
        encoder=encoder_params,
        critics=critics,
        target_encoder=optax.incremental_update(encoder_params, state.target_encoder, config.target_rate),
        target_critics=optax.incremental_update(critics, state.target_critics, config.target_rate),
        critic_optimiser=optimiser,
    )
    info = {"critic/loss": loss, "critic/q_mean": q.mean(), "critic/target_mean": target.mean()}
    return state, (batch._replace(state=features, images=None, next_images=None), info)


def policy_step(state: RlpdState, gradient: Params, entropy: jax.Array, config: RlpdConfig) -> RlpdState:
    """One step of the actor along ``gradient``, and one of the temperature towards the entropy aimed at."""
    adam = optax.adam(config.learning_rate)
    change, actor_optimiser = adam.update(gradient, state.actor_optimiser)
    actor = optax.apply_updates(state.actor, change)

    goal = -1.0 * action_size_of(actor) if config.target_entropy is None else config.target_entropy
    slope = jax.grad(alpha_loss)(state.log_alpha, entropy, goal)
    change, alpha_optimiser = adam.update(slope, state.alpha_optimiser)
    log_alpha = optax.apply_updates(state.log_alpha, change)
    return state._replace(
        actor=actor, log_alpha=log_alpha, actor_optimiser=actor_optimiser, alpha_optimiser=alpha_optimiser
    )


@partial(jax.jit, static_argnames=("config", "loss_of"))
def update(
    state: RlpdState, batch: Batch, config: RlpdConfig, loss_of: Callable[..., Any] = actor_loss
) -> tuple[RlpdState, dict[str, jax.Array]]:
    """G critic steps and one step of the actor along ``loss_of``'s gradient, one of the temperature.

    ``batch`` has leading axes ``(G, n)``.
    """
    state = cast(state, "float32")
    keys = jax.random.split(state.key, batch.reward.shape[0] + 2)
    state, (seen, critic_info) = jax.lax.scan(lambda s, kb: critic_step(s, *kb, config), state, (keys[2:], batch))

    last = jax.tree.map(lambda column: column[-1], seen)
    (loss, entropy), gradient = value_and_grad(partial(loss_of, activation=config.activation), config.dtype)(
        state.actor, keys[1], state.critics, state.log_alpha, last
    )
    state = policy_step(state, gradient, entropy, config)._replace(key=keys[0])
    return store(keys[0], state, config.parameter_dtype), summary(state, critic_info, loss, entropy)


def summary(
    state: RlpdState, critic_info: Mapping[str, jax.Array], loss: jax.Array, entropy: jax.Array
) -> dict[str, jax.Array]:
    """Metrics of an update; ``critic_info`` has a row for each critic step."""
    info = {name: values.mean() for name, values in critic_info.items()}
    info |= {"actor/loss": loss, "actor/entropy": entropy, "temperature/alpha": jnp.exp(state.log_alpha)}
    # Not finite as soon as one parameter is: a gradient can overflow where its loss does not.
    info |= {"critic/norm": optax.tree.norm(state.critics), "actor/norm": optax.tree.norm(state.actor)}
    return info | ({"encoder/norm": optax.tree.norm(state.encoder)} if state.encoder else {})


@partial(jax.jit, static_argnames=("deterministic", "activation"))
def sample(
    actor: Params, state: jax.Array, key: jax.Array, deterministic: bool = False, activation: Activation = "relu"
) -> jax.Array:
    """Action ``(…, a)`` in [−1, 1] for features ``state (…, f)``: ``tanh μ``, or a draw."""
    mean, log_std = actor_apply(actor, state, activation)
    return jnp.tanh(mean) if deterministic else tanh_gaussian(key, mean, log_std)[0]


def mean_action(state: RlpdState, batch: Batch, config: RlpdConfig) -> jax.Array:
    """tanh μ ``(n, a)``; see `robot_rl.learner.agent.Agent.mean`."""
    features = encoder.features(state.encoder, batch.state, batch.images)
    return jnp.tanh(actor_apply(state.actor, features, config.activation)[0])


def act(
    params: Params,
    carry: Any,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    key: jax.Array,
    deterministic: bool,
    config: RlpdConfig,
) -> tuple[jax.Array, Any]:
    """One action as a chunk ``(1, a)``; see `robot_rl.learner.agent.Agent.act`."""
    features = encoder.see(params, state, images)
    return sample(part(params, "actor"), features, key, deterministic, config.activation), carry


def make_agent(config: RlpdConfig | None = None) -> Agent:
    """RLPD by the contract that all agents share."""
    config = config or RlpdConfig()
    return Agent(
        name="rlpd",
        config=config,
        updates_per_call=config.critic_steps,
        actor_share=1.0 / config.critic_steps,
        create=partial(create, config=config),
        update=partial(update, config=config),
        actor=lambda state: join(actor=state.actor, encoder=state.encoder),
        act=partial(act, config=config),
        see=encoder.seen_by,
        still=partial(still, config=config),
        mean=partial(mean_action, config=config),
    )


AGENT = Algorithm(RlpdConfig, make_agent)
