"""An agent of one's own: TD3, twin delayed deep deterministic policy gradient (Fujimoto et al., arXiv 1802.09477).

    robot-rl gym --env Pendulum-v1 --agent examples.own_agent:AGENT --steps 10000 --json td3.jsonl learner.utd=2
    robot-rl record --fast --task reach --run runs/td3 demos=10
    robot-rl train --fast --run runs/td3 steps=1200 learner.agent=examples.own_agent:AGENT learner.settings.noise=0.2

One call of `update` takes G minibatches: G critic steps, then one actor step on the last of them.

    y    = r + γ m min_i Q̄_i(s', clip(π̄(s') + ε)),   ε ~ clip(N(0, σ̃), ±2.5 σ̃)
    L_Q  = mean over both members and the batch of (Q_i(s, a) − y)²
    L_π  = −mean of Q_1(s, π(s))

It learns from states alone; `robot_rl.learner.algorithms.rlpd` takes images, too. The contract is
`robot_rl.learner.agent`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from robot_rl.contract import Layout
from robot_rl.contract.ranges import Count, Discount, Positive, Rate, Widths, check
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent, Algorithm
from robot_rl.learner.networks.mlp import Params, critics_apply, critics_create, ensemble_apply, ensemble_create


@dataclass(frozen=True)
class Td3Config:
    """Defaults: the paper's."""

    hidden: Widths = (256, 256)
    discount: Discount = 0.99  # γ
    learning_rate: Positive = 3e-4
    target_rate: Rate = 0.005  # by which the targets follow
    noise: Positive = 0.1  # of exploration
    target_noise: Positive = 0.2  # σ̃
    critic_steps: Count = 2  # G, critic steps per actor step

    def __post_init__(self) -> None:
        check(self)


class Td3State(NamedTuple):
    """Everything that learns; ``networks`` and the ``targets`` that follow them hold ``actor`` and ``critics``."""

    networks: dict[str, Params]
    targets: dict[str, Params]
    actor_optimiser: Any
    critic_optimiser: Any
    key: jax.Array


def create(key: jax.Array, layout: Layout, config: Td3Config) -> Td3State:
    """A fresh agent. Raises ValueError for a layout with images."""
    if layout.images:
        raise ValueError(f"this agent learns from states alone; leave out the cameras {sorted(layout.images)}")
    d, a = layout.state_size, layout.action_size
    actor_key, critic_key, key = jax.random.split(key, 3)
    actor = ensemble_create(actor_key, (d, *config.hidden, a), members=1, layer_norm=False)
    critics = critics_create(critic_key, d, a, config.hidden, members=2, layer_norm=False)
    networks, adam = {"actor": actor, "critics": critics}, optax.adam(config.learning_rate)
    return Td3State(networks, networks, adam.init(actor), adam.init(critics), key)


def decide(actor: Params, state: jax.Array) -> jax.Array:
    """π(s) ``(n, a)``."""
    return jnp.tanh(ensemble_apply(actor, state)[0])


def critic_step(state: Td3State, key: jax.Array, batch: Batch, config: Td3Config) -> tuple[Td3State, dict[str, Any]]:
    """One step of the critics; all targets follow."""
    spread = config.target_noise * jnp.clip(jax.random.normal(key, batch.action.shape), -2.5, 2.5)
    action = jnp.clip(decide(state.targets["actor"], batch.next_state) + spread, -1.0, 1.0)
    value = critics_apply(state.targets["critics"], batch.next_state, action).min(axis=0)
    target = batch.reward + config.discount * batch.mask * value

    def loss_of(critics: Params) -> tuple[jax.Array, jax.Array]:
        q = critics_apply(critics, batch.state, batch.action)
        return ((q - target) ** 2).mean(), q.mean()

    (loss, q), slope = jax.value_and_grad(loss_of, has_aux=True)(state.networks["critics"])
    change, optimiser = optax.adam(config.learning_rate).update(slope, state.critic_optimiser)
    networks = state.networks | {"critics": optax.apply_updates(state.networks["critics"], change)}
    targets = optax.incremental_update(networks, state.targets, config.target_rate)
    state = state._replace(networks=networks, targets=targets, critic_optimiser=optimiser)
    return state, {"critic/loss": loss, "critic/q_mean": q, "critic/target_mean": target.mean()}


@partial(jax.jit, static_argnames="config")
def update(state: Td3State, batch: Batch, config: Td3Config) -> tuple[Td3State, dict[str, jax.Array]]:
    """G critic steps and one actor step; ``batch`` has leading axes ``(G, n)``."""
    key, *keys = jax.random.split(state.key, 1 + batch.reward.shape[0])
    state, info = jax.lax.scan(lambda s, kb: critic_step(s, *kb, config), state, (jnp.stack(keys), batch))
    actor, critics, seen = state.networks["actor"], state.networks["critics"], batch.state[-1]
    loss, slope = jax.value_and_grad(lambda p: -critics_apply(critics, seen, decide(p, seen))[0].mean())(actor)
    change, optimiser = optax.adam(config.learning_rate).update(slope, state.actor_optimiser)
    networks = {"actor": optax.apply_updates(actor, change), "critics": critics}
    info = {name: values.mean() for name, values in info.items()} | {"actor/loss": loss}
    return state._replace(networks=networks, actor_optimiser=optimiser, key=key), info


def act(params: Params, carry: Any, state: Any, images: Any, key: jax.Array, deterministic: bool, noise: float) -> Any:
    """One action as a chunk ``(1, a)``, π(s), with ``noise`` while it explores; see `Agent.act`."""
    action = decide(params, state[None])
    spread = 0.0 if deterministic else noise * jax.random.normal(key, action.shape)
    return jnp.clip(action + spread, -1.0, 1.0), carry


def make_agent(config: Td3Config) -> Agent:
    """TD3 by the contract that all agents share."""
    return Agent(
        name="td3",
        config=config,
        updates_per_call=config.critic_steps,
        create=partial(create, config=config),
        update=partial(update, config=config),
        actor=lambda state: state.networks["actor"],
        act=partial(act, noise=config.noise),
    )


AGENT = Algorithm(Td3Config, make_agent)
