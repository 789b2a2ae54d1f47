"""RLPD under a constraint on how much the passivity filter holds back (cf. Zhang et al., arXiv 2503.00287).

The cost c of a step is the share of it, 0–1, during which the filter held back. Beside the reward critics of `rlpd`
learns a second ensemble C, the discounted mean of the cost, and a multiplier λ ≥ 0 weighs the two against each other.
One call of `update` is that of `rlpd`, with

    y_C  = clip((1 − γ_c) c + γ_c m max_i C̄_i(s', a'), 0, 1),   a' ~ π(s')
    L_C  = mean over members and batch of (C_i(s, a) − y_C)²
    L_π  = mean of α log π(ã|s) − (mean_i Q_i(s, ã) − λ mean_i C_i(s, ã)) / (1 + λ),   ã ~ π(s)
    λ   ← clip(λ + η clip((ĉ − d)/d, −1, 1), 0, λ_max),   ĉ = mean cost of the policy's newest steps

- *Units.* The factor 1 − γ_c makes C a mean and not a sum: an arm that is held back during a share x of all time to
  come has C = x, and λ is the reward that being held back all the time is worth. After the end of the task nothing is
  held back: m cuts the cost off as it cuts the reward off, and a time limit cuts neither. The limit d is the mean share
  of a step, over the steps that the policy makes.
- *Pessimism.* The target takes the maximum of the members where the reward's takes a minimum: what is not known counts
  as costly. c ≤ 1 bounds C, and the clip keeps the maximum's upward bias from feeding on itself.
- *Multiplier.* It follows what the policy was seen to cost, not C over the batch: half of that are demonstrations and
  old mistakes, states with an empty tank in which no policy could do better, and on their account λ would rise for ever
  over a policy that costs nothing. The excess is relative and clipped, so that λ falls as fast as it rises: the steps
  before anything is learnt cost many times d. Projected ascent, not a log or softplus parameter: λ can be 0, where this
  is `rlpd` step for step. The actor's loss is divided by 1 + λ, so that its slope does not grow with λ.
- *Images.* The reward critics alone teach the encoder, for the same reason; C sees its features as constants.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from robot_rl.contract import Layout
from robot_rl.contract.ranges import Count, Discount, NonNegative, RangeError, Rate
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent, Algorithm
from robot_rl.learner.algorithms import rlpd
from robot_rl.learner.algorithms.rlpd import RlpdConfig, RlpdState
from robot_rl.learner.certainty import weighed
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.mlp import (
    Activation,
    Params,
    actor_apply,
    critics_apply,
    critics_create,
    tanh_gaussian,
)
from robot_rl.learner.networks.parts import join
from robot_rl.learner.networks.precision import cast, store, value_and_grad


@dataclass(frozen=True)
class LagrangianConfig(RlpdConfig):
    """`RlpdConfig` and what the constraint adds."""

    cost_limit: Rate = 0.02  # d: mean share of a step that may be held back
    cost_critics: Count = 2  # members of the ensemble C
    cost_discount: Discount = 0.9  # γ_c: looks 10 steps (1 s) ahead, in which the budget refills a tank
    initial_multiplier: NonNegative = 0.0  # λ at the start: none until the critics have seen a cost
    multiplier_rate: NonNegative = 0.002  # η: λ moves by at most 1 in 500 calls
    max_multiplier: NonNegative = 10.0  # λ_max: a limit that cannot be met must not wind λ up for ever

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.initial_multiplier > self.max_multiplier:
            raise RangeError(
                f"initial_multiplier={self.initial_multiplier:g} must be at most max_multiplier={self.max_multiplier:g}"
            )


class LagrangianState(NamedTuple):
    """Everything that learns: what RLPD has, and the constraint's side."""

    rlpd: RlpdState
    cost_critics: Params
    target_cost_critics: Params
    cost_optimiser: Any
    multiplier: jax.Array


def create(key: jax.Array, layout: Layout, config: LagrangianConfig) -> LagrangianState:
    """A fresh agent; its RLPD part is the one that `rlpd.create` makes of the same key."""
    sizes = encoder.size(layout), layout.action_size
    cost_critics = critics_create(
        jax.random.fold_in(key, rlpd.BESIDE), *sizes, config.hidden, config.cost_critics, config.layer_norm
    )
    state = LagrangianState(
        rlpd=rlpd.create(key, layout, config),
        cost_critics=cost_critics,
        target_cost_critics=cost_critics,
        cost_optimiser=optax.adam(config.learning_rate).init(cost_critics),
        multiplier=jnp.float32(config.initial_multiplier),
    )
    return store(key, state, config.parameter_dtype)


def cost_target(key: jax.Array, state: LagrangianState, batch: Batch, config: LagrangianConfig) -> jax.Array:
    """y_C ``(n,)``; ``batch.next_state`` is the features."""
    next_action, _ = tanh_gaussian(key, *actor_apply(state.rlpd.actor, batch.next_state, config.activation))
    cost = critics_apply(state.target_cost_critics, batch.next_state, next_action, config.activation).max(axis=0)
    gamma = config.cost_discount
    return jnp.clip((1.0 - gamma) * batch.columns["cost"] + gamma * batch.mask * cost, 0.0, 1.0)


def actor_loss(
    actor: Params, key: jax.Array, state: LagrangianState, batch: Batch, activation: Activation = "relu"
) -> tuple[jax.Array, jax.Array]:
    """L_π, and the policy's entropy estimate H_π; ``batch.state`` is the features."""
    mean, log_std = actor_apply(actor, batch.state, activation)
    action, log_prob = tanh_gaussian(key, mean, log_std)
    q = critics_apply(state.rlpd.critics, batch.state, action, activation).mean(axis=0)
    cost = critics_apply(state.cost_critics, batch.state, action, activation).mean(axis=0)
    value = (q - state.multiplier * cost) / (1.0 + state.multiplier)
    loss = weighed(jnp.exp(state.rlpd.log_alpha) * log_prob - value, jnp.tanh(mean), batch.columns)
    return loss.mean(), -log_prob.mean()


def multiplier_step(multiplier: jax.Array, recent_cost: jax.Array, config: LagrangianConfig) -> jax.Array:
    """λ after one step of projected ascent; it stays as it is while no cost is known."""
    excess = jnp.nan_to_num(jnp.clip((recent_cost - config.cost_limit) / config.cost_limit, -1.0, 1.0))
    return jnp.clip(multiplier + config.multiplier_rate * excess, 0.0, config.max_multiplier)


def critic_step(
    state: LagrangianState, key: jax.Array, batch: Batch, config: LagrangianConfig
) -> tuple[LagrangianState, tuple[Batch, dict[str, jax.Array]]]:
    """One step of both ensembles on one minibatch; the targets follow. Returns what `rlpd.critic_step` does."""
    inner, (batch, info) = rlpd.critic_step(state.rlpd, key, batch, config)
    target = cost_target(jax.random.fold_in(key, rlpd.BESIDE), cast(state, config.dtype), batch, config)
    loss_of = partial(rlpd.critic_loss, activation=config.activation)
    (loss, cost), gradient = value_and_grad(loss_of, config.dtype)(state.cost_critics, target, batch)
    change, optimiser = optax.adam(config.learning_rate).update(gradient, state.cost_optimiser)
    critics = optax.apply_updates(state.cost_critics, change)
    state = LagrangianState(
        rlpd=inner,
        cost_critics=critics,
        target_cost_critics=optax.incremental_update(critics, state.target_cost_critics, config.target_rate),
        cost_optimiser=optimiser,
        multiplier=state.multiplier,
    )
    info = info | {"cost/loss": loss, "cost/c_mean": cost.mean(), "cost/batch_mean": batch.columns["cost"].mean()}
    return state, (batch, info)


@partial(jax.jit, static_argnames="config")
def update(
    state: LagrangianState, batch: Batch, config: LagrangianConfig
) -> tuple[LagrangianState, dict[str, jax.Array]]:
    """G critic steps, one actor and temperature step, one of λ; ``batch`` has leading axes ``(G, n)``."""
    state = cast(state, "float32")
    keys = jax.random.split(state.rlpd.key, batch.reward.shape[0] + 2)
    state, (seen, critic_info) = jax.lax.scan(lambda s, kb: critic_step(s, *kb, config), state, (keys[2:], batch))

    last = jax.tree.map(lambda column: column[-1], seen)
    loss_of = partial(actor_loss, activation=config.activation)
    (loss, entropy), gradient = value_and_grad(loss_of, config.dtype)(state.rlpd.actor, keys[1], state, last)
    inner = rlpd.policy_step(state.rlpd, gradient, entropy, config)._replace(key=keys[0])
    recent_cost = last.columns["recent_cost"]
    state = state._replace(rlpd=inner, multiplier=multiplier_step(state.multiplier, recent_cost, config))
    info = rlpd.summary(inner, critic_info, loss, entropy)
    return store(keys[0], state, config.parameter_dtype), info | {
        "cost/recent": jnp.nan_to_num(recent_cost),
        "cost/multiplier": state.multiplier,
        "cost/norm": optax.tree.norm(state.cost_critics),
    }


def make_agent(config: LagrangianConfig | None = None) -> Agent:
    """Lagrangian RLPD by the contract that all agents share."""
    config = config or LagrangianConfig()
    return Agent(
        name="rlpd_lagrangian",
        config=config,
        updates_per_call=config.critic_steps,
        actor_share=1.0 / config.critic_steps,
        create=partial(create, config=config),
        update=partial(update, config=config),
        actor=lambda state: join(actor=state.rlpd.actor, encoder=state.rlpd.encoder),
        act=partial(rlpd.act, config=config),
        see=lambda state, found: state._replace(rlpd=encoder.seen_by(state.rlpd, found)),
        columns=("cost", "recent_cost"),
        mean=lambda state, batch: rlpd.mean_action(state.rlpd, batch, config),
    )


AGENT = Algorithm(LagrangianConfig, make_agent)
