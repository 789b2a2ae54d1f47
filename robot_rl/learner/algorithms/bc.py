"""Imitation of chunks: a policy of H actions at once that does what a person showed, and nothing else.

``model`` chooses: ``flow`` (`networks.chunk_flow`), ``diffusion`` (`networks.chunk_diffusion`), ``energy``
(`networks.chunk_energy`) or ``gaussian`` (`networks.chunk_gaussian`). The first three keep two ways round an obstacle
two ways, the last one goes between them.

    L  = the model's loss over the steps of a window that were executed, w = 1, and 0 after the episode's end

Only the average θ̄ (`networks.average`) acts, is published, and is judged on held-out episodes, always with the same
noise, a Gaussian by its mean alone: by its spread it is too sure of itself long before the mean is best. Acting samples
a chunk and hands out its first ``executed`` actions. Flow, diffusion and energy draw their noise in use too: it belongs
to such a policy. A Gaussian is its mean in use, with one draw of N(0, held_noise²) for each axis of the chunk, because
friction holds an arm that a mean hardly pushes (see `robot_rl.learner.warm`). Where the session wants chunks that take
up what is planned (``session.chunks=rtc``), a policy that learnt to continue a ``prefix`` begins with it, and a flow
that did not is guided there (`networks.guidance`).

`update` goes on imitating (DAgger; Ross et al., arXiv 1011.0686): a minibatch is of the demonstrations and of those
runs of online steps that a person drove, which replay keeps among them (``demo_share`` is 1). Of other windows, where
``learner.demo_share`` asks for them or nothing was demonstrated, those count that a person's step begins
(``Batch.columns["source"]``). Rewards are not looked at; γ is only what returns are counted by elsewhere.

**The most usual of several** (TACO; Yang et al., arXiv 2512.02834): with ``candidates`` M above 1 M chunks are drawn
from noise, and the one that is most like what was shown acts, by `networks.coin_flips` of the features and the
chunk. It is meant for demonstrations some of which go astray, since what few of them did is imitated, too, and drawn as
often. Counts are fitted to the policy's features once it has imitated, in `PASSES` over the demonstrations; those after
which L is least on held-out ones are kept.

The window's steps after the end repeat its last action, as what is beside the others in the network's input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from robot_rl.contract import Layout, Source
from robot_rl.contract.ranges import Count, Discount, Natural, NonNegative, Positive, RangeError, Widths
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent, Algorithm, Stage
from robot_rl.learner.algorithms.chunked import with_axis
from robot_rl.learner.networks import coin_flips, encoder
from robot_rl.learner.networks.average import followed
from robot_rl.learner.networks.chunk_diffusion import diffusion_loss, diffusion_sample
from robot_rl.learner.networks.chunk_energy import energy_loss, energy_sample
from robot_rl.learner.networks.chunk_flow import flow_loss, flow_sample
from robot_rl.learner.networks.chunk_gaussian import gaussian_apply, gaussian_create, gaussian_loss, mean_error
from robot_rl.learner.networks.coin_flips import Counts, coins, counts_create, counts_loss, rareness, see_prior
from robot_rl.learner.networks.guidance import Guide, guided_sample
from robot_rl.learner.networks.mixer import mixer_apply, mixer_create
from robot_rl.learner.networks.mlp import Params
from robot_rl.learner.networks.parts import join, part
from robot_rl.learner.networks.precision import Precision, cast, store, value_and_grad

Model = Literal["flow", "diffusion", "energy", "gaussian"]
SOURCE = "source"  # column: who decided a window's first step
JUDGE, DRAWS = 0, 4  # key of the noise that held-out demonstrations are judged with, and how many draws of it
LARGEST_GRADIENT = 10.0  # norm beyond which it is cut
PASSES = 16  # over the demonstrations, to count them
COUNTED = 16  # steps of `update` for one of the counts: at learner.utd=1 about as many passes over what comes in


@dataclass(frozen=True)
class BcConfig(Precision):
    """Defaults: sized for 2 cores."""

    model: Model = "flow"  # see above
    horizon: Count = 8  # H, actions of a chunk: 0.8 s
    executed: Count | None = None  # actions of a chunk that are acted by before the next one; unset: half, rounded up
    candidates: Count = 1  # M, all but gaussian: chunks that are drawn for the most usual one of them to act
    prefix: Natural = 0  # d_max, flow and diffusion: actions at most that a chunk learns to continue; 0: none
    steps: Count = 10  # from noise to a chunk: of Euler's method (flow), of DDIM (diffusion), at most (energy)
    noise_levels: Count = 100  # K, diffusion
    width: Count = 128  # channels of the network, all but gaussian
    blocks: Count = 2  # of the same
    hidden: Widths = (256, 256)  # width of the hidden layers, gaussian
    learning_rate: Positive = 1e-3  # AdamW
    decay: NonNegative = 1e-4  # of its weights
    held_noise: NonNegative = 0.1  # gaussian, in use
    discount: Discount = 0.97  # γ, of returns that are shown or compared; nothing is learnt by it
    critic_steps: Count = 1  # G, steps of imitation in one call of update; learner.utd sets it

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.acted > self.horizon:
            raise RangeError(f"executed={self.executed} must be at most horizon={self.horizon}")
        if self.prefix >= self.horizon:
            raise RangeError(f"prefix={self.prefix} must be below horizon={self.horizon}")
        if self.model in ("energy", "gaussian") and self.prefix:
            raise RangeError(
                f"prefix={self.prefix} is for model=flow and model=diffusion; {self.model} continues nothing"
            )
        if self.model == "gaussian" and self.candidates > 1:
            raise RangeError(
                f"candidates={self.candidates} is for flow, diffusion and energy; a Gaussian is its mean in use"
            )
        if self.model == "diffusion" and self.steps > self.noise_levels:
            raise RangeError(f"steps={self.steps} must be at most noise_levels={self.noise_levels}")

    @property
    def acted(self) -> int:
        """s: actions of a chunk that are handed out."""
        return (self.horizon + 1) // 2 if self.executed is None else self.executed

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """Of imitation, before learning and in it."""
        adam = optax.adamw(self.learning_rate, weight_decay=self.decay)
        return optax.chain(optax.clip_by_global_norm(LARGEST_GRADIENT), adam)


class Imitator(NamedTuple):
    """Parameters of a policy; without cameras the encoder is empty."""

    encoder: Params
    policy: Params


class BcState(NamedTuple):
    """Everything that learns: θ, θ̄, the steps k ``made``, and `Counts` where candidates are chosen among, or None."""

    learnt: Imitator
    average_actor: Imitator
    policy_optimiser: Any
    made: jax.Array
    counts: Any
    counts_optimiser: Any
    key: jax.Array


def create(key: jax.Array, layout: Layout, config: BcConfig) -> BcState:
    """A fresh agent."""
    encoder_key, policy_key, key = jax.random.split(key, 3)
    features, size = encoder.size(layout), layout.action_size
    if config.model == "gaussian":
        policy = gaussian_create(policy_key, features, size, config.horizon, config.hidden)
    else:
        policy = mixer_create(policy_key, features, size, config.horizon, config.width, config.blocks)
    learnt = Imitator(encoder.create(encoder_key, layout), policy)
    counts = None
    if config.candidates > 1:
        counts = counts_create(jax.random.fold_in(policy_key, 1), features + config.horizon * size)
    state = BcState(
        learnt=learnt,
        average_actor=learnt,
        policy_optimiser=config.optimiser.init(learnt),
        made=jnp.int32(0),
        counts=counts,
        counts_optimiser=() if counts is None else config.optimiser.init(counts.learnt),
        key=key,
    )
    return store(key, state, config.parameter_dtype)


def padded(batch: Batch) -> jax.Array:
    """Chunks ``(n, H, a)``: the executed steps, then the last of them again and again."""
    last = batch.valid.sum(axis=-1, keepdims=True).astype(jnp.int32) - 1
    rows = jnp.minimum(jnp.arange(batch.action.shape[-2]), jnp.maximum(last, 0))
    chunk: jax.Array = jnp.take_along_axis(batch.action, rows[..., None], axis=-2)
    return chunk


def weight_of(batch: Batch) -> jax.Array:
    """w ``(n, H)`` of the steps: 1 where they were executed and a person's begins the window."""
    weight: jax.Array = batch.valid
    if SOURCE in batch.columns:
        weight = weight * (batch.columns[SOURCE] == Source.PERSON)[..., None]
    return weight


def loss_of(learnt: Imitator, key: jax.Array, batch: Batch, config: BcConfig) -> jax.Array:
    """L of a minibatch ``(n, …)`` of windows."""
    features = encoder.features(learnt.encoder, batch.state, batch.images)
    chunk, weight = padded(batch), weight_of(batch)
    if config.model == "gaussian":
        return gaussian_loss(learnt.policy, features, chunk, weight)
    if config.model == "energy":
        return energy_loss(learnt.policy, key, features, chunk, weight)
    if config.model == "diffusion":
        return diffusion_loss(learnt.policy, key, features, chunk, weight, config.noise_levels, config.prefix)
    return flow_loss(learnt.policy, key, features, chunk, weight, config.prefix)


def train_step(state: BcState, key: jax.Array, batch: Batch, config: BcConfig) -> tuple[BcState, jax.Array]:
    """One step on one minibatch ``(n, …)`` of windows; the average follows. The loss before it."""
    shift_key, loss_key = jax.random.split(key)
    batch = batch._replace(images=encoder.shift(shift_key, batch.images))
    loss, gradient = value_and_grad(partial(loss_of, config=config), config.dtype, has_aux=False)(
        state.learnt, loss_key, batch
    )
    change, optimiser = config.optimiser.update(gradient, state.policy_optimiser, state.learnt)
    learnt = optax.apply_updates(state.learnt, change)
    average = followed(state.average_actor, learnt, state.made)
    learnt_on = {"learnt": learnt, "average_actor": average, "policy_optimiser": optimiser, "made": state.made + 1}
    return state._replace(**learnt_on), loss


def counted(average: Imitator, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """Samples ``(n, k)`` that windows ``(n, …)`` are counted by, features and chunk, and their coins."""
    chunk = padded(batch).reshape(len(batch.mask), -1)
    samples = sample_of(encoder.features(average.encoder, batch.state, batch.images), chunk)
    return samples, coins(jnp.concatenate((batch.state, chunk), axis=-1))


def sample_of(features: jax.Array, chunk: jax.Array) -> jax.Array:
    """``(n, k)`` of ``features (n, f)`` and ``chunk (n, …)``."""
    return jnp.concatenate((features, chunk.reshape(len(chunk), -1)), axis=-1)


def count_step(state: BcState, key: jax.Array, batch: Batch, config: BcConfig) -> tuple[BcState, jax.Array]:
    """One step of the counts, which there are, on one minibatch ``(n, …)`` of windows; the loss before it."""
    samples, flipped = counted(cast(state.average_actor, config.dtype), batch)
    weight = weight_of(batch)[:, 0]
    counts = see_prior(cast(state.counts, config.dtype), samples, weight)

    def loss_by(learnt: Params, fixed: Counts) -> jax.Array:
        return counts_loss(fixed._replace(learnt=learnt), samples, flipped, weight)

    learnt = state.counts.learnt
    loss, gradient = value_and_grad(loss_by, config.dtype, has_aux=False)(learnt, counts)
    change, optimiser = config.optimiser.update(gradient, state.counts_optimiser, learnt)
    counts = counts._replace(learnt=optax.apply_updates(learnt, change), prior=state.counts.prior)
    return state._replace(counts=counts, counts_optimiser=optimiser), loss


def _steps(
    state: BcState, batch: Batch, config: BcConfig, step: Callable[..., tuple[BcState, jax.Array]] = train_step
) -> tuple[BcState, jax.Array]:
    """A ``step`` on each minibatch of ``batch (G, n, …)``, and the mean loss."""
    batch, state = with_axis(batch), cast(state, "float32")
    keys = jax.random.split(state.key, len(batch.mask) + 1)
    state, losses = jax.lax.scan(lambda s, kb: step(s, *kb, config), state, (keys[1:], batch))
    return store(keys[0], state._replace(key=keys[0]), config.parameter_dtype), losses.mean()


@partial(jax.jit, static_argnames="config")
def update(state: BcState, batch: Batch, config: BcConfig) -> tuple[BcState, dict[str, jax.Array]]:
    """G steps, and at most one of the counts, for `COUNTED` of these; ``batch`` has leading axes ``(G, n)``."""
    state, loss = _steps(state, batch, config)
    # Not finite as soon as one parameter is: a gradient can overflow where its loss does not.
    info = {"policy/loss": loss, "policy/norm": optax.tree.norm(cast(state.learnt, "float32"))}
    if config.candidates > 1:
        one = jax.tree.map(lambda column: column[:1], batch)
        state = jax.lax.cond(
            state.made % COUNTED < config.critic_steps,
            lambda state: _steps(state, one, config, count_step)[0],
            lambda state: state,
            state,
        )
        info["counts/norm"] = optax.tree.norm(cast(state.counts.learnt, "float32"))
    return state, info


@partial(jax.jit, static_argnames="config")
def imitate(state: BcState, batch: Batch, config: BcConfig) -> tuple[BcState, dict[str, jax.Array]]:
    """Steps on demonstrations alone; ``batch`` has leading axes ``(steps, n)``."""
    state, loss = _steps(state, batch, config)
    return state, {"imitation/loss": loss}


@partial(jax.jit, static_argnames="config")
def imitation_loss(state: BcState, batch: Batch, config: BcConfig) -> jax.Array:
    """L of the average over held-out windows ``(n, …)``, by `DRAWS` draws of noise that are always the same."""
    batch, average = with_axis(batch), state.average_actor
    if config.model == "gaussian":
        features = encoder.features(average.encoder, batch.state, batch.images)
        return mean_error(average.policy, features, padded(batch), weight_of(batch))
    keys = jax.random.split(jax.random.PRNGKey(JUDGE), DRAWS)
    losses: jax.Array = jax.lax.map(lambda key: loss_of(average, key, batch, config), keys)
    return losses.mean()


@partial(jax.jit, static_argnames="config")
def count(state: BcState, batch: Batch, config: BcConfig) -> tuple[BcState, dict[str, jax.Array]]:
    """Steps of the counts on demonstrations alone; ``batch`` has leading axes ``(steps, n)``."""
    state, loss = _steps(state, batch, config, count_step)
    return state, {"imitation/loss": loss}


@partial(jax.jit, static_argnames="config")
def count_loss(state: BcState, batch: Batch, config: BcConfig) -> jax.Array:
    """L of the counts over held-out windows ``(n, …)``."""
    batch = with_axis(batch)
    return counts_loss(state.counts, *counted(state.average_actor, batch), weight_of(batch)[:, 0])


def act(
    params: Params,
    carry: Any,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    key: jax.Array,
    deterministic: bool,
    config: BcConfig,
    guide: Guide | None = None,
) -> tuple[jax.Array, Any]:
    """The first s actions ``(s, a)`` of a chunk; see `robot_rl.learner.agent.Agent.act`."""
    features, policy = encoder.see(params, state, images), part(params, config.model)
    if config.model == "gaussian":
        mean, log_std = gaussian_apply(policy, features, config.horizon)
        held = config.held_noise * jax.random.normal(key, (1, 1, mean.shape[-1]))
        noise = held if deterministic else jnp.exp(log_std) * jax.random.normal(key, mean.shape)
        chunk = jnp.clip(mean + noise, -1.0, 1.0)
    else:
        noise = jax.random.normal(key, (config.candidates, config.horizon, policy["out/b"].shape[-1]))
        chunk = sample(policy, features, noise, config, guide)
        if config.candidates > 1:
            seen = jnp.broadcast_to(features, (config.candidates, features.shape[-1]))
            chunk = chunk[rareness(coin_flips.found_in(params), sample_of(seen, chunk)).argmin()][None]
    return chunk[0, : config.acted], carry


def sample(
    policy: Params, features: jax.Array, noise: jax.Array, config: BcConfig, guide: Guide | None = None
) -> jax.Array:
    """Chunks ``(n, H, a)`` that ``noise (n, H, a)`` leads to, for ``features (n, f)`` or ``(1, f)``.

    Those of a flow and a diffusion take up the plan of ``guide``: beginning with its first actions, those that act
    anyway but d_max at most, if that was learnt (``prefix``); else a flow is guided there.
    """
    if config.model == "energy":
        return energy_sample(policy, features, noise, config.steps)
    given, count = None, jnp.int32(0)
    if guide is not None and config.prefix:
        given, count = guide.target, jnp.minimum((guide.weight >= 1.0).sum(), config.prefix)
    if config.model == "diffusion":
        return diffusion_sample(policy, features, noise, config.steps, config.noise_levels, given, count)
    if guide is None or config.prefix:
        return flow_sample(policy, features, noise, config.steps, given, count)

    def velocity(x: jax.Array, t: float) -> jax.Array:
        return mixer_apply(policy, features, x.reshape(noise.shape), jnp.full((1,), t)).reshape(x.shape)

    return guided_sample(velocity, noise.reshape(len(noise), -1), config.steps, guide).reshape(noise.shape)


def published(state: BcState, config: BcConfig) -> Params:
    """θ̄, the policy's part under the name of its model, and the counts where candidates are chosen among."""
    average = state.average_actor
    counts = {} if state.counts is None else state.counts.published
    return join(**{config.model: average.policy, encoder.NAME: average.encoder}, **counts)


def adopt(state: BcState, params: Mapping[str, Any], config: BcConfig) -> BcState:
    """``state`` that begins at a policy of the same model among the published ``params``; see `Agent.adopt`."""
    given = Imitator(part(params, encoder.NAME), part(params, config.model))
    if not given.policy:
        raise ValueError(f"no {config.model} of agent bc is among these parameters; robot-rl pretrain makes one")
    if jax.tree.map(jnp.shape, given) != jax.tree.map(jnp.shape, state.average_actor):
        raise ValueError(f"the {config.model} among these parameters is for states, actions or images of other sizes")
    learnt = jax.tree.map(jnp.asarray, given)
    if config.candidates > 1:
        if not part(params, "counts"):
            raise ValueError(f"no counts are among these parameters, which candidates={config.candidates} chooses by")
        counts = jax.tree.map(jnp.asarray, coin_flips.found_in(params))
        state = state._replace(
            counts=cast(counts, config.parameter_dtype), counts_optimiser=config.optimiser.init(counts.learnt)
        )
    return state._replace(
        learnt=cast(learnt, config.parameter_dtype),
        average_actor=learnt,
        policy_optimiser=config.optimiser.init(learnt),
        made=jnp.int32(0),
    )


def make_agent(config: BcConfig | None = None) -> Agent:
    """Imitation of chunks by the contract that all agents share."""
    config = config or BcConfig()
    return Agent(
        name="bc",
        config=config,
        updates_per_call=config.critic_steps,
        create=partial(create, config=config),
        update=partial(update, config=config),
        actor=partial(published, config=config),
        act=partial(act, config=config),
        horizon=config.horizon,
        demo_share=1.0,
        bootstraps=False,
        columns=(SOURCE,),
        imitate=partial(imitate, config=config),
        imitation_loss=partial(imitation_loss, config=config),
        then=Stage("counts", config.horizon, PASSES, partial(count, config=config), partial(count_loss, config=config))
        if config.candidates > 1
        else None,
        guided=config.model == "flow" or config.prefix > 0,
        adopt=partial(adopt, config=config),
    )


AGENT = Algorithm(BcConfig, make_agent)
