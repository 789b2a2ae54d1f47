"""HIL-SERL: RLPD for the arm and a discrete critic for the gripper (Luo et al., arXiv 2410.21845).

The last axis of an action takes one of n values (`Layout.options`). The other axes, u, are learnt as in `rlpd`, whose
critics see Q(s, u); the option o is chosen by a critic of its own, G(s, ·), which sees the features alone and gives a
value for each option. One call of `update` is that of `rlpd` over u, with, at each of its critic steps,

    y_G  = r − p [o ≠ o₋] + γ m Ḡ(s', argmax_o' G(s', o'))
    L_G  = mean of (G(s, o) − y_G)²

where o₋ is the option of the step before (for the first step of an episode, and of a correction among the
demonstrations, its own): p keeps the gripper from toggling, and the arm's critics do not see it. The learning critic
chooses and its slow copy values what it chose (double DQN), which keeps the maximum's upward bias from feeding on
itself. A layout without options has no G, and what is left is `rlpd` with other defaults.

The networks are HIL-SERL's: Dense → LayerNorm → tanh in actor, critics and grasp critic. So are the two critics, both
in the target, γ, the rates, minibatches of 256, half of them demonstrations and corrections, and two critic steps for
one of the actor. Its learner runs freely beside the arm; here steps earn updates, ``learner.utd`` critic steps each.
``learner.utd=8 learner.settings.critic_steps=2`` makes four such calls a step.

*Evaluation.* Published success is that of the policy which explores: the arm's part is sampled, the gripper's greedy.
Here an evaluation acts without noise, tanh μ and the best option, as it does for every Gaussian policy. `robot-rl gym
--eval-acting` gives the other rate as well, with ``grasp_temperature=0`` as published.

Differences from HIL-SERL:

- *Options.* There, commands are increments: open, close, hold. Here a command says where the gripper shall be, −1
  closed to +1 open, and to repeat the last one is to hold, so a gripper has two options.
- *Exploration.* There, the gripper always does what G likes best and the person corrects it. So that it learns without
  one as well, an exploring policy draws the option, P(o) ∝ exp(G(s, o)/T). T is of the order of what a lost step costs,
  1 − γ: options that are worth the same get tried, and one that drops what is held, which costs ten steps, does not; a
  fixed chance ε of a random option would drop it. T = 0 is HIL-SERL's. This was reasoned, not measured.
- *Images.* There, a pretrained ResNet-10 is the encoder, and G has one of its own. Here it is `encoder`'s, and G sees
  the features of the arm's critics, which alone teach it, as constants.
- *Arm.* The entropy aimed at, −|A|, is `rlpd`'s; there it is −|A|/2. The last layers start near 0, as all here do.
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
from robot_rl.contract.ranges import Count, NonNegative
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent, Algorithm
from robot_rl.learner.algorithms import rlpd
from robot_rl.learner.algorithms.rlpd import RlpdConfig, RlpdState
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.mlp import Activation, Params, ensemble_apply, ensemble_create
from robot_rl.learner.networks.parts import join, part
from robot_rl.learner.networks.precision import cast, store, value_and_grad


@dataclass(frozen=True)
class HilConfig(RlpdConfig):
    """`RlpdConfig` with HIL-SERL's networks, ensemble and ratio, and what the gripper adds."""

    activation: Activation = "tanh"
    actor_layer_norm: bool = True
    critics: Count = 2  # E
    critic_steps: Count = 2  # critic steps per actor step
    toggle_penalty: NonNegative = 0.02  # p, in units of the reward
    grasp_temperature: NonNegative = 0.01  # T of the exploration, P(o) ∝ exp(G(s, o)/T); 0: greedy


class HilState(NamedTuple):
    """Everything that learns: the arm's part, and the grasp critic's, empty for a layout without options."""

    arm: RlpdState
    grasp: Params
    target_grasp: Params
    grasp_optimiser: Any


def create(key: jax.Array, layout: Layout, config: HilConfig) -> HilState:
    """A fresh agent. Raises ValueError for a layout of options that leaves nothing to choose or nothing to the arm."""
    grasp: Params = {}
    axes = layout.action_size
    if layout.options:
        if layout.options < 2 or axes < 2:
            raise ValueError(
                f"hil needs two options or more on the last axis and one axis of the arm beside it; this layout has "
                f"{layout.options} options and {axes} axes"
            )
        axes -= 1
        sizes = (encoder.size(layout), *config.hidden, layout.options)
        grasp = ensemble_create(jax.random.fold_in(key, rlpd.BESIDE), sizes, 1, config.layer_norm)
    state = HilState(
        arm=rlpd.create(key, Layout(layout.state_size, axes, layout.images), config),
        grasp=grasp,
        target_grasp=grasp,
        grasp_optimiser=optax.adam(config.learning_rate).init(grasp),
    )
    return store(key, state, config.parameter_dtype)


def grasp_values(grasp: Params, features: jax.Array, config: HilConfig) -> jax.Array:
    """G ``(n, options)`` for ``features (n, f)``."""
    return ensemble_apply(grasp, features, config.activation)[0]


def option_of(value: jax.Array, options: int) -> jax.Array:
    """The option (int) whose value, of ``options`` ones evenly spaced from −1 to 1, is nearest to ``value``."""
    return jnp.clip(jnp.rint(0.5 * (value + 1.0) * (options - 1)), 0, options - 1).astype(jnp.int32)


def grasp_target(state: HilState, batch: Batch, config: HilConfig) -> jax.Array:
    """y_G ``(n,)``; ``batch.next_state`` is the features, ``batch.action`` has all axes."""
    ahead = grasp_values(state.grasp, batch.next_state, config)
    value = grasp_values(state.target_grasp, batch.next_state, config)
    value = jnp.take_along_axis(value, ahead.argmax(axis=-1)[:, None], axis=-1)[:, 0]
    option, before = (option_of(a[:, -1], ahead.shape[-1]) for a in (batch.action, batch.columns["previous_action"]))
    reward = batch.reward - config.toggle_penalty * (option != before)
    target: jax.Array = reward + config.discount * batch.mask * value
    return target


def grasp_loss(grasp: Params, target: jax.Array, batch: Batch, config: HilConfig) -> tuple[jax.Array, jax.Array]:
    """L_G, and G ``(n,)`` of the options chosen; ``batch.state`` is the features."""
    values = grasp_values(grasp, batch.state, config)
    option = option_of(batch.action[:, -1], values.shape[-1])
    g = jnp.take_along_axis(values, option[:, None], axis=-1)[:, 0]
    return ((g - target) ** 2).mean(), g


def critic_step(
    state: HilState, key: jax.Array, batch: Batch, config: HilConfig
) -> tuple[HilState, tuple[Batch, dict[str, jax.Array]]]:
    """One step of all critics on one minibatch; the targets follow. Returns what `rlpd.critic_step` does."""
    of_arm = batch._replace(action=batch.action[:, :-1]) if state.grasp else batch
    arm, (seen, info) = rlpd.critic_step(state.arm, key, of_arm, config)
    if not state.grasp:
        return state._replace(arm=arm), (seen, info)

    whole = seen._replace(action=batch.action)
    target = grasp_target(cast(state, config.dtype), whole, config)
    (loss, g), gradient = value_and_grad(partial(grasp_loss, config=config), config.dtype)(state.grasp, target, whole)
    change, optimiser = optax.adam(config.learning_rate).update(gradient, state.grasp_optimiser)
    grasp = optax.apply_updates(state.grasp, change)
    state = HilState(
        arm=arm,
        grasp=grasp,
        target_grasp=optax.incremental_update(grasp, state.target_grasp, config.target_rate),
        grasp_optimiser=optimiser,
    )
    return state, (seen, info | {"grasp/loss": loss, "grasp/q_mean": g.mean(), "grasp/target_mean": target.mean()})


@partial(jax.jit, static_argnames="config")
def update(state: HilState, batch: Batch, config: HilConfig) -> tuple[HilState, dict[str, jax.Array]]:
    """G critic steps, one actor and temperature step; ``batch`` has leading axes ``(G, n)``."""
    state = cast(state, "float32")
    keys = jax.random.split(state.arm.key, batch.reward.shape[0] + 2)
    state, (seen, critic_info) = jax.lax.scan(lambda s, kb: critic_step(s, *kb, config), state, (keys[2:], batch))

    arm, last = state.arm, jax.tree.map(lambda column: column[-1], seen)
    loss_of = partial(rlpd.actor_loss, activation=config.activation)
    (loss, entropy), gradient = value_and_grad(loss_of, config.dtype)(
        arm.actor, keys[1], arm.critics, arm.log_alpha, last
    )
    arm = rlpd.policy_step(arm, gradient, entropy, config)._replace(key=keys[0])
    info = rlpd.summary(arm, critic_info, loss, entropy)
    if state.grasp:
        info["grasp/norm"] = optax.tree.norm(state.grasp)
    return store(keys[0], state._replace(arm=arm), config.parameter_dtype), info


def act(
    params: Params,
    carry: Any,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    key: jax.Array,
    deterministic: bool,
    config: HilConfig,
) -> tuple[jax.Array, Any]:
    """One action as a chunk ``(1, a)``; see `robot_rl.learner.agent.Agent.act`.

    The last axis is the option that G likes best, or, exploring, a draw that prefers it.
    """
    arm_key, option_key = jax.random.split(key)
    features = encoder.see(params, state, images)
    action = rlpd.sample(part(params, "arm"), features, arm_key, deterministic, config.activation)
    grasp = part(params, "grasp")
    if not grasp:
        return action, carry
    values = grasp_values(grasp, features, config)
    if config.grasp_temperature and not deterministic:  # the largest of G/T and Gumbel noise is such a draw
        values = values / config.grasp_temperature + jax.random.gumbel(option_key, values.shape)
    axis = 2.0 * values.argmax(axis=-1, keepdims=True) / (values.shape[-1] - 1) - 1.0
    return jnp.concatenate((action, axis), axis=-1), carry


def make_agent(config: HilConfig | None = None) -> Agent:
    """HIL-SERL by the contract that all agents share."""
    config = config or HilConfig()
    return Agent(
        name="hil",
        config=config,
        updates_per_call=config.critic_steps,
        actor_share=1.0 / config.critic_steps,
        create=partial(create, config=config),
        update=partial(update, config=config),
        actor=lambda state: join(arm=state.arm.actor, grasp=state.grasp, encoder=state.arm.encoder),
        act=partial(act, config=config),
        see=lambda state, found: state._replace(arm=encoder.seen_by(state.arm, found)),
        still=lambda state: state._replace(arm=rlpd.still(state.arm, config)),
        chooses_options=True,
        columns=("previous_action",),
        mean=lambda state, batch: rlpd.mean_action(state.arm, batch, config),
    )


AGENT = Algorithm(HilConfig, make_agent)
