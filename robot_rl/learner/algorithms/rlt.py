"""Editing what imitation proposes: a flow stays as it is, and a small actor changes its chunks for value.

After RL Token (Xu et al., arXiv 2604.23073), where the base is a large policy of images and words that is never
trained again; here it is a flow that imitated the demonstrations (`robot_rl.learner.frozen`). Actor and critics see
the features that the base's encoder finds, and the actor the chunk ã of H actions that the base proposes. It starts as
the base, to the bit: the actor's last layer begins at 0.

    ã = F(s, w), w ~ N(0, I)                             the reference
    δ = tanh μ(s, d ã),   d = 1
    π(s): clip(ã + β δ + σ ε, −1, 1),   ε ~ N(0, I) of each axis, the same for all steps of the chunk

One call of `update` takes G minibatches of windows; on each

    y    = Σ_{k<H} γ^k r_{t+k} + γ^H m min_{i∈S} Q̄_i(s_{t+H}, a'),   a' ~ π(s_{t+H})
    L_Q  = mean over members and batch of (Q_i(s, a) − y)²       a: the chunk that was executed, windows as in `chunked`

and then one step of the actor on the last of them:

    L_π  = mean of −mean_i Q_i(s, a) + λ R ‖δ‖²,   a ~ π(s) with d = 0 in a share of the cases, else 1

S: ``subset`` members, drawn without replacement for each minibatch. R is the largest return that was seen, so that λ
means the same for all rewards. Of a window that a person drove to its end, their chunk is the reference, as in the
paper. d keeps the actor from leaning on the reference alone. σ is 0 in use; w is drawn there too, since noise belongs
to such a base.

``phase`` says where the edit acts, in use, while exploring and in a': ``always``, or ``agreed``: only where each critic
(in a' each target critic) values the edited chunk above the reference. The paper has a person switch it on for the
critical part of a task.

Departures from the paper: the actor's output is an edit of bounded size, not the chunk itself, or it could not start as
the base; the cost is that of the edit; there is no token, because features of a state, or of a small encoder, are
small; critics may be more than two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Gt, Le

from robot_rl.contract import Layout, Source
from robot_rl.contract.ranges import Count, Discount, NonNegative, Positive, RangeError, Rate, Share, Widths
from robot_rl.data.replay import RETURN_LARGEST, Batch
from robot_rl.learner import frozen
from robot_rl.learner.agent import Agent, Algorithm
from robot_rl.learner.algorithms.bc import SOURCE
from robot_rl.learner.algorithms.chunked import with_axis
from robot_rl.learner.frozen import FlowBase, critic_step, target_of
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.flow import flow_create
from robot_rl.learner.networks.mlp import Params, critics_apply, critics_create, ensemble_apply, ensemble_create
from robot_rl.learner.networks.parts import join, part
from robot_rl.learner.networks.precision import Precision, cast, store, value_and_grad
from robot_rl.learner.warm import WHOLE_REACH

Phase = Literal["always", "agreed"]
REACH = "reach"  # published name of β


@dataclass(frozen=True)
class RltConfig(Precision):
    """Defaults: sized for 2 cores."""

    phase: Phase = "always"  # where the edit acts, see above
    horizon: Count = 5  # H, steps of a chunk: 0.5 s
    hidden: Widths = (256, 256)  # width of the hidden layers: flow, critics, actor
    critics: Count = 2  # E, members of the ensemble
    subset: Count = 2  # |S|, members whose minimum is the target
    layer_norm: bool = True  # in the critics
    edit: Annotated[float, Gt(0), Le(2)] = 0.5  # β, the largest edit; an action is in [−1, 1]
    edit_cost: NonNegative = 0.1  # λ
    reference_dropout: Share = 0.5  # how often the actor does not see the reference while it learns
    noise: NonNegative = 0.1  # σ
    discount: Discount = 0.97  # γ, of one step
    learning_rate: Positive = 3e-4  # of all (Adam)
    target_rate: Rate = 0.005  # τ: how fast the target critics follow
    flow_steps: Count = 5  # of Euler's method, from noise to a chunk
    critic_steps: Count = 4  # G, critic steps per actor step

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.subset > self.critics:
            raise RangeError(f"subset={self.subset} must be at most critics={self.critics}")


class RltState(NamedTuple):
    """Everything that learns, and β of each axis, ``reach (a,)``."""

    base: FlowBase
    critics: Params
    target_critics: Params
    actor: Params
    reach: jax.Array
    critic_optimiser: Any
    actor_optimiser: Any
    key: jax.Array


def create(key: jax.Array, layout: Layout, config: RltConfig) -> RltState:
    """A fresh agent. A last axis that takes one of several values may be edited to any other."""
    encoder_key, flow_key, critic_key, actor_key, key = jax.random.split(key, 5)
    features, size = encoder.size(layout), config.horizon * layout.action_size
    critics = critics_create(critic_key, features, size, config.hidden, config.critics, config.layer_norm)
    actor = ensemble_create(actor_key, (features + size, *config.hidden, size), 1, layer_norm=False)
    head = f"w{len(config.hidden)}"
    actor[head] = jnp.zeros_like(actor[head])
    reach = jnp.full(layout.action_size, config.edit)
    adam = optax.adam(config.learning_rate)
    state = RltState(
        base=FlowBase(encoder.create(encoder_key, layout), flow_create(flow_key, features, size, config.hidden)),
        critics=critics,
        target_critics=critics,
        actor=actor,
        reach=reach.at[-1].set(WHOLE_REACH) if layout.options else reach,
        critic_optimiser=adam.init(critics),
        actor_optimiser=adam.init(actor),
        key=key,
    )
    return store(key, state, config.parameter_dtype)


def edit_of(actor: Params, features: jax.Array, reference: jax.Array) -> jax.Array:
    """δ ``(n, k)`` in [−1, 1] for ``features (n, f)`` and ``reference (n, k)``, 0 where it is not to be seen."""
    return jnp.tanh(ensemble_apply(actor, jnp.concatenate((features, reference), axis=-1))[0])


def edited(reference: jax.Array, edit: jax.Array, reach: jax.Array, noise: jax.Array | float = 0.0) -> jax.Array:
    """Chunks ``(n, k)``: ``reference (n, k)``, ``edit`` δ ``(n, k)`` and ``noise`` σ ε ``(n, a)``; ``reach (a,)``."""
    steps = reference.reshape(len(reference), -1, len(reach))
    moved = steps + reach * edit.reshape(steps.shape) + jnp.asarray(noise)[..., None, :]
    return jnp.clip(moved, -1.0, 1.0).reshape(reference.shape)


def agreed(critics: Params, features: jax.Array, reference: jax.Array, chunk: jax.Array) -> jax.Array:
    """``chunk (n, k)`` where each of ``critics`` values it above ``reference (n, k)``, and that elsewhere."""
    better = critics_apply(critics, features, chunk) > critics_apply(critics, features, reference)
    return jnp.where(better.all(axis=0)[:, None], chunk, reference)


def exploring(key: jax.Array, count: int, reach: jax.Array, config: RltConfig) -> jax.Array:
    """σ ε ``(count, a)``."""
    return config.noise * jax.random.normal(key, (count, len(reach)))


def critic_target(key: jax.Array, state: RltState, batch: Batch, config: RltConfig) -> jax.Array:
    """y ``(n,)``; ``batch.next_state`` is the features."""
    base_key, noise_key, subset_key = jax.random.split(key, 3)
    features = batch.next_state
    count, steps = batch.reward.shape
    reference = state.base.chunks(
        features, jax.random.normal(base_key, (count, steps * len(state.reach))), config.flow_steps
    )
    noise = exploring(noise_key, count, state.reach, config)
    chunk = edited(reference, edit_of(state.actor, features, reference), state.reach, noise)
    if config.phase == "agreed":
        chunk = agreed(state.target_critics, features, reference, chunk)
    return target_of(subset_key, state.target_critics, batch, chunk, config)


def references(key: jax.Array, base: FlowBase, batch: Batch, config: RltConfig) -> jax.Array:
    """ã ``(n, k)`` that the actor learns by: a person's chunk, else the base's; ``batch.state`` is the features."""
    executed = batch.action.reshape(len(batch.action), -1)
    proposed = base.chunks(batch.state, jax.random.normal(key, executed.shape), config.flow_steps)
    shown = (batch.columns[SOURCE] == Source.PERSON) & (batch.valid[:, -1] > 0.0)
    return jnp.where(shown[:, None], executed, proposed)


def actor_loss(
    actor: Params,
    key: jax.Array,
    critics: Params,
    reach: jax.Array,
    reference: jax.Array,
    batch: Batch,
    config: RltConfig,
) -> tuple[jax.Array, jax.Array]:
    """L_π for ``reference (n, k)``, and the mean of ‖δ‖²; ``batch.state`` is the features."""
    drop_key, noise_key = jax.random.split(key)
    seen = jax.random.bernoulli(drop_key, 1.0 - config.reference_dropout, (len(reference), 1))
    edit = edit_of(actor, batch.state, jnp.where(seen, reference, 0.0))
    chunk = edited(reference, edit, reach, exploring(noise_key, len(reference), reach, config))
    q = critics_apply(critics, batch.state, chunk).mean(axis=0)
    largest = batch.columns[RETURN_LARGEST]
    cost = (edit**2).sum(axis=-1)
    return (config.edit_cost * jnp.where(largest > 0.0, largest, 1.0) * cost - q).mean(), cost.mean()


@partial(jax.jit, static_argnames="config")
def update(state: RltState, batch: Batch, config: RltConfig) -> tuple[RltState, dict[str, jax.Array]]:
    """G steps of the critics, one of the actor; ``batch`` has leading axes ``(G, n)``."""
    batch, state = with_axis(batch), cast(state, "float32")
    keys = jax.random.split(state.key, batch.reward.shape[0] + 3)
    state, (rows, infos) = jax.lax.scan(
        lambda s, kb: critic_step(s, *kb, config, critic_target), state, (keys[3:], batch)
    )
    last = jax.tree.map(lambda column: column[-1], rows)
    reference = references(keys[1], cast(state.base, config.dtype), last, config)
    (loss, size), gradient = value_and_grad(partial(actor_loss, config=config), config.dtype)(
        state.actor, keys[2], state.critics, state.reach, reference, last
    )
    change, optimiser = optax.adam(config.learning_rate).update(gradient, state.actor_optimiser)
    state = state._replace(actor=optax.apply_updates(state.actor, change), actor_optimiser=optimiser, key=keys[0])
    info = {name: values.mean() for name, values in infos.items()} | {"actor/loss": loss, "actor/edit": size}
    # Not finite as soon as one parameter is: a gradient can overflow where its loss does not.
    info |= {"critic/norm": optax.tree.norm(state.critics), "actor/norm": optax.tree.norm(state.actor)}
    return store(keys[0], state, config.parameter_dtype), info


def published(state: RltState, config: RltConfig) -> Params:
    """The parameters that `act` takes: the base, the actor, and the critics where they have a say."""
    critics = state.critics if config.phase == "agreed" else {}
    return join(**state.base.published, actor=state.actor, critics=critics, limits={REACH: state.reach})


def act(
    params: Params,
    carry: Any,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    key: jax.Array,
    deterministic: bool,
    config: RltConfig,
    edits: bool = True,
) -> tuple[jax.Array, Any]:
    """A chunk ``(H, a)`` of π, without exploring σ = 0; not ``edits``, the base's own; see `Agent.act`."""
    base, reach = frozen.found_in(params), part(params, "limits")[REACH]
    features = base.see(state, images)
    noise = jax.random.normal(key, (1, config.horizon * len(reach)))
    chunk = reference = base.chunks(features, noise, config.flow_steps)
    if edits:
        edit = edit_of(part(params, "actor"), features, reference)
        noise_key = jax.random.fold_in(key, 1)
        chunk = edited(reference, edit, reach, 0.0 * reach if deterministic else exploring(noise_key, 1, reach, config))
        if config.phase == "agreed":
            chunk = agreed(part(params, "critics"), features, reference, chunk)
    return chunk.reshape(config.horizon, -1), carry


def make_agent(config: RltConfig | None = None) -> Agent:
    """RLT by the contract that all agents share."""
    config = config or RltConfig()
    return Agent(
        name="rlt",
        config=config,
        updates_per_call=config.critic_steps,
        actor_share=1.0 / config.critic_steps,
        create=partial(create, config=config),
        update=partial(update, config=config),
        actor=partial(published, config=config),
        act=partial(act, config=config),
        horizon=config.horizon,
        columns=(SOURCE, RETURN_LARGEST),
        base=frozen.imitated(
            optax.adam(config.learning_rate),
            partial(act, config=config, edits=False),
            lambda state, base: state._replace(base=base),
        ),
        needs_base=True,
    )


AGENT = Algorithm(RltConfig, make_agent)
