"""Imitation of a person's corrections, state by state as much as the person is sure (SiLRI, arXiv 2512.24288).

A person is no oracle: they are sure in free space and grope in contact. So their actions are modelled beside the agent,
and its policy may differ from them by as much as they differ from themselves:

    β(s) = N(μ_β, diag σ_β²), a Gaussian whose mean is under a tanh     L_β = −log β(a_h|s), of steps a person decided
    D(s) = ‖μ_π(s) − μ_β(s)‖²,   allowed: κ mean_j σ_β,j(s) + c         λ(s) = softplus(MLP(s)) ≥ 0
    L_λ  = −mean of λ(s) sg(D(s) − κ σ̄_β(s) − c)
    L_π  = mean of (ℓ(s) + sg λ(s) ‖sg μ_β(s) − μ_π(s)‖²) / (1 + sg λ(s)),   ℓ the loss of the agent within

λ(s) grows where the policy is further from the person than it may be, and imitation then counts more than value; where
the person's hand is unsure, σ_β is large, λ falls, and value decides. The division keeps the loss at its scale.

`weighted` puts this around any agent whose policy's loss goes through `weighed`; acting, critics and published
parameters are as without. Demonstrations are a person's steps too. Departures:

- a are the actions of the agent within: where a clone is edited (`learner.warm`), edits in units of their bound. So κ
  and c are not those of the paper's arm.
- ℓ is the agent's own loss, entropy and all; in the paper it is −Q of a deterministic policy.
- β learns at each step of the critics from the person's share of the minibatch; there it learns 500 steps first and 50
  for each 50 new corrections. Until it has made as many, λ counts as 0 and stays as it is.
- One step of λ a call, at ten times the published rate: a run here is minutes long, and at 3e-6 λ would stay where it
  begins, at log 2. This was reasoned, not measured.
- Of images, β has an encoder of its own, by whose features λ goes as well; there each has one.
- A gripper that the agent within chooses by a critic (`hil`) is not modelled; there it is imitated by cross-entropy.

σ_β says how much actions of the data differ, which is not how much a person knows: where there are none it means
nothing, and two ways of doing the same thing look like a groping hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from robot_rl.contract import Layout, Source
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.chunk_gaussian import gaussian_apply, gaussian_create, gaussian_loss
from robot_rl.learner.networks.mlp import Params, ensemble_apply, ensemble_create, last_layer

HIDDEN = (256, 256)  # of β and λ
FIRST = 500  # steps of β before λ counts
SPREADS = 6.0  # κ
MARGIN = 0.1  # c
PERSON_RATE = 3e-4  # of β (Adam)
MULTIPLIER_RATE = 3e-5  # of λ (Adam)
LARGEST_GRADIENT = 40.0  # norm of λ's beyond which it is cut
BESIDE = 1 << 28  # sets the draws of what is here apart from the agent's own of the same key
SOURCE, PERSON_ACTION, PERSON_WEIGHT = "source", "person_action", "person_weight"  # columns: recorded, μ_β, λ
PERSON_OPTIMISER = optax.adam(PERSON_RATE)
MULTIPLIER_OPTIMISER = optax.chain(optax.clip_by_global_norm(LARGEST_GRADIENT), optax.adam(MULTIPLIER_RATE))


class Person(NamedTuple):
    """Parameters of β; without cameras the encoder is empty."""

    encoder: Params
    policy: Params


class WeightedState(NamedTuple):
    """The agent within, β and λ; ``made``: steps of β."""

    inner: Any
    person: Person
    multiplier: Params
    person_optimiser: Any
    multiplier_optimiser: Any
    made: jax.Array
    key: jax.Array


class Judged(NamedTuple):
    """The person in some states: ``mean (n, a)``, ``spread (n,)`` which is σ̄, and ``weight (n,)`` which is λ."""

    mean: jax.Array
    spread: jax.Array
    weight: jax.Array


def weighed(loss: jax.Array, action: jax.Array, columns: Mapping[str, jax.Array]) -> jax.Array:
    """L_π of each state ``(n,)``, for ℓ = ``loss (n,)`` and μ_π = ``action (n, a)``.

    It is ``loss`` itself where the ``columns`` of the batch have no person in them.
    """
    if PERSON_WEIGHT not in columns:
        return loss
    weight = columns[PERSON_WEIGHT]
    return (loss + weight * ((action - columns[PERSON_ACTION]) ** 2).sum(axis=-1)) / (1.0 + weight)


def person_loss(person: Person, batch: Batch) -> jax.Array:
    """L_β, a mean over the numbers of those actions in a minibatch ``(n, …)`` that a person decided; 0 without any."""
    features = encoder.features(person.encoder, batch.state, batch.images)
    by_person = (batch.columns[SOURCE] == Source.PERSON).astype(jnp.float32)
    return gaussian_loss(person.policy, features, batch.action[:, None], by_person[:, None])


def judge(person: Person, multiplier: Params, batch: Batch) -> Judged:
    """The person in the states of a minibatch ``(n, …)``, and how much they count there."""
    features = encoder.features(person.encoder, batch.state, batch.images)
    mean, log_std = gaussian_apply(person.policy, features, 1)
    weight = jax.nn.softplus(ensemble_apply(multiplier, features)[0, :, 0])
    return Judged(mean[:, 0], jnp.exp(log_std[:, 0]).mean(axis=-1), weight)


def multiplier_loss(multiplier: Params, person: Person, batch: Batch, action: jax.Array) -> jax.Array:
    """L_λ for μ_π = ``action (n, a)``."""
    found = judge(person, multiplier, batch)
    excess = ((action - found.mean) ** 2).sum(axis=-1) - SPREADS * found.spread - MARGIN
    loss: jax.Array = -(found.weight * jax.lax.stop_gradient(excess)).mean()
    return loss


def weighted(agent: Agent) -> Agent:
    """``agent``, whose policy imitates a person by how sure they are. Raises ValueError without `Agent.mean`."""
    if agent.mean is None:
        raise ValueError(f"no loss of agent {agent.name} weighs imitation against value")
    mean_of = agent.mean

    def create(key: jax.Array, layout: Layout) -> WeightedState:
        keys = jax.random.split(jax.random.fold_in(key, BESIDE), 4)
        features = encoder.size(layout)
        axes = layout.action_size - (1 if layout.options and agent.chooses_options else 0)
        person = Person(encoder.create(keys[0], layout), gaussian_create(keys[1], features, axes, 1, HIDDEN))
        multiplier = ensemble_create(keys[2], (features, *HIDDEN, 1), 1, layer_norm=True)
        last = f"w{last_layer(multiplier)}"
        multiplier |= {last: jnp.zeros_like(multiplier[last])}
        return WeightedState(
            inner=agent.create(key, layout),
            person=person,
            multiplier=multiplier,
            person_optimiser=PERSON_OPTIMISER.init(person),
            multiplier_optimiser=MULTIPLIER_OPTIMISER.init(multiplier),
            made=jnp.int32(0),
            key=keys[3],
        )

    @jax.jit
    def update(state: WeightedState, batch: Batch) -> tuple[WeightedState, Mapping[str, jax.Array]]:
        axes = state.person.policy[f"b{last_layer(state.person.policy)}"].shape[-1] // 2
        seen = batch._replace(
            action=batch.action[..., :axes], next_images=None, columns={SOURCE: batch.columns[SOURCE]}
        )
        state, loss = _learn_person(state, seen)
        counts = (state.made >= FIRST).astype(jnp.float32)
        last = jax.tree.map(lambda column: column[-1], seen)
        multiplier, optimiser = _learn_multiplier(state, last, mean_of(state.inner, last))
        multiplier, optimiser = jax.tree.map(
            lambda new, old: jnp.where(counts > 0.0, new, old),
            (multiplier, optimiser),
            (state.multiplier, state.multiplier_optimiser),
        )
        found = jax.lax.map(lambda part: judge(state.person, multiplier, part), seen)
        known = {PERSON_ACTION: found.mean, PERSON_WEIGHT: counts * found.weight}
        inner, info = agent.update(state.inner, batch._replace(columns={**batch.columns, **known}))
        state = state._replace(inner=inner, multiplier=multiplier, multiplier_optimiser=optimiser)
        return state, {
            **info,
            "person/loss": loss,
            "person/spread": found.spread.mean(),
            "person/weight": known[PERSON_WEIGHT].mean(),
            "person/norm": optax.tree.norm((state.person, state.multiplier)),
        }

    def see(state: WeightedState, found: Mapping[str, Any]) -> WeightedState:
        return state._replace(inner=agent.see(state.inner, found))

    return agent._replace(
        create=create,
        update=update,
        actor=lambda state: agent.actor(state.inner),
        still=lambda state: state._replace(inner=agent.still(state.inner)),
        see=see,
        mean=None,
        columns=tuple(dict.fromkeys((*agent.columns, SOURCE))),
    )


def _learn_person(state: WeightedState, batch: Batch) -> tuple[WeightedState, jax.Array]:
    """A step of β on each minibatch ``(G, n, …)`` in which a person decided anything, and the mean loss."""
    keys = jax.random.split(state.key, len(batch.mask) + 1)

    def step(held: tuple[Person, Any, jax.Array], given: tuple[jax.Array, Batch]) -> tuple[Any, jax.Array]:
        (person, optimiser, made), (key, part) = held, given
        part = part._replace(images=encoder.shift(key, part.images))
        loss, gradient = jax.value_and_grad(person_loss)(person, part)
        change, after = PERSON_OPTIMISER.update(gradient, optimiser)
        any_of_person = (part.columns[SOURCE] == Source.PERSON).any()
        person, optimiser = jax.tree.map(
            lambda new, old: jnp.where(any_of_person, new, old),
            (optax.apply_updates(person, change), after),
            (person, optimiser),
        )
        return (person, optimiser, made + any_of_person), loss

    held = state.person, state.person_optimiser, state.made
    (person, optimiser, made), losses = jax.lax.scan(step, held, (keys[1:], batch))
    return state._replace(person=person, person_optimiser=optimiser, made=made, key=keys[0]), losses.mean()


def _learn_multiplier(state: WeightedState, batch: Batch, action: jax.Array) -> tuple[Params, Any]:
    """λ and its optimiser after a step on one minibatch ``(n, …)``, for μ_π = ``action (n, a)``."""
    gradient = jax.grad(multiplier_loss)(state.multiplier, state.person, batch, action)
    change, optimiser = MULTIPLIER_OPTIMISER.update(gradient, state.multiplier_optimiser)
    return optax.apply_updates(state.multiplier, change), optimiser
