"""FlashSAC: SAC with norm-bounded networks and a distributional critic (arXiv 2604.04539); see `flash_networks`.

Each critic gives a distribution p over the bins z, 101 values evenly spaced on [−V, V]; Q = Σ p z. A critic step:

    reward   r̃ = r / max(√Var(G), max|G| / V),   G the running discounted return of all data (`data.returns`)
    target   p̄ of the critic i* = argmin_i Q̄_i(s', a'), each bin moved to clip(r̃ + γ m (z [− α log π(a'|s')]), −V, V)
             and its mass split linearly between the two bins beside it;   a' ~ π(s'), π in evaluation mode;
             [with entropy backup]
    L_Q      = mean over both critics and batch of −Σ target log p_i(s, a)

With batch norms in them, online and target critics see (s, a) and (s', a') as one batch in training mode, so that the
norms know both; of the online ones only the first half is in the loss. Before every second critic step, with the same
batch:

    L_π  = mean of α log π(ã|s) − min_i Q_i(s, ã),   ã ~ π(s);   π in training mode over s and s', Q in evaluation mode
    L_α  = α (H_π − H̄),   H̄ = ½ |A| ln(2πe σ̄²): the entropy of a Gaussian with standard deviation σ̄

After every step of an optimiser, and for the target critics after they follow, norms are bounded again. Where this
departs from the published algorithm, beside the numbers that `published` restores:

- No entropy backup by default, as in `rlpd`: a sparse reward must not be drowned by entropy.
- Critics have layer norms by default (``critic_norm``), not batch norms: one and the same function wherever it is
  asked. Inputs that vary by less than 1 are not scaled up: most of those of a robot that hardly vary are noise. On
  peg_insertion, seed 0, 98 % of 50 episodes succeed after 1200 steps; 84 % where inputs are scaled up by as much as
  three, 5 % of 20 (after 600 steps) where each is brought to variance 1, 0 % of 10 with batch norms.
- The last features of critics have the norm 16, what √d is for the published d = 256, at every width d: logits lie
  within that of their bias. With √d the distributions of a narrow critic are too flat for its values to follow a peak:
  on the test's bandit of width 16 it lies at 0.37 ± 0.08 in place of 0.5, fitted by L_Q alone and no matter which
  norms or batches it has; at 0.49 ± 0.03 with 16, as without any bound.
- Without noise acts a running average of the actor over about the last tenth of its steps (weights ∝ k⁹ of step k). The
  newest goes up and down: in one run of peg_search it succeeds in 0.30 of 50 starts after 4500 steps and in 0.64 after
  5000; its average over the last 500 in 0.78 and 0.78. Exploring is left to the newest, for what comes of its errors
  corrects the critics: exploring by the average, peg_insertion came to 0.88 and 0.92 after 1200 steps (seeds 0 and 1).
- The running moments of the batch norms start as plain averages, rate max(0.01, 1/k), and not from 0 and 1: a robot
  acts by the policy in evaluation mode after a hundred steps, when the published ones still remember their start.
- Where a clone is edited (`learner.warm`), the policy's outputs are multiplied by an s that begins at 0 and is learnt,
  and its noise begins at σ̄ (`still`). Weights of norm 1 cannot be near 0: without it, edits begin at random, at about
  half of their bound. And L_π has λ 2^(−n/N) ‖ã‖² more there, after n critic steps: critics that have seen little must
  not lead far from the clone, and those that have seen more shall.
- A return counts from its first reward to its last; the published code drops the sum before it adds the last reward.
- Images: the encoder learns by L_Q through s alone; at s' it lends the batch norms its features, without gradient. The
  averaged actor sees by the newest encoder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Ge, Le

from robot_rl.contract import Layout
from robot_rl.contract.ranges import LARGEST, Count, Discount, NonNegative, Positive, Rate, Share
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent, Algorithm
from robot_rl.learner.certainty import weighed
from robot_rl.learner.networks import encoder, flash
from robot_rl.learner.networks.mlp import Params, tanh_gaussian
from robot_rl.learner.networks.noise import REPEATS, HeldNoise, hold, no_noise
from robot_rl.learner.networks.parts import join, part
from robot_rl.learner.networks.precision import cast, store, value_and_grad
from robot_rl.learner.warm import WarmConfig

SMALLEST_SCALE = 1e-8  # of rewards: as long as all of them are 0


@dataclass(frozen=True)
class FlashConfig(WarmConfig):
    """Defaults for robots: sparse rewards, some demonstrations, few steps, a small computer. See `published` too."""

    actor_width: Count = 64  # d of the actor; inside a block it is four times as wide
    critic_width: Count = 64  # d of each critic
    blocks: Count = 2  # of actor and critics
    critic_norm: flash.Norm = "layer"  # or batch, as published: see above
    bins: Annotated[int, Ge(2), Le(LARGEST)] = 101  # values that a critic distributes over
    support: Positive = 5.0  # V: they span [−V, V], in units of scaled reward
    discount: Discount = 0.97  # γ
    learning_rate: Positive = 1e-3  # of all optimisers (Adam) at the start …
    final_learning_rate: Positive = 5e-4  # … and, by half a cosine, after so many steps of each
    decay_steps: Count = 1_000_000
    target_rate: Rate = 0.01  # τ: how fast the target critics follow
    moment_rate: Rate = 0.01  # how fast the running moments of the batch norms follow
    average_share: Share = 0.1  # of the actor's steps, the latest: those that the average covers
    actor_every: Count = 2  # critic steps for each step of actor and temperature
    initial_temperature: Positive = 0.01  # α at the start
    edit_cost: NonNegative = 0.5  # λ in the beginning, where a clone is edited …
    edit_halving: Count = 1000  # … and after how many critic steps it is half as much, again and again
    target_std: Positive = 0.09  # σ̄: the exploration that the temperature aims at; about SAC's −|A|
    entropy_backup: bool = False  # whether the target counts −α log π as reward: it can drown a sparse one
    scale_rewards: bool = True  # without, |returns| must be below V by themselves
    noise_repeats: Count = REPEATS  # longest time that exploration noise is held [steps]
    critic_steps: Count = 4  # G, critic steps in one call

    @property
    def centres(self) -> jax.Array:
        """z ``(bins,)``."""
        return jnp.linspace(-self.support, self.support, self.bins)

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """Adam, its rate falling."""
        fall = self.final_learning_rate / self.learning_rate
        return optax.adam(optax.cosine_decay_schedule(self.learning_rate, self.decay_steps, fall))


def published(steps: int = 1_000_000) -> FlashConfig:
    """The paper's settings for one environment and ``steps`` steps; with batches of 512 and 10 000 steps of start."""
    return FlashConfig(
        actor_width=128,
        critic_width=256,
        critic_norm="batch",
        discount=0.99,
        learning_rate=3e-4,
        final_learning_rate=1.5e-4,
        decay_steps=steps,
        average_share=0.0,
        target_std=0.15,
        entropy_backup=True,
        critic_steps=1,
        edit_cost=0.0,
        scale_inputs=False,
    )


class FlashState(NamedTuple):
    """Everything that learns, and the running moments; ``actor_loss, entropy`` are of the newest actor step."""

    encoder: Params
    target_encoder: Params
    actor: Params
    actor_moments: Params
    average_actor: Params  # what acts without noise
    average_moments: Params
    critics: Params
    critic_moments: Params
    target_critics: Params
    log_alpha: jax.Array
    actor_optimiser: Any
    critic_optimiser: Any
    alpha_optimiser: Any
    key: jax.Array
    step: jax.Array  # critic steps made
    actor_loss: jax.Array
    entropy: jax.Array
    from_zero: jax.Array  # 1: it edits a clone: the policy began at 0, and learns how far its head reaches; else 0


class Features(NamedTuple):
    """Features ``(n, f)`` of s and s', by the encoder and by its target; none carries a gradient."""

    now: jax.Array
    next: jax.Array
    target_now: jax.Array
    target_next: jax.Array


def create(key: jax.Array, layout: Layout, config: FlashConfig) -> FlashState:
    """A fresh agent."""
    encoder_key, actor_key, critic_key, key = jax.random.split(key, 4)
    features = encoder.size(layout)
    encoder_params = encoder.create(encoder_key, layout)
    actor, actor_moments = flash.create(actor_key, features, config.actor_width, config.blocks, 2 * layout.action_size)
    actor |= {_scale(config): jnp.ones(2 * layout.action_size)}
    critics, critic_moments = flash.create(
        critic_key,
        features + layout.action_size,
        config.critic_width,
        config.blocks,
        config.bins,
        members=2,
        reach=flash.CRITIC_REACH,
        norm=config.critic_norm,
    )
    log_alpha = jnp.log(jnp.float32(config.initial_temperature))
    state = FlashState(
        encoder=encoder_params,
        target_encoder=encoder_params,
        actor=actor,
        actor_moments=actor_moments,
        average_actor=actor,
        average_moments=actor_moments,
        critics=critics,
        critic_moments=critic_moments,
        target_critics=critics,
        log_alpha=log_alpha,
        actor_optimiser=config.optimiser.init(actor),
        critic_optimiser=config.optimiser.init((critics, encoder_params)),
        alpha_optimiser=config.optimiser.init(log_alpha),
        key=key,
        step=jnp.int32(0),
        actor_loss=jnp.float32(0.0),
        entropy=jnp.float32(0.0),
        from_zero=jnp.float32(0.0),
    )
    return store(key, state, config.parameter_dtype)


def still(state: FlashState, config: FlashConfig) -> FlashState:
    """The agent, whose policy is N(0, σ̄²) before the tanh, in every state, until it learns otherwise."""
    actor = flash.begin_at_zero(state.actor, config.target_std)
    return state._replace(actor=actor, average_actor=actor, from_zero=jnp.ones_like(state.from_zero))


def encode(state: FlashState, batch: Batch) -> Features:
    """The features of a batch."""
    return jax.lax.stop_gradient(
        Features(
            now=encoder.features(state.encoder, batch.state, batch.images),
            next=encoder.features(state.encoder, batch.next_state, batch.next_images),
            target_now=encoder.features(state.target_encoder, batch.state, batch.images),
            target_next=encoder.features(state.target_encoder, batch.next_state, batch.next_images),
        )
    )


def scaled_reward(batch: Batch, config: FlashConfig) -> jax.Array:
    """r̃ ``(n,)``."""
    reward: jax.Array = batch.reward
    if not config.scale_rewards:
        return reward
    if "return_deviation" not in batch.columns:
        raise ValueError("flash_sac scales rewards, but the batch brings no statistics of returns to do it by")
    scale = jnp.maximum(batch.columns["return_deviation"], batch.columns["return_largest"] / config.support)
    return reward / jnp.maximum(scale, SMALLEST_SCALE)


def critic_apply(
    critics: Params, seen: jax.Array, action: jax.Array, moments: Params | None = None
) -> tuple[jax.Array, Params]:
    """Logits ``(2, n, bins)`` for features ``(n, f)`` and actions ``(n, a)``; see `flash.apply`."""
    return flash.apply(critics, jnp.concatenate((seen, action), axis=-1), moments)


def joint_apply(
    critics: Params,
    moments: Params,
    seen: jax.Array,
    action: jax.Array,
    other_seen: jax.Array,
    other_action: jax.Array,
) -> tuple[jax.Array, Params]:
    """`critic_apply` as critics learn: batch norms over one batch with the others, layer norms by running moments."""
    if flash.is_layered(critics):
        return critic_apply(critics, seen, action, moments)
    logits, moments = critic_apply(
        critics, jnp.concatenate((seen, other_seen)), jnp.concatenate((action, other_action))
    )
    return logits[:, : len(action)], moments


def project(mass: jax.Array, values: jax.Array, centres: jax.Array) -> jax.Array:
    """``(n, bins)``: masses ``(n, k)`` at ``values (n, k)``, each split linearly between the two bins beside it.

    Values outside the bins count as the outermost ones. Expectations of values within are kept.
    """
    width = centres[1] - centres[0]
    place = jnp.clip(values, centres[0], centres[-1])
    shares = jnp.maximum(0.0, 1.0 - jnp.abs(place[:, None, :] - centres[:, None]) / width)
    return (shares * mass[:, None, :]).sum(axis=-1)


def critic_target(
    state: FlashState,
    batch: Batch,
    features: Features,
    next_action: jax.Array,
    log_prob: jax.Array,
    config: FlashConfig,
) -> jax.Array:
    """The distribution ``(n, bins)`` that the critics learn, for ``a' (n, a)`` with ``log π (n,)``."""
    logits, _ = joint_apply(
        state.target_critics, state.critic_moments, features.target_next, next_action, features.target_now, batch.action
    )
    chances = jax.nn.softmax(logits)
    worse = (chances @ config.centres).argmin(axis=0)
    mass = jnp.take_along_axis(chances, worse[None, :, None], axis=0)[0]
    future = jnp.broadcast_to(config.centres, mass.shape)
    if config.entropy_backup:
        future = future - jnp.exp(state.log_alpha) * log_prob[:, None]
    values = scaled_reward(batch, config)[:, None] + config.discount * batch.mask[:, None] * future
    return project(mass, values, config.centres)


def critic_loss(
    learnt: tuple[Params, Params],
    target: jax.Array,
    state: FlashState,
    batch: Batch,
    next_seen: jax.Array,
    next_action: jax.Array,
) -> tuple[jax.Array, tuple[jax.Array, Params]]:
    """L_Q of ``learnt`` = (critics, encoder); beside it p ``(2, n, bins)`` and the batch norms' moments."""
    critics, encoder_params = learnt
    seen = encoder.features(encoder_params, batch.state, batch.images)
    logits, moments = joint_apply(critics, state.critic_moments, seen, batch.action, next_seen, next_action)
    logs = jax.nn.log_softmax(logits)
    return -(target * logs).sum(axis=-1).mean(), (jnp.exp(logs), moments)


def actor_loss(
    actor: Params,
    key: jax.Array,
    state: FlashState,
    features: Features,
    config: FlashConfig,
    columns: Mapping[str, jax.Array] | None = None,
) -> tuple[jax.Array, tuple[jax.Array, Params]]:
    """L_π, with λ 2^(−n/N) ‖ã‖² where ã edits a clone; beside it the entropy estimate H_π and the batch norms' moments.

    ``columns``: of the batch, by which `weighed` goes.
    """
    outputs, moments = flash.apply(actor, jnp.concatenate((features.now, features.next)))
    mean, log_std = flash.gaussian(outputs[: len(features.now)])
    action, log_prob = tanh_gaussian(key, mean, log_std)
    logits, _ = critic_apply(state.critics, features.now, action, state.critic_moments)
    q = (jax.nn.softmax(logits) @ config.centres).min(axis=0)
    weight = state.from_zero * config.edit_cost * 0.5 ** (state.step / config.edit_halving)
    cost = weight * (action**2).sum(axis=-1)
    loss = weighed(jnp.exp(state.log_alpha) * log_prob - q + cost, jnp.tanh(mean), columns or {})
    return loss.mean(), (-log_prob.mean(), moments)


def alpha_loss(log_alpha: jax.Array, entropy: jax.Array, target_entropy: float) -> jax.Array:
    """L_α: raises α while the entropy is below its target."""
    return jnp.exp(log_alpha) * jax.lax.stop_gradient(entropy - target_entropy)


def target_entropy(action_size: int, config: FlashConfig) -> float:
    """H̄."""
    return 0.5 * action_size * math.log(2.0 * math.pi * math.e * config.target_std**2)


def policy_step(
    state: FlashState,
    key: jax.Array,
    features: Features,
    config: FlashConfig,
    columns: Mapping[str, jax.Array] | None = None,
) -> FlashState:
    """One step of the actor and one of the temperature; ``columns`` as in `actor_loss`."""
    (loss, (entropy, moments)), gradient = value_and_grad(actor_loss, config.dtype)(
        state.actor, key, state, features, config, columns
    )
    change, actor_optimiser = config.optimiser.update(gradient, state.actor_optimiser)
    change = change | {_scale(config): state.from_zero * change[_scale(config)]}
    action_size = state.actor[f"b{2 * config.blocks + 1}"].shape[-1] // 2
    slope = jax.grad(alpha_loss)(state.log_alpha, entropy, target_entropy(action_size, config))
    alpha_change, alpha_optimiser = config.optimiser.update(slope, state.alpha_optimiser)
    steps = state.step // config.actor_every
    rate, average_rate = _moment_rate(steps, config), 1.0 / (1.0 + config.average_share * steps)
    actor = flash.bound(optax.apply_updates(state.actor, change))
    actor_moments = flash.follow(state.actor_moments, moments, 2 * len(features.now), rate)
    average = optax.incremental_update(actor, state.average_actor, average_rate)
    return state._replace(
        actor=actor,
        actor_moments=actor_moments,
        average_actor=flash.bound(average),
        average_moments=optax.incremental_update(actor_moments, state.average_moments, average_rate),
        log_alpha=optax.apply_updates(state.log_alpha, alpha_change),
        actor_optimiser=actor_optimiser,
        alpha_optimiser=alpha_optimiser,
        actor_loss=loss,
        entropy=entropy,
    )


def critic_step(
    state: FlashState, key: jax.Array, batch: Batch, features: Features, config: FlashConfig
) -> tuple[FlashState, dict[str, jax.Array]]:
    """One step of the critics and the encoder; their targets follow."""
    rounded = cast(state, config.dtype)
    outputs, _ = flash.apply(rounded.actor, features.next, state.actor_moments)
    next_action, log_prob = tanh_gaussian(key, *flash.gaussian(outputs))
    target = critic_target(rounded, batch, features, next_action, log_prob, config)

    learnt = (state.critics, state.encoder)
    (loss, (chances, moments)), gradient = value_and_grad(critic_loss, config.dtype)(
        learnt, target, state, batch, features.next, next_action
    )
    change, optimiser = config.optimiser.update(gradient, state.critic_optimiser)
    critics, encoder_params = optax.apply_updates(learnt, change)
    critics = flash.bound(critics, flash.CRITIC_REACH)
    rate = _moment_rate(state.step, config)
    rows = len(target) * (1 if flash.is_layered(critics) else 2)
    state = state._replace(
        encoder=encoder_params,
        target_encoder=optax.incremental_update(encoder_params, state.target_encoder, config.target_rate),
        critics=critics,
        critic_moments=flash.follow(state.critic_moments, moments, rows, rate),
        target_critics=flash.bound(
            optax.incremental_update(critics, state.target_critics, config.target_rate), flash.CRITIC_REACH
        ),
        critic_optimiser=optimiser,
        step=state.step + 1,
    )
    return state, {
        "critic/loss": loss,
        "critic/q_mean": (chances @ config.centres).mean(),
        "critic/target_mean": (target @ config.centres).mean(),
        "critic/at_the_edge": (target[:, 0] + target[:, -1]).mean(),
    }


@partial(jax.jit, static_argnames="config")
def update(state: FlashState, batch: Batch, config: FlashConfig) -> tuple[FlashState, dict[str, jax.Array]]:
    """G critic steps, and an actor and temperature step before every second of all; ``batch`` is ``(G, n, …)``."""
    state = cast(state, "float32")
    keys = jax.random.split(state.key, batch.reward.shape[0] + 1)

    def step(state: FlashState, given: tuple[jax.Array, Batch]) -> tuple[FlashState, dict[str, jax.Array]]:
        step_key, batch = given
        shift_key, actor_key, critic_key = jax.random.split(step_key, 3)
        batch = encoder.augment(shift_key, batch)
        features = encode(cast(state, config.dtype), batch)
        encoder_params = state.encoder
        state = jax.lax.cond(
            state.step % config.actor_every == 0,
            lambda state: policy_step(state, actor_key, features, config, batch.columns),
            lambda state: state,
            state,
        )
        # The same; but now the compiler sees that s need not be encoded anew.
        state = state._replace(encoder=encoder_params)
        return critic_step(state, critic_key, batch, features, config)

    state, infos = jax.lax.scan(step, state, (keys[1:], batch))
    return store(keys[0], state._replace(key=keys[0]), config.parameter_dtype), {
        **{name: values.mean() for name, values in infos.items()},
        "actor/loss": state.actor_loss,
        "actor/entropy": state.entropy,
        "temperature/alpha": jnp.exp(state.log_alpha),
        # Not finite as soon as one parameter is: a gradient can overflow where its loss does not.
        "critic/norm": optax.tree.norm((state.critics, state.critic_moments)),
        "actor/norm": optax.tree.norm((state.actor, state.actor_moments, state.average_actor, state.average_moments)),
        "encoder/norm": optax.tree.norm(state.encoder),
    }


@partial(jax.jit, static_argnames="deterministic")
def sample(actor: Params, moments: Params, seen: jax.Array, key: jax.Array, deterministic: bool = False) -> jax.Array:
    """Action ``(n, a)`` in [−1, 1] for features ``(n, f)``: ``tanh μ``, or a draw."""
    mean, log_std = flash.gaussian(flash.apply(actor, seen, moments)[0])
    return jnp.tanh(mean) if deterministic else tanh_gaussian(key, mean, log_std)[0]


def mean_action(state: FlashState, batch: Batch) -> jax.Array:
    """tanh μ ``(n, a)`` of the newest actor; see `robot_rl.learner.agent.Agent.mean`."""
    seen = encoder.features(state.encoder, batch.state, batch.images)
    return jnp.tanh(flash.gaussian(flash.apply(state.actor, seen, state.actor_moments)[0])[0])


def published_actor(state: FlashState) -> Params:
    """The parameters that `act` takes: the newest actor, the average and the encoder."""
    return join(
        newest=state.actor,
        newest_moments=state.actor_moments,
        average=state.average_actor,
        average_moments=state.average_moments,
        encoder=state.encoder,
    )


def act(
    params: Params,
    held: HeldNoise,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    key: jax.Array,
    deterministic: bool,
    config: FlashConfig,
) -> tuple[jax.Array, HeldNoise]:
    """One action as a chunk ``(1, a)``; see `robot_rl.learner.agent.Agent.act`.

    ``tanh μ`` of the average, or the newest with a noise ε ~ N(0, I) that serves n steps in a row, P(n) ∝ n⁻² up to
    ``noise_repeats``: pushes that last explore further than ones that cancel.
    """
    name = "average" if deterministic else "newest"
    features = encoder.see(params, state, images)
    outputs, _ = flash.apply(part(params, name), features, part(params, f"{name}_moments"))
    mean, log_std = flash.gaussian(outputs)
    if deterministic:
        return jnp.tanh(mean), held
    held = hold(key, held, config.noise_repeats)
    return jnp.tanh(mean + jnp.exp(log_std) * held.noise), held


def make_agent(config: FlashConfig | None = None) -> Agent:
    """FlashSAC by the contract that all agents share."""
    config = config or FlashConfig()
    return Agent(
        name="flash_sac",
        config=config,
        updates_per_call=config.critic_steps,
        actor_share=1.0 / config.actor_every,
        create=partial(create, config=config),
        update=partial(update, config=config),
        actor=published_actor,
        act=partial(act, config=config),
        carry=no_noise,
        still=partial(still, config=config),
        see=encoder.seen_by,
        mean=mean_action,
        columns=("return_deviation", "return_largest") if config.scale_rewards else (),
    )


def _scale(config: FlashConfig) -> str:
    """Name of s of the actor."""
    return f"s{2 * config.blocks + 1}"


def _moment_rate(steps: jax.Array, config: FlashConfig) -> jax.Array:
    return jnp.maximum(config.moment_rate, 1.0 / (1.0 + steps))


AGENT = Algorithm(FlashConfig, make_agent)
