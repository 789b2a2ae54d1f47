"""Actions made better before they are learnt from: whatever the policy is, it only ever imitates (PA-RL).

Policy-agnostic RL (Mark et al., arXiv 2412.06685). A policy need only be drawn from and imitate. Here it is a flow F of
chunks of H actions, which begins as the base that imitated the demonstrations (`robot_rl.learner.frozen`). From N of
its chunks the critics keep the best M and move each uphill, T steps

    a ← clip(a + η ∇_a Q(s, a) / RMS(∇_a Q), −1, 1),   Q the mean of the members,

and each stays at the point of its way that Q likes best, the start included: the particles p_1 … p_M. A last axis that
takes one of several values is never moved; there only the choice decides. One call of `update` takes G minibatches of
windows; on each

    y    = Σ_{k<H} γ^k r_{t+k} + γ^H m min_{i∈S} Q̄_i(s_{t+H}, a'),   a' the particle that Q likes best
    L_Q  = mean over members and batch of (Q_i(s, a) − y)²       a: the chunk that was executed, windows as in `chunked`

and then one step of the flow on the last of them:

    L_F  = flow matching of ã,   ã ~ softmax(Q(s, ·)/(τ σ)) among p_1 … p_M and a

σ is the standard deviation of Q among the N chunks of the flow. Where an end cut a window short, the flow imitates the
steps of a that were executed, or all of a particle. The arm acts by the best particle, and while exploring by one that
is drawn by the same softmax, without a. S: ``subset`` members, drawn without replacement for each minibatch. Until the
whole agent has earned it, the base acts (`robot_rl.learner.earned`), which is never trained again.

Departures from the paper: the step has a size of its own, and τ is in units of σ, so that both mean the same for all
rewards (the paper adds 3·10⁻⁴ times the gradient, and takes Q as it is); critics begin at random, as those of all
agents here, and not from offline RL; N, M and T are a quarter, a fifth and half of the paper's.
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
from robot_rl.contract.ranges import Count, Discount, NonNegative, Positive, RangeError, Rate, Widths
from robot_rl.data.replay import Batch
from robot_rl.learner import frozen
from robot_rl.learner.agent import Agent, Algorithm
from robot_rl.learner.algorithms.chunked import LEAST_SPREAD, fill, q_values, with_axis
from robot_rl.learner.frozen import FlowBase, critic_step, target_of
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.flow import flow_create, flow_loss, flow_sample, flow_size
from robot_rl.learner.networks.mlp import Params, critics_create
from robot_rl.learner.networks.parts import join, part
from robot_rl.learner.networks.precision import Precision, cast, store, value_and_grad

MOVES = "moves"  # published name of the axes that climb


@dataclass(frozen=True)
class PaRlConfig(Precision):
    """Defaults: sized for 2 cores; none was tuned."""

    horizon: Count = 5  # H, steps of a chunk: 0.5 s
    hidden: Widths = (256, 256)  # width of the hidden layers: flow and critics
    critics: Count = 2  # E, members of the ensemble
    subset: Count = 2  # |S|, members whose minimum is the target
    layer_norm: bool = True  # in the critics
    samples: Count = 8  # N, chunks of the flow
    kept: Count = 2  # M, of them that are made better
    local_steps: Count = 5  # T
    local_size: NonNegative = 0.02  # η, root mean square of a step; an action is in [−1, 1]
    temperature: Positive = 1.0  # τ: by how many σ a chunk has to be better to be e times as likely
    discount: Discount = 0.97  # γ, of one step
    learning_rate: Positive = 3e-4  # of all (Adam)
    target_rate: Rate = 0.005  # how fast the target critics follow
    flow_steps: Count = 5  # of Euler's method, from noise to a chunk
    critic_steps: Count = 4  # G, critic steps per step of the flow

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.subset > self.critics:
            raise RangeError(f"subset={self.subset} must be at most critics={self.critics}")
        if self.kept > self.samples:
            raise RangeError(f"kept={self.kept} must be at most samples={self.samples}")


class PaRlState(NamedTuple):
    """Everything that learns, the base that it began as, and which axes climb, ``moves (a,)``: 1, or 0."""

    base: FlowBase
    flow: Params
    moves: jax.Array
    critics: Params
    target_critics: Params
    critic_optimiser: Any
    flow_optimiser: Any
    key: jax.Array


class Particles(NamedTuple):
    """Chunks ``(n, M, k)`` and their values Q ``(n, M)``."""

    chunks: jax.Array
    values: jax.Array


class Policy(NamedTuple):
    """Parameters that particles are made by; ``moves`` as in `PaRlState`."""

    flow: Params
    critics: Params
    moves: jax.Array


def create(key: jax.Array, layout: Layout, config: PaRlConfig) -> PaRlState:
    """A fresh agent."""
    encoder_key, flow_key, critic_key, key = jax.random.split(key, 4)
    features, size = encoder.size(layout), config.horizon * layout.action_size
    critics = critics_create(critic_key, features, size, config.hidden, config.critics, config.layer_norm)
    flow = flow_create(flow_key, features, size, config.hidden)
    adam = optax.adam(config.learning_rate)
    state = PaRlState(
        base=FlowBase(encoder.create(encoder_key, layout), flow),
        flow=flow,
        moves=jnp.ones(layout.action_size).at[-1].set(0.0 if layout.options else 1.0),
        critics=critics,
        target_critics=critics,
        critic_optimiser=adam.init(critics),
        flow_optimiser=adam.init(flow),
        key=key,
    )
    return store(key, state, config.parameter_dtype)


def climbed(policy: Policy, features: jax.Array, chunks: jax.Array, config: PaRlConfig) -> Particles:
    """``chunks (n, M, k)`` at ``features (n, f)``, each at the best of the points that it comes to uphill."""
    moves = jnp.tile(policy.moves, config.horizon)

    def value(points: jax.Array) -> jax.Array:
        return q_values(policy.critics, features, points).mean(axis=0)

    def step(held: tuple[jax.Array, Particles], _: None) -> tuple[tuple[jax.Array, Particles], None]:
        points, highest = held
        q, slope_of = jax.vjp(value, points)
        slope = moves * slope_of(jnp.ones_like(q))[0]
        size = jnp.sqrt((slope**2).mean(axis=-1, keepdims=True))
        ahead = points + config.local_size * slope / jnp.maximum(size, jnp.finfo(slope.dtype).tiny)
        return (jnp.clip(ahead, -1.0, 1.0), better(highest, Particles(points, q))), None

    begun = Particles(chunks, jnp.full(chunks.shape[:2], -jnp.inf))
    (points, highest), _ = jax.lax.scan(step, (chunks, begun), length=config.local_steps)
    return better(highest, Particles(points, value(points)))


def better(one: Particles, other: Particles) -> Particles:
    """Of either pair the one of the larger value, the former if they are equal."""
    wins = other.values > one.values
    return Particles(jnp.where(wins[..., None], other.chunks, one.chunks), jnp.where(wins, other.values, one.values))


def particles(key: jax.Array, policy: Policy, features: jax.Array, config: PaRlConfig) -> tuple[Particles, jax.Array]:
    """p_1 … p_M at ``features (n, f)``, and σ ``(n,)``."""
    noise = jax.random.normal(key, (len(features), config.samples, flow_size(policy.flow)))
    proposed = flow_sample(policy.flow, features[:, None], noise, config.flow_steps)
    values = q_values(policy.critics, features, proposed).mean(axis=0)
    _, kept = jax.lax.top_k(values, config.kept)
    chosen = jnp.take_along_axis(proposed, kept[..., None], axis=1)
    return climbed(policy, features, chosen, config), values.std(axis=1)


def picked(among: Particles, index: jax.Array) -> jax.Array:
    """The chunks ``(n, k)`` of number ``index (n,)``."""
    return jnp.take_along_axis(among.chunks, index[:, None, None], axis=1)[:, 0]


def likely(key: jax.Array, values: jax.Array, spread: jax.Array, config: PaRlConfig) -> jax.Array:
    """Numbers ``(n,)`` drawn by the softmax of ``values (n, m)`` in units of τ and ``spread (n,)``.

    Where the values differ by no more than float32 rounds them, all are alike.
    """
    least = LEAST_SPREAD * jnp.abs(values).mean(axis=1) + jnp.finfo(values.dtype).tiny
    scores = values / (config.temperature * jnp.maximum(spread, least))[:, None]
    return jax.random.categorical(key, scores)


def best(among: Particles) -> jax.Array:
    """The chunk ``(n, k)`` of ``among`` that is worth most."""
    return picked(among, among.values.argmax(axis=1))


def policy_of(state: PaRlState) -> Policy:
    """The parts of ``state`` that particles are made by."""
    return Policy(state.flow, state.critics, state.moves)


def critic_target(key: jax.Array, state: PaRlState, batch: Batch, config: PaRlConfig) -> jax.Array:
    """y ``(n,)``; ``batch.next_state`` is the features."""
    particle_key, subset_key = jax.random.split(key)
    among, _ = particles(particle_key, policy_of(state), batch.next_state, config)
    return target_of(subset_key, state.target_critics, batch, best(among), config)


def examples(key: jax.Array, policy: Policy, batch: Batch, config: PaRlConfig) -> tuple[jax.Array, jax.Array]:
    """ã ``(n, k)`` for the flow to imitate, and what of it counts ``(n, k)``: 1, or 0 of steps that nobody executed.

    ``batch.state`` is the features.
    """
    particle_key, fill_key, draw_key = jax.random.split(key, 3)
    made, spread = particles(particle_key, policy, batch.state, config)
    executed = fill(fill_key, batch)[:, None]
    value = q_values(policy.critics, batch.state, executed).mean(axis=0)
    pool = Particles(jnp.concatenate((made.chunks, executed), axis=1), jnp.concatenate((made.values, value), axis=1))
    index = likely(draw_key, pool.values, spread, config)
    steps = jnp.repeat(batch.valid, batch.action.shape[-1], axis=-1)
    return picked(pool, index), jnp.where((index == config.kept)[:, None], steps, 1.0)


@partial(jax.jit, static_argnames="config")
def update(state: PaRlState, batch: Batch, config: PaRlConfig) -> tuple[PaRlState, dict[str, jax.Array]]:
    """G steps of the critics, one of the flow; ``batch`` has leading axes ``(G, n)``."""
    batch, state = with_axis(batch), cast(state, "float32")
    keys = jax.random.split(state.key, batch.reward.shape[0] + 3)
    state, (rows, infos) = jax.lax.scan(
        lambda s, kb: critic_step(s, *kb, config, critic_target), state, (keys[3:], batch)
    )
    last = jax.tree.map(lambda column: column[-1], rows)
    lower = cast(state, config.dtype)
    example, counts = examples(keys[1], policy_of(lower), last, config)
    loss, gradient = value_and_grad(flow_loss, config.dtype, has_aux=False)(
        state.flow, keys[2], last.state, example, counts
    )
    change, optimiser = optax.adam(config.learning_rate).update(gradient, state.flow_optimiser)
    state = state._replace(flow=optax.apply_updates(state.flow, change), flow_optimiser=optimiser, key=keys[0])
    info = {name: values.mean() for name, values in infos.items()} | {"actor/loss": loss}
    # Not finite as soon as one parameter is: a gradient can overflow where its loss does not.
    info |= {"critic/norm": optax.tree.norm(state.critics), "actor/norm": optax.tree.norm(state.flow)}
    return store(keys[0], state, config.parameter_dtype), info


def published(state: PaRlState) -> Params:
    """The parameters that `act` takes: base, flow, critics and the axes that climb."""
    return join(**state.base.published, actor=state.flow, critics=state.critics, limits={MOVES: state.moves})


def act(
    params: Params,
    carry: Any,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    key: jax.Array,
    deterministic: bool,
    config: PaRlConfig,
) -> tuple[jax.Array, Any]:
    """A chunk ``(H, a)``, the best particle or, to explore, a likely one; see `Agent.act`."""
    particle_key, draw_key = jax.random.split(key)
    features = frozen.found_in(params).see(state, images)
    policy = Policy(part(params, "actor"), part(params, "critics"), part(params, "limits")[MOVES])
    among, spread = particles(particle_key, policy, features, config)
    chunk = best(among) if deterministic else picked(among, likely(draw_key, among.values, spread, config))
    return chunk.reshape(config.horizon, -1), carry


def act_alone(
    params: Params,
    carry: Any,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    key: jax.Array,
    deterministic: bool,
    config: PaRlConfig,
) -> tuple[jax.Array, Any]:
    """A chunk ``(H, a)`` of the base, with no say of the critics."""
    base = frozen.found_in(params)
    features = base.see(state, images)
    noise = jax.random.normal(key, (1, flow_size(base.flow)))
    chunk = base.chunks(features, noise, config.flow_steps)
    return chunk.reshape(config.horizon, -1), carry


def make_agent(config: PaRlConfig | None = None) -> Agent:
    """PA-RL by the contract that all agents share."""
    config = config or PaRlConfig()
    return Agent(
        name="pa_rl",
        config=config,
        updates_per_call=config.critic_steps,
        actor_share=1.0 / config.critic_steps,
        create=partial(create, config=config),
        update=partial(update, config=config),
        actor=published,
        act=partial(act, config=config),
        horizon=config.horizon,
        base=frozen.imitated(
            optax.adam(config.learning_rate),
            partial(act_alone, config=config),
            lambda state, base: state._replace(base=base, flow=base.flow),
        ),
        needs_base=True,
    )


AGENT = Algorithm(PaRlConfig, make_agent)
