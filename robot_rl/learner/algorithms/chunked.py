"""Chunked TD: critics of whole chunks of H actions, and a flow that proposes them.

Q-chunking (Li et al., arXiv 2507.07969) in two versions and ALOE (arXiv 2602.12691); ``extraction`` chooses. A chunk
a = (a_t, …, a_{t+H−1}) is executed open loop. One call of `update` takes G minibatches of windows, and on each makes a
step of the critics and one of the policy:

    y   = Σ_{k<H} γ^k r_{t+k} + γ^H m Q̄(s_{t+H}, a'),   L_Q = mean over members and batch of (Q_i(s, a) − y)²

best_of_n  L_π = L_flow(a): the flow v imitates the data. a' is the one of N chunks of the flow that Q likes best, and
           acting takes the best of as many. Q is the mean of the members; Q chooses and Q̄ values.
one_step   L_π = L_flow(a) + α mean (π₁(s, z) − sg a_v(s, z))² − Q(s, π₁(s, z)): π₁ goes in one step where the flow
           goes from the same noise z, as far as the critics do not know better. a' and acting: π₁.
aloe       L_π = w L_flow(a),   w = sg exp(clip((A − Ā)/(β σ), −c, c)),   A = Q(s, a) − V,
           V = mean of Q over some chunks of the flow; Ā and σ are the mean and the standard deviation of A over the
           whole windows of the minibatch (see below), so β means the same for every reward and discount. In the paper
           w is of A itself. Q is the minimum of the members, which share no layers here (in the paper they do).
           a' and acting: one chunk of the flow.

In L_flow a window counts 1 if it is an example, of the demonstrations or of an episode that returned as much as they
do (``Batch.columns["example"]``), and ``failed_weight`` otherwise: the papers imitate all alike, and with them every
episode that failed or ran out of time.

The critics see the chunk that was *executed*, which is why rewards can be summed over H steps without the bias of an
n-step return. (Of an arm that a person steers, or a policy that was asked again meanwhile, this is true as far as the
arm does what it is told: such actions answer to what happened within the window.)

Windows at the end of a run:

- The task ended within the window: y is the sum of the rewards until then. The steps after it are never executed, so
  the value must not depend on them: they are drawn at random anew each time, and the critics learn to ignore them. Left
  at zero, chunks that the policy proposes there would lie outside of what the critics have seen. The authors' code
  leaves such windows out; but then, of a reward for success alone, only windows that end exactly with the episode see
  any of it, and the values of the last H − 1 states before the goal are extrapolation.
- A time limit or an abort cut the window short: its chunk was not executed as a whole, and nobody knows what the rest
  would have brought. No loss for the critics, and none for ``aloe``'s policy, whose weight is their word.
- Imitation takes the steps that were executed, in either case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from robot_rl.contract import Layout
from robot_rl.contract.ranges import Count, Discount, NonNegative, Positive, Rate, Share, Widths
from robot_rl.data.replay import EXAMPLE, Batch
from robot_rl.learner.agent import Agent, Algorithm, Base
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.flow import flow_create, flow_loss, flow_sample, flow_size, velocity
from robot_rl.learner.networks.guidance import Guide, guided_sample
from robot_rl.learner.networks.mlp import Params, critics_apply, critics_create
from robot_rl.learner.networks.parts import join, part
from robot_rl.learner.networks.precision import Precision, cast, store, value_and_grad

Extraction = Literal["best_of_n", "one_step", "aloe"]
SEEN = "seen"  # published name of an encoder that only the flow sees by
LEAST_SPREAD = 1e-4  # of advantages, as a share of |Q|: float32 rounds differences of values not much finer


@dataclass(frozen=True)
class ChunkedConfig(Precision):
    """Defaults: sized for 2 cores; the papers have 4 layers of 512, γ 0.99 and N = 32."""

    extraction: Extraction = "best_of_n"  # how the policy comes from flow and critics, see above
    horizon: Count = 5  # H, steps of a chunk: 0.5 s
    hidden: Widths = (256, 256)  # width of the hidden layers, policy and critics
    critics: Count = 2  # E, members of the ensemble
    layer_norm: bool = True  # in the critics: keeps them from extrapolating beyond the data
    discount: Discount = 0.97  # γ, of one step
    learning_rate: Positive = 3e-4  # of policy and critics (Adam)
    target_rate: Rate = 0.005  # τ: how fast the target critics follow
    flow_steps: Count = 5  # of Euler's method, from noise to a chunk; half the papers', and an update twice as fast
    samples: Count = (
        8  # N, best_of_n: chunks to choose from, in the target, the costliest part of an update, as in acting
    )
    failed_weight: Share = 0.25  # of windows that are no example, in imitation; 1: the papers'. It was not tuned
    distillation: NonNegative = 3.0  # α, one_step: how closely π₁ follows the flow; a few times the largest Q
    temperature: Positive = 1.0  # β, aloe: by how many σ the advantage makes a chunk count e times as much
    weight_limit: NonNegative = 5.0  # c, aloe: no chunk counts more than e^c times as much as an average one, or less
    value_samples: Count = 4  # aloe: chunks that V is the mean of
    critic_steps: Count = 4  # G, steps in one call


class Values(NamedTuple):
    """Parameters that the critics' loss trains."""

    encoder: Params
    critics: Params


class Policies(NamedTuple):
    """Parameters that the policy's loss trains; ``one_step`` is empty unless it is the extraction."""

    flow: Params
    one_step: Params


class ChunkedState(NamedTuple):
    """Everything that learns."""

    values: Values
    target_values: Values
    policies: Policies
    value_optimiser: Any
    policy_optimiser: Any
    key: jax.Array


def create(key: jax.Array, layout: Layout, config: ChunkedConfig) -> ChunkedState:
    """A fresh agent."""
    encoder_key, critic_key, flow_key, one_step_key, key = jax.random.split(key, 5)
    features, size = encoder.size(layout), config.horizon * layout.action_size
    critics = critics_create(critic_key, features, size, config.hidden, config.critics, config.layer_norm)
    values = Values(encoder.create(encoder_key, layout), critics)
    one_step = flow_create(one_step_key, features, size, config.hidden) if config.extraction == "one_step" else {}
    policies = Policies(flow_create(flow_key, features, size, config.hidden), one_step)
    adam = optax.adam(config.learning_rate)
    state = ChunkedState(
        values=values,
        target_values=values,
        policies=policies,
        value_optimiser=adam.init(values),
        policy_optimiser=adam.init(policies),
        key=key,
    )
    return store(key, state, config.parameter_dtype)


def q_values(critics: Params, features: jax.Array, chunks: jax.Array) -> jax.Array:
    """``Q_i (E, n, N)`` of N ``chunks (n, N, k)`` for each of n ``features (n, f)``."""
    n, count, size = chunks.shape
    repeated = jnp.broadcast_to(features[:, None], (n, count, features.shape[-1])).reshape(n * count, -1)
    return critics_apply(critics, repeated, chunks.reshape(n * count, size)).reshape(-1, n, count)


def aggregate(q: jax.Array, config: ChunkedConfig) -> jax.Array:
    """Q from its members ``(E, …)``: their minimum for ``aloe``, their mean otherwise."""
    return q.min(axis=0) if config.extraction == "aloe" else q.mean(axis=0)


def one_step(params: Params, features: jax.Array, noise: jax.Array) -> jax.Array:
    """``π₁(s, z)`` before it is clipped to [−1, 1]: a flow that goes all the way in one step of Euler's method."""
    return noise + velocity(params, features, noise, 0.0)


def propose(
    policies: Policies, features: jax.Array, noise: jax.Array, config: ChunkedConfig, guide: Guide | None = None
) -> jax.Array:
    """Chunks ``(…, k)`` of the policy that the extraction acts by, for ``features (…, f)`` and ``noise (…, k)``.

    A flow follows ``guide``; one step leaves no way to be led on.
    """
    if config.extraction == "one_step":
        return jnp.clip(one_step(policies.one_step, features, noise), -1.0, 1.0)
    if guide is not None:
        return guided_sample(partial(velocity, policies.flow, features), noise, config.flow_steps, guide)
    return flow_sample(policies.flow, features, noise, config.flow_steps)


def choose(
    critics: Params,
    policies: Policies,
    features: jax.Array,
    noise: jax.Array,
    config: ChunkedConfig,
    guide: Guide | None = None,
) -> jax.Array:
    """The chunk ``(n, k)`` that the critics like best, of those that ``noise (n, N, k)`` leads to."""
    chunks = propose(policies, features[:, None], noise, config, guide)
    if noise.shape[1] == 1:
        return chunks[:, 0]
    best = aggregate(q_values(critics, features, chunks), config).argmax(axis=-1)
    return jnp.take_along_axis(chunks, best[:, None, None], axis=1)[:, 0]


def critic_target(key: jax.Array, state: ChunkedState, batch: Batch, config: ChunkedConfig) -> jax.Array:
    """y ``(n,)``."""
    count = config.samples if config.extraction == "best_of_n" else 1
    n, horizon, actions = batch.action.shape
    noise = jax.random.normal(key, (n, count, horizon * actions))
    features = encoder.features(state.values.encoder, batch.next_state, batch.next_images)
    chunk = choose(state.values.critics, state.policies, features, noise, config)
    features = encoder.features(state.target_values.encoder, batch.next_state, batch.next_images)
    value = aggregate(critics_apply(state.target_values.critics, features, chunk), config)
    rewards = batch.reward @ config.discount ** jnp.arange(horizon)
    target: jax.Array = rewards + config.discount**horizon * batch.mask * value
    return target


def fill(key: jax.Array, batch: Batch) -> jax.Array:
    """Chunks ``(n, k)``: the executed steps, and random ones after the end."""
    drawn = jax.random.uniform(key, batch.action.shape, minval=-1.0, maxval=1.0)
    return jnp.where(batch.valid[..., None] > 0.0, batch.action, drawn).reshape(len(batch.action), -1)


def whole(batch: Batch) -> jax.Array:
    """``(n,)``: 1 where all of the window's future is known: it ran to its end, or the task ended within."""
    return jnp.maximum(batch.valid[:, -1], 1.0 - batch.mask)


def critic_loss(
    values: Values, chunk: jax.Array, target: jax.Array, batch: Batch
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """L_Q over all members; Q ``(E, n)`` and the features ``(n, f)``."""
    features = encoder.features(values.encoder, batch.state, batch.images)
    q = critics_apply(values.critics, features, chunk)
    return (whole(batch) * (q - target) ** 2).mean(), (q, features)


def advantage_weight(
    key: jax.Array,
    critics: Params,
    flow: Params,
    features: jax.Array,
    chunk: jax.Array,
    known: jax.Array,
    config: ChunkedConfig,
) -> jax.Array:
    """w ``(n,)`` of ``aloe``, in units of the spread over the windows that are ``known (n,)``, i.e. `whole`."""
    noise = jax.random.normal(key, (len(chunk), config.value_samples, chunk.shape[-1]))
    proposed = flow_sample(flow, features[:, None], noise, config.flow_steps)
    q = aggregate(q_values(critics, features, jnp.concatenate((chunk[:, None], proposed), axis=1)), config)
    scores = standard_scores(q[:, 0] - q[:, 1:].mean(axis=1), jnp.abs(q[:, 0]), known)
    weight = jnp.exp(jnp.clip(scores / config.temperature, -config.weight_limit, config.weight_limit))
    return jax.lax.stop_gradient(weight)


def standard_scores(advantage: jax.Array, size: jax.Array, known: jax.Array) -> jax.Array:
    """``(A − Ā)/σ (n,)``, Ā and σ over the ``known (n,)`` ones; 0 where all are equal to the last digits.

    ``size (n,)`` is of the values that A is a difference of.
    """
    share = known / jnp.maximum(known.sum(), 1.0)
    centred = advantage - (share * advantage).sum()
    spread = jnp.sqrt((share * centred**2).sum())
    least = LEAST_SPREAD * (share * size).sum() + jnp.finfo(advantage.dtype).tiny
    return centred / jnp.maximum(spread, least)


def policy_loss(
    policies: Policies,
    key: jax.Array,
    critics: Params,
    features: jax.Array,
    chunk: jax.Array,
    batch: Batch,
    config: ChunkedConfig,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """L_π; ``features (n, f)`` are taken as given."""
    flow_key, noise_key = jax.random.split(key)
    features = jax.lax.stop_gradient(features)
    counts = jnp.where(batch.columns[EXAMPLE] > 0.0, 1.0, config.failed_weight)
    weight = counts[:, None] * jnp.repeat(batch.valid, batch.action.shape[-1], axis=-1)
    info = {}
    if config.extraction == "aloe":
        known = whole(batch)
        trust = advantage_weight(noise_key, critics, policies.flow, features, chunk, known, config)
        weight = weight * (known * trust)[:, None]
        info["policy/weight"] = trust.mean()
    imitation = flow_loss(policies.flow, flow_key, features, chunk, weight)
    info["policy/imitation"] = imitation
    if config.extraction != "one_step":
        return imitation, info
    noise = jax.random.normal(noise_key, chunk.shape)
    teacher = jax.lax.stop_gradient(flow_sample(policies.flow, features, noise, config.flow_steps))
    action = one_step(policies.one_step, features, noise)
    distance = ((action - teacher) ** 2).mean()
    q = critics_apply(critics, features, jnp.clip(action, -1.0, 1.0)).mean()
    return imitation + config.distillation * distance - q, info | {"policy/distance": distance, "policy/q": q}


def base_of(config: ChunkedConfig) -> Base:
    """The flow, and for ``one_step`` the policy that goes as it does, with the encoder that both see by."""

    def learnt(state: ChunkedState) -> tuple[Policies, Params]:
        return state.policies, state.values.encoder

    def replaced(state: ChunkedState, learnt: tuple[Policies, Params]) -> ChunkedState:
        policies, seen = learnt
        return state._replace(
            policies=policies,
            values=state.values._replace(encoder=seen),
            target_values=state.target_values._replace(encoder=seen),
        )

    return Base(
        optimiser=optax.adam(config.learning_rate),
        learnt=learnt,
        replace=replaced,
        loss=partial(imitation_loss, config=config),
        act=partial(act, config=replace(config, samples=1)),
        found=partial(found, config=config),
    )


def found(params: Mapping[str, jax.Array], config: ChunkedConfig) -> tuple[Policies, Params]:
    """Policies and encoder among the ``params`` that are `published`. Raises ValueError when they are not all there."""
    flow, seen = part(params, "flow"), part(params, encoder.NAME)
    if config.extraction == "one_step" or not flow:
        raise ValueError(
            "there is no flow of chunks among these parameters; agents chunked, dsrl, gorl, pa_rl and rlt publish one, "
            "but chunked with extraction=one_step does not, nor does that start from one"
        )
    return Policies(flow, {}), part(params, SEEN) or seen


def imitation_loss(learnt: tuple[Policies, Params], key: jax.Array, batch: Batch, config: ChunkedConfig) -> jax.Array:
    """L_flow of ``learnt`` = (policies, encoder), for ``one_step`` with the distance of π₁ to the flow beside it."""
    policies, seen = learnt
    batch = with_axis(batch)
    flow_key, noise_key, fill_key = jax.random.split(key, 3)
    features, chunk = encoder.features(seen, batch.state, batch.images), fill(fill_key, batch)
    weight = jnp.repeat(batch.valid, batch.action.shape[-1], axis=-1)
    loss = flow_loss(policies.flow, flow_key, features, chunk, weight)
    if config.extraction != "one_step":
        return loss
    noise = jax.random.normal(noise_key, chunk.shape)
    teacher = jax.lax.stop_gradient(flow_sample(policies.flow, features, noise, config.flow_steps))
    distance: jax.Array = ((one_step(policies.one_step, features, noise) - teacher) ** 2).mean()
    return loss + distance


def with_axis(batch: Batch) -> Batch:
    """``batch`` with the axis H, which windows of single steps come without."""
    if batch.reward.ndim > batch.mask.ndim:
        return batch
    return batch._replace(
        action=batch.action[..., None, :], reward=batch.reward[..., None], valid=jnp.ones_like(batch.mask)[..., None]
    )


def train_step(
    state: ChunkedState, key: jax.Array, batch: Batch, config: ChunkedConfig
) -> tuple[ChunkedState, dict[str, jax.Array]]:
    """One step of the critics, whose targets follow, and one of the policy, on one minibatch ``(n,)`` of windows."""
    fill_key, target_key, policy_key, image_key = jax.random.split(key, 4)
    batch = encoder.augment(image_key, batch)
    chunk = fill(fill_key, batch)
    target = critic_target(target_key, cast(state, config.dtype), batch, config)
    adam = optax.adam(config.learning_rate)

    (loss, (q, features)), gradient = value_and_grad(critic_loss, config.dtype)(state.values, chunk, target, batch)
    change, value_optimiser = adam.update(gradient, state.value_optimiser)
    values = optax.apply_updates(state.values, change)

    (policy, info), gradient = value_and_grad(policy_loss, config.dtype)(
        state.policies, policy_key, values.critics, features, chunk, batch, config
    )
    change, policy_optimiser = adam.update(gradient, state.policy_optimiser)
    state = ChunkedState(
        values=values,
        target_values=optax.incremental_update(values, state.target_values, config.target_rate),
        policies=optax.apply_updates(state.policies, change),
        value_optimiser=value_optimiser,
        policy_optimiser=policy_optimiser,
        key=state.key,
    )
    info |= {"critic/loss": loss, "critic/q_mean": q.mean(), "critic/target_mean": target.mean()}
    return state, info | {"policy/loss": policy}


@partial(jax.jit, static_argnames="config")
def update(state: ChunkedState, batch: Batch, config: ChunkedConfig) -> tuple[ChunkedState, dict[str, jax.Array]]:
    """G steps of critics and policy; ``batch`` has leading axes ``(G, n)``."""
    batch = with_axis(batch)
    state = cast(state, "float32")
    keys = jax.random.split(state.key, batch.reward.shape[0] + 1)
    state, rows = jax.lax.scan(lambda s, kb: train_step(s, *kb, config), state, (keys[1:], batch))
    info = {name: values.mean() for name, values in rows.items()}
    # Not finite as soon as one parameter is: a gradient can overflow where its loss does not.
    info |= {"critic/norm": optax.tree.norm(state.values), "policy/norm": optax.tree.norm(state.policies)}
    return store(keys[0], state._replace(key=keys[0]), config.parameter_dtype), info


def published(state: ChunkedState, config: ChunkedConfig) -> Params:
    """The parameters that `act` takes: the policy that acts, the critics if they choose, and the encoder."""
    policy = {"one_step": state.policies.one_step} if config.extraction == "one_step" else {"flow": state.policies.flow}
    critics = state.values.critics if _samples(config) > 1 else {}
    return join(**policy, critics=critics, encoder=state.values.encoder)


def act(
    params: Params,
    carry: Any,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    key: jax.Array,
    deterministic: bool,
    config: ChunkedConfig,
    guide: Guide | None = None,
) -> tuple[jax.Array, Any]:
    """A chunk ``(H, a)``; see `robot_rl.learner.agent.Agent.act`.

    Noise belongs to such a policy: it chooses between ways, and it frees an arm that friction holds, where the same
    chunk would push in vain for ever. So "deterministic" chunks are drawn as well.
    """
    policy = part(params, "one_step" if config.extraction == "one_step" else "flow")
    noise = jax.random.normal(key, (1, _samples(config), flow_size(policy)))
    policies = Policies(flow=policy, one_step=policy)  # the one of them that `propose` takes
    seen = encoder.see(params, state, images)
    chunk = choose(part(params, "critics"), policies, seen, noise, config, guide)
    return chunk.reshape(config.horizon, -1), carry


def _samples(config: ChunkedConfig) -> int:
    """Chunks that are chosen from when acting."""
    return config.samples if config.extraction == "best_of_n" else 1


def make_agent(config: ChunkedConfig | None = None) -> Agent:
    """Chunked TD by the contract that all agents share."""
    config = config or ChunkedConfig()
    return Agent(
        name="chunked",
        config=config,
        updates_per_call=config.critic_steps,
        create=partial(create, config=config),
        update=partial(update, config=config),
        actor=partial(published, config=config),
        act=partial(act, config=config),
        horizon=config.horizon,
        columns=(EXAMPLE,),
        base=base_of(config),
        guided=config.extraction != "one_step",
    )


AGENT = Algorithm(ChunkedConfig, make_agent)
