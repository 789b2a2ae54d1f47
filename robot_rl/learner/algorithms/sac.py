"""SAC: soft actor-critic with a learnt temperature (Haarnoja et al., arXiv 1812.05905).

One call of `update` takes G minibatches: G critic steps, then one actor and one temperature step on the last of them.

    y    = r + γ m (min_i Q̄_i(s', a') − α log π(a'|s')),   a' ~ π(s')
    L_Q  = mean over members and batch of (Q_i(s, a) − y)²
    L_π  = mean of α log π(ã|s) − min_i Q_i(s, ã),   ã ~ π(s)
    L_α  = log α · (H_π − H̄),   H_π = −mean log π,   H̄ = −|A|

m is 0 where the task ended and 1 otherwise. All but L_π is `rlpd` with two critics, both in the target, no LayerNorm
and the entropy in the backup; images are seen as there. The temperature descends in log α, as in the paper's own code:
α stays positive and its steps are relative.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from robot_rl.contract.ranges import Count, Discount, Positive
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent, Algorithm
from robot_rl.learner.algorithms import rlpd
from robot_rl.learner.algorithms.rlpd import RlpdConfig
from robot_rl.learner.certainty import weighed
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.mlp import Activation, Params, actor_apply, critics_apply, tanh_gaussian
from robot_rl.learner.networks.parts import join


@dataclass(frozen=True)
class SacConfig(RlpdConfig):
    """Defaults: the paper's. For the settings see `RlpdConfig`."""

    critics: Count = 2
    subset: Count = 2  # both: the target is their minimum
    layer_norm: bool = False
    discount: Discount = 0.99
    initial_temperature: Positive = 1.0
    entropy_backup: bool = True  # what is learnt is the soft value
    critic_steps: Count = 1  # G: one critic, one actor and one temperature step for each environment step


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
    q = critics_apply(critics, batch.state, action, activation).min(axis=0)
    loss = weighed(jnp.exp(log_alpha) * log_prob - q, jnp.tanh(mean), batch.columns)
    return loss.mean(), -log_prob.mean()


update = partial(rlpd.update, loss_of=actor_loss)


def make_agent(config: SacConfig | None = None) -> Agent:
    """SAC by the contract that all agents share."""
    config = config or SacConfig()
    return Agent(
        name="sac",
        config=config,
        updates_per_call=config.critic_steps,
        actor_share=1.0 / config.critic_steps,
        create=partial(rlpd.create, config=config),
        update=partial(update, config=config),
        actor=lambda state: join(actor=state.actor, encoder=state.encoder),
        act=partial(rlpd.act, config=config),
        see=encoder.seen_by,
        still=partial(rlpd.still, config=config),
        mean=partial(rlpd.mean_action, config=config),
        demo_share=None,  # every step is as likely as any other
    )


AGENT = Algorithm(SacConfig, make_agent)
