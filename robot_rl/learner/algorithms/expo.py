"""EXPO: an expressive policy that imitates, and a small one that corrects it for value (Dong et al., arXiv 2507.07986).

The base policy is a flow (`flow`) that only ever imitates the batch, so that no gradient of a critic has to go through
it. The edit policy is a tanh-Gaussian of features and action that may move an action by β at most. Neither acts alone:
the policy *on the fly* π* draws N actions a_k of the base and an edit of each, and takes the best of these 2N.

    w_k  ~ π_e(s, a_k),   ã_k = clip(a_k + β w_k, −1, 1)
    π*(s): argmax over {a_1 … a_N, ã_1 … ã_N} of min_{i∈S} Q̄_i(s, ·)

One call of `update` takes G minibatches: G critic steps, then one step of base, edit and temperature on the last.

    y    = r + γ m min_{i∈S'} Q̄_i(s', π*(s'))
    L_Q  = mean over members and batch of (Q_i(s, a) − y)²
    L_b  = flow matching of the batch's actions (`flow.flow_loss`), where a step that is no example (below) counts
           ``failed_weight``; what acts is an average of the weights, base̅
    L_e  = mean of α (log π_e(w|s, a) − |A| log β) − mean_i Q_i(s, clip(a + β w)),   a of the batch, w ~ π_e(s, a)
    L_α  = log α · (H_e − H̄),   H_e = −mean log π_e(w)

S and S': ``subset`` members each, drawn without replacement and independently of each other, once per minibatch (and S
for each action, when acting): who chooses does not value, for the best of 2N by the same critics is valued too high.
m is 0 where the task ended and 1 otherwise.

- *Entropy.* −|A| log β turns the density of w into that of the edit β w; it has no gradient. H_e and H̄ are those of w:
  an edit of half-width β cannot have an entropy above |A| log 2β, so a target fixed for the edit would mean something
  else for every β, and α would rise for ever below a certain one.
- *What acts is what averages*: base̅, target critics and, with cameras, the target encoder; in the backup, too, but for
  the base, whose newest weights it takes. Without noise (evaluation) N fixed draws, the edits' means and the mean of
  all Q̄_i take the place of chance: the minimum of two is pessimism for learning, the mean judges better.
- *Reach.* β says how far the critics may lead away from what the base does. The paper chooses it by task, from 0.05,
  where many demonstrations are near the best, to 0.7, where few are. The default lies in between and was not tuned:
  choose about as much of an action's range as the demonstrations are off. It is not learnt, since by the critics' word
  a longer reach is never worse, and every slope would lengthen it.
- *Examples* are the demonstrations and the episodes that returned as much as they do (``Batch.columns["example"]``).
  The paper imitates all alike, and with them every episode that failed or ran out of time.
- *Images* as in `rlpd`: the encoder is learnt by L_Q alone, base and edit see the features of the last critic step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Gt, Le

from robot_rl.contract import Layout
from robot_rl.contract.ranges import Count, Discount, Finite, Positive, RangeError, Rate, Share, Widths
from robot_rl.data.replay import EXAMPLE, Batch
from robot_rl.learner.agent import Agent, Algorithm, Base
from robot_rl.learner.algorithms.rlpd import alpha_loss, critic_step, draw_subset
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.flow import flow_create, flow_loss, flow_sample
from robot_rl.learner.networks.mlp import (
    Activation,
    Params,
    action_size_of,
    actor_apply,
    actor_create,
    critics_apply,
    critics_create,
    tanh_gaussian,
)
from robot_rl.learner.networks.parts import join, part
from robot_rl.learner.networks.precision import Precision, cast, store, value_and_grad


@dataclass(frozen=True)
class ExpoConfig(Precision):
    """Defaults: the paper's where no reason is given."""

    activation: ClassVar[Activation] = "relu"  # as `rlpd.critic_step` asks; not a setting
    hidden: Widths = (256, 256)  # width of the hidden layers, critics and edit policy
    base_hidden: Widths = (256, 256)  # the same of the base policy
    critics: Count = 10  # E, members of the ensemble
    subset: Count = 2  # |S|, members that judge the candidates
    layer_norm: bool = True  # in the critics: keeps them from extrapolating beyond the data
    candidates: Count = 8  # N, actions of the base, and as many edited ones
    base_steps: Count = 5  # Euler steps of the flow
    failed_weight: Share = 0.25  # of steps that are no example, in imitation; 1: the paper's. It was not tuned
    edit_scale: Annotated[float, Gt(0), Le(2)] = 0.3  # β, the largest edit; an action is in [−1, 1]. See Reach
    discount: Discount = 0.97  # γ: a reward 33 steps (3.3 s) away counts for 1/e
    learning_rate: Positive = 3e-4  # of base, edit, critics and temperature (Adam)
    target_rate: Rate = 0.005  # τ: how fast the target critics follow
    base_rate: Rate = 0.02  # how fast base̅ follows: it steps once where the critics step G times
    initial_temperature: Positive = 0.01  # α at the start
    target_entropy: Finite | None = None  # H̄ of w; None: −|A|
    critic_steps: Count = 4  # G, critic steps per step of the policies

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.subset > self.critics:
            raise RangeError(f"subset={self.subset} must be at most critics={self.critics}")


class ExpoState(NamedTuple):
    """Everything that learns; without cameras the encoders are empty."""

    base: Params
    target_base: Params
    edit: Params
    encoder: Params
    target_encoder: Params
    critics: Params
    target_critics: Params
    log_alpha: jax.Array
    base_optimiser: Any
    edit_optimiser: Any
    critic_optimiser: Any  # of encoder and critics
    alpha_optimiser: Any
    key: jax.Array


def create(key: jax.Array, layout: Layout, config: ExpoConfig) -> ExpoState:
    """A fresh agent."""
    base_key, edit_key, encoder_key, critic_key, key = jax.random.split(key, 5)
    features, actions = encoder.size(layout), layout.action_size
    base = flow_create(base_key, features, actions, config.base_hidden)
    edit = actor_create(edit_key, features + actions, actions, config.hidden)
    encoder_params = encoder.create(encoder_key, layout)
    critics = critics_create(critic_key, features, actions, config.hidden, config.critics, config.layer_norm)
    log_alpha = jnp.log(jnp.float32(config.initial_temperature))
    adam = optax.adam(config.learning_rate)
    state = ExpoState(
        base=base,
        target_base=base,
        edit=edit,
        encoder=encoder_params,
        target_encoder=encoder_params,
        critics=critics,
        target_critics=critics,
        log_alpha=log_alpha,
        base_optimiser=adam.init(base),
        edit_optimiser=adam.init(edit),
        critic_optimiser=adam.init((encoder_params, critics)),
        alpha_optimiser=adam.init(log_alpha),
        key=key,
    )
    return store(key, state, config.parameter_dtype)


def edited(edit: Params, key: jax.Array, features: jax.Array, action: jax.Array, scale: float) -> Any:
    """``ã (…, a)`` for ``action (…, a)`` at ``features (…, f)``, and ``log π_e(w) (…)``."""
    shift, log_prob = tanh_gaussian(key, *actor_apply(edit, jnp.concatenate((features, action), axis=-1)))
    return jnp.clip(action + scale * shift, -1.0, 1.0), log_prob


def on_the_fly(
    key: jax.Array, base: Params, edit: Params, critics: Params, features: jax.Array, config: ExpoConfig
) -> tuple[jax.Array, jax.Array]:
    """π*: the best candidate ``(n, a)`` at ``features (n, f)`` by the minimum of ``critics``, and this minimum.

    ``critics`` are the chosen members only.
    """
    noise_key, edit_key = jax.random.split(key)
    count, size = len(features), action_size_of(edit)
    noise = jax.random.normal(noise_key, (count, config.candidates, size))
    imitated = flow_sample(base, features[:, None], noise, config.base_steps)
    repeated = jnp.broadcast_to(features[:, None], (count, config.candidates, features.shape[-1]))
    changed, _ = edited(edit, edit_key, repeated, imitated, config.edit_scale)
    candidates = jnp.concatenate((imitated, changed), axis=1)
    value = candidate_values(critics, features, candidates).min(axis=0)
    best = value.argmax(axis=1)
    return jnp.take_along_axis(candidates, best[:, None, None], axis=1)[:, 0], value.max(axis=1)


def candidate_values(critics: Params, features: jax.Array, candidates: jax.Array) -> jax.Array:
    """``Q (members, n, C)`` of ``candidates (n, C, a)`` at ``features (n, f)``."""
    count, each, size = candidates.shape
    repeated = jnp.repeat(features, each, axis=0)
    return critics_apply(critics, repeated, candidates.reshape(count * each, size)).reshape(-1, count, each)


def critic_target(key: jax.Array, state: ExpoState, batch: Batch, config: ExpoConfig) -> jax.Array:
    """y ``(n,)``; ``batch.next_state`` is the features."""
    subset_key, policy_key, value_key = jax.random.split(key, 3)
    chooses, values = (drawn(k, state.target_critics, config) for k in (subset_key, value_key))
    action, _ = on_the_fly(policy_key, state.base, state.edit, chooses, batch.next_state, config)
    value = critics_apply(values, batch.next_state, action).min(axis=0)
    target: jax.Array = batch.reward + config.discount * batch.mask * value
    return target


def drawn(key: jax.Array, critics: Params, config: ExpoConfig) -> Params:
    """A subset of ``critics``."""
    chosen = draw_subset(key, config.critics, config.subset)
    subset: Params = jax.tree.map(lambda p: p[chosen], critics)
    return subset


def edit_loss(
    edit: Params, key: jax.Array, critics: Params, log_alpha: jax.Array, batch: Batch, scale: float
) -> tuple[jax.Array, jax.Array]:
    """L_e, and the entropy estimate H_e; ``batch.state`` is the features."""
    action, log_prob = edited(edit, key, batch.state, batch.action, scale)
    q = critics_apply(critics, batch.state, action).mean(axis=0)
    density = log_prob - action.shape[-1] * jnp.log(scale)
    return (jnp.exp(log_alpha) * density - q).mean(), -log_prob.mean()


def policy_step(
    state: ExpoState, key: jax.Array, batch: Batch, config: ExpoConfig
) -> tuple[ExpoState, dict[str, jax.Array]]:
    """One step of base, edit and temperature; ``batch.state`` is the features."""
    base_key, edit_key = jax.random.split(key)
    counts = jnp.where(batch.columns[EXAMPLE] > 0.0, 1.0, config.failed_weight)
    imitation, gradient = value_and_grad(flow_loss, config.dtype, has_aux=False)(
        state.base, base_key, batch.state, batch.action, counts[:, None]
    )
    base, base_optimiser = _descend(state.base, gradient, state.base_optimiser, config)

    (loss, entropy), gradient = value_and_grad(edit_loss, config.dtype)(
        state.edit, edit_key, state.critics, state.log_alpha, batch, config.edit_scale
    )
    edit, edit_optimiser = _descend(state.edit, gradient, state.edit_optimiser, config)

    goal = -1.0 * action_size_of(edit) if config.target_entropy is None else config.target_entropy
    slope = jax.grad(alpha_loss)(state.log_alpha, entropy, goal)
    log_alpha, alpha_optimiser = _descend(state.log_alpha, slope, state.alpha_optimiser, config)
    state = state._replace(
        base=base,
        target_base=optax.incremental_update(base, state.target_base, config.base_rate),
        edit=edit,
        log_alpha=log_alpha,
        base_optimiser=base_optimiser,
        edit_optimiser=edit_optimiser,
        alpha_optimiser=alpha_optimiser,
    )
    return state, {"base/loss": imitation, "edit/loss": loss, "edit/entropy": entropy}


@partial(jax.jit, static_argnames="config")
def update(state: ExpoState, batch: Batch, config: ExpoConfig) -> tuple[ExpoState, dict[str, jax.Array]]:
    """G critic steps, then one step of base, edit and temperature; ``batch`` has leading axes ``(G, n)``."""
    state = cast(state, "float32")
    keys = jax.random.split(state.key, batch.reward.shape[0] + 2)
    state, (seen, critic_info) = jax.lax.scan(
        lambda s, kb: critic_step(s, *kb, config, critic_target), state, (keys[2:], batch)
    )
    last = jax.tree.map(lambda column: column[-1], seen)
    state, policy_info = policy_step(state._replace(key=keys[0]), keys[1], last, config)
    info = {name: values.mean() for name, values in critic_info.items()} | policy_info
    info["temperature/alpha"] = jnp.exp(state.log_alpha)
    # Not finite as soon as one parameter is: a gradient can overflow where its loss does not.
    info |= {f"{name}/norm": optax.tree.norm(getattr(state, part)) for name, part in LEARNT.items()}
    state = store(keys[0], state, config.parameter_dtype)
    return state, info | ({"encoder/norm": optax.tree.norm(state.encoder)} if state.encoder else {})


LEARNT = {"critic": "critics", "actor": "edit", "base": "base"}  # metric → field


def published(state: ExpoState) -> Params:
    """The parameters that `act` takes."""
    return join(base=state.target_base, edit=state.edit, critics=state.target_critics, encoder=state.target_encoder)


def act(
    params: Params,
    carry: Any,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    key: jax.Array,
    deterministic: bool,
    config: ExpoConfig,
) -> tuple[jax.Array, Any]:
    """π*, as a chunk ``(1, a)``; see `robot_rl.learner.agent.Agent.act`."""
    base, edit, critics = (part(params, name) for name in ("base", "edit", "critics"))
    features = encoder.see(params, state, images)
    if deterministic:
        return best_without_noise(base, edit, critics, features, config), carry
    subset_key, policy_key = jax.random.split(key)
    subset = drawn(subset_key, critics, config)
    return on_the_fly(policy_key, base, edit, subset, features, config)[0], carry


def best_without_noise(
    base: Params, edit: Params, critics: Params, features: jax.Array, config: ExpoConfig
) -> jax.Array:
    """``(n, a)``: of candidates that are always the same at ``features (n, f)``, the best by the mean of all critics.

    They come of N fixed draws, the first one 0, and of the edits' means.
    """
    count, size = len(features), action_size_of(edit)
    noise = jax.random.normal(jax.random.PRNGKey(0), (config.candidates, size)).at[0].set(0.0)
    imitated = flow_sample(base, features[:, None], jnp.broadcast_to(noise, (count, *noise.shape)), config.base_steps)
    repeated = jnp.broadcast_to(features[:, None], (*imitated.shape[:2], features.shape[-1]))
    mean, _ = actor_apply(edit, jnp.concatenate((repeated, imitated), axis=-1))
    changed = jnp.clip(imitated + config.edit_scale * jnp.tanh(mean), -1.0, 1.0)
    candidates = jnp.concatenate((imitated, changed), axis=1)
    best = candidate_values(critics, features, candidates).mean(axis=0).argmax(axis=1)
    return jnp.take_along_axis(candidates, best[:, None, None], axis=1)[:, 0]


def act_alone(
    params: Params,
    carry: Any,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    key: jax.Array,
    deterministic: bool,
    config: ExpoConfig,
) -> tuple[jax.Array, Any]:
    """A draw of base̅, with no say of the critics."""
    features = encoder.see(params, state, images)
    noise = jax.random.normal(key, (1, action_size_of(part(params, "edit"))))
    return flow_sample(part(params, "base"), features, noise, config.base_steps), carry


def base_of(config: ExpoConfig) -> Base:
    """The base policy, with the encoder that it sees by."""

    def replaced(state: ExpoState, learnt: tuple[Params, Params]) -> ExpoState:
        base, seen = learnt
        return state._replace(base=base, target_base=base, encoder=seen, target_encoder=seen)

    def loss(learnt: tuple[Params, Params], key: jax.Array, batch: Batch) -> jax.Array:
        base, seen = learnt
        return flow_loss(base, key, encoder.features(seen, batch.state, batch.images), batch.action)

    return Base(
        optimiser=optax.adam(config.learning_rate),
        learnt=lambda state: (state.base, state.encoder),
        replace=replaced,
        loss=loss,
        act=partial(act_alone, config=config),
        found=found,
    )


def found(params: Mapping[str, jax.Array]) -> tuple[Params, Params]:
    """Base and encoder among the `published` ``params``. Raises ValueError when they are not there."""
    base = part(params, "base")
    if not base:
        raise ValueError("there is no base of agent expo among these parameters")
    return base, part(params, encoder.NAME)


def make_agent(config: ExpoConfig | None = None) -> Agent:
    """EXPO by the contract that all agents share."""
    config = config or ExpoConfig()
    return Agent(
        name="expo",
        config=config,
        updates_per_call=config.critic_steps,
        actor_share=1.0 / config.critic_steps,
        create=partial(create, config=config),
        update=partial(update, config=config),
        actor=published,
        act=partial(act, config=config),
        columns=(EXAMPLE,),
        base=base_of(config),
    )


def _descend(params: Any, gradient: Any, optimiser: Any, config: ExpoConfig) -> tuple[Any, Any]:
    """Parameters and optimiser state after one step of Adam."""
    change, optimiser = optax.adam(config.learning_rate).update(gradient, optimiser)
    return optax.apply_updates(params, change), optimiser


AGENT = Algorithm(ExpoConfig, make_agent)
