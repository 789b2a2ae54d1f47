"""Start from the clone: any agent whose actions are single steps learns an edit of what the person showed.

    π(s) = clip(c(s) + β δ(s), −1, 1)

c is a network that imitates the demonstrations (`networks.clone`), trained once before all else and then left alone; δ
is the action of the agent within, which knows nothing of it: a step (s, a) of the data is to it one with the action
δ = clip((a − c(s)) / β, −1, 1). Its policy begins near δ = 0 (`Agent.still`), so the arm begins as the clone; β bounds
how far a critic that errs can lead away from it, to where data are. Without demonstrations π = δ. A last axis that
takes one of several values, a gripper's, is no matter of degree: there β = 2, or, where the agent chooses the value by
itself (`hil`), π is its choice.

With ``koopman`` = k, δ sees beside s the k Koopman features ẑ'(s, c(s)) that the clone's action is expected to lead to
(`networks.koopman`; KORR, residual reinforcement learning on them). They are learnt with the clone, and on with δ;
without demonstrations c(s) is what a clone says that has seen nothing, which features can tell from other actions.

Who acts in an episode, the clone alone or π, is decided by what their episodes returned (`trust`). Friction holds an
arm that a mean hardly pushes, and for ever, since nothing changes then. So whatever has no noise of its own, the clone
always and π where it does not explore, has a small one that is held, ε of `networks.noise`: clip(… + σ ε, −1, 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Gt, Le

from robot_rl.contract import Layout
from robot_rl.contract.ranges import Natural, NonNegative, Positive
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent
from robot_rl.learner.networks import clone, encoder, koopman
from robot_rl.learner.networks.clone import Clone
from robot_rl.learner.networks.mlp import Params
from robot_rl.learner.networks.noise import HeldNoise, hold, no_noise
from robot_rl.learner.networks.parts import join, part
from robot_rl.learner.networks.precision import Precision

WHOLE_REACH = 2.0  # β with which an edit makes any action of any other
Start = Literal["clone", "flow", "diffusion"]
BESIDE = 1 << 29  # sets the draws of what is here apart from the agent's own of the same key


@dataclass(frozen=True, kw_only=True)
class WarmConfig(Precision):
    """The settings of an agent that can start from a clone."""

    edit: Annotated[float, Gt(0), Le(2)] = 0.5  # β, the largest edit of the clone's action, which is in [−1, 1]
    held_noise: NonNegative = 0.1  # σ
    imitation_rate: Positive = 5e-4  # of the clone's optimiser (AdamW)
    imitation_decay: NonNegative = 1e-4  # of its weights
    koopman: Natural = 0  # k: Koopman features that an edit sees beside the state; 0: none
    start: Start = "clone"  # what acts until more is learnt: the clone, or chunks beside it (`beside`)

    @property
    def imitation_optimiser(self) -> optax.GradientTransformation:
        """That of the clone."""
        return optax.adamw(self.imitation_rate, weight_decay=self.imitation_decay)


class WarmState(NamedTuple):
    """The agent within and the clone; ``started`` is 1 where there is one, ``reach`` is β of each axis.

    ``ahead``: what finds Koopman features; empty where there are none.
    ``explores, leads``: whether π acts while exploring and without noise, or the clone alone.
    """

    inner: Any
    clone: Clone
    clone_optimiser: Any
    started: jax.Array
    reach: jax.Array
    ahead: Params
    ahead_optimiser: Any
    explores: jax.Array
    leads: jax.Array
    key: jax.Array


class WarmCarry(NamedTuple):
    """The carry of the agent within, and the clone's noise."""

    inner: Any
    held: HeldNoise


def widened(ahead: Params, state: jax.Array, imitated: jax.Array) -> jax.Array:
    """``state (…, d)`` with the Koopman features beside it that ``imitated (…, a)`` is expected to lead to."""
    if not ahead:
        return state
    features = jax.lax.stop_gradient(koopman.predict(ahead, state, imitated))
    return jnp.concatenate((state, features), axis=-1)


def reach_of(layout: Layout, agent: Agent) -> jax.Array:
    """β of each axis ``(a,)``; 0 where the agent within decides alone."""
    reach = jnp.full(layout.action_size, agent.config.edit, jnp.float32)
    if layout.options:
        reach = reach.at[-1].set(0.0 if agent.chooses_options else WHOLE_REACH)
    return reach


def edit_of(action: jax.Array, imitated: jax.Array, reach: jax.Array) -> jax.Array:
    """δ ``(…, a)`` that makes ``action (…, a)`` of ``imitated (…, a)``, for β = ``reach (a,)``."""
    free = reach == 0.0
    return jnp.where(free, action, jnp.clip((action - imitated) / jnp.where(free, 1.0, reach), -1.0, 1.0))


def edited(imitated: jax.Array, edit: jax.Array, reach: jax.Array) -> jax.Array:
    """π: the action ``(…, a)`` of ``imitated (…, a)`` and δ, for β = ``reach (a,)``."""
    return jnp.where(reach == 0.0, edit, jnp.clip(imitated + reach * edit, -1.0, 1.0))


def warm(agent: Agent) -> Agent:
    """``agent``, whose config is a `WarmConfig`, started from a clone."""
    config: WarmConfig = agent.config
    of_ahead = optax.adam(config.imitation_rate)

    def within(layout: Layout) -> Layout:
        """The layout that the agent within has."""
        return replace(layout, state_size=layout.state_size + config.koopman)

    def create(key: jax.Array, layout: Layout) -> WarmState:
        made = clone.create(jax.random.fold_in(key, BESIDE), layout)
        ahead_key = jax.random.fold_in(key, BESIDE + 2)
        ahead = koopman.create(ahead_key, layout.state_size, layout.action_size, config.koopman)
        return WarmState(
            inner=agent.create(key, within(layout)),
            clone=made,
            clone_optimiser=config.imitation_optimiser.init(made),
            started=jnp.float32(0.0),
            reach=reach_of(layout, agent),
            ahead=ahead,
            ahead_optimiser=of_ahead.init(ahead) if ahead else (),
            explores=jnp.float32(0.0),
            leads=jnp.float32(0.0),
            key=jax.random.fold_in(key, BESIDE + 1),
        )

    def begun(inner: Any, made: Clone) -> Any:
        """``inner`` as it learns on from the clone: it edits nothing, and sees what the clone sees."""
        return agent.see(agent.still(inner), made.encoder)

    @jax.jit
    def update(state: WarmState, batch: Batch) -> tuple[WarmState, Mapping[str, jax.Array]]:
        def imitate_all(part: Batch) -> jax.Array:
            return clone.apply(state.clone, part.state, part.images)

        imitated = jax.lax.map(imitate_all, batch._replace(next_images=None, columns={}))
        action = jnp.where(state.started > 0.0, edit_of(batch.action, imitated, state.reach), batch.action)
        seen = batch._replace(action=action)
        if state.ahead:
            after = batch._replace(state=batch.next_state, images=batch.next_images, next_images=None, columns={})
            states = widened(state.ahead, batch.state, imitated)
            seen = seen._replace(
                state=states, next_state=widened(state.ahead, batch.next_state, jax.lax.map(imitate_all, after))
            )
        inner, info = agent.update(state.inner, seen)
        learnt = state._replace(inner=inner)
        if not state.ahead:
            return learnt, info
        ahead, optimiser, loss = look_ahead(state.ahead, state.ahead_optimiser, jax.tree.map(_last, batch))
        # The norm is not finite as soon as one parameter is: a gradient can overflow where its loss does not.
        told = {"koopman/loss": loss, "koopman/norm": optax.tree.norm(ahead)}
        return learnt._replace(ahead=ahead, ahead_optimiser=optimiser), {**info, **told}

    def look_ahead(ahead: Params, optimiser: Any, batch: Batch) -> tuple[Params, Any, jax.Array]:
        """A step of what finds Koopman features, on a minibatch ``(n, …)``; its loss."""
        loss, slope = jax.value_and_grad(koopman.loss)(ahead, batch.state, batch.action, batch.next_state)
        change, optimiser = of_ahead.update(slope, optimiser)
        return optax.apply_updates(ahead, change), optimiser, loss

    @jax.jit
    def imitate(state: WarmState, batch: Batch) -> tuple[WarmState, Mapping[str, jax.Array]]:
        key, shift_key = jax.random.split(state.key)

        def step(learnt: tuple[Any, ...], given: tuple[jax.Array, Batch]) -> tuple[tuple[Any, ...], jax.Array]:
            (made, optimiser, ahead, of_features), (one, part) = learnt, given
            part = part._replace(images=encoder.shift(one, part.images))
            loss, gradient = jax.value_and_grad(clone.loss)(made, part)
            change, optimiser = config.imitation_optimiser.update(gradient, optimiser, made)
            if ahead:
                ahead, of_features, _ = look_ahead(ahead, of_features, part)
            return (optax.apply_updates(made, change), optimiser, ahead, of_features), loss

        keys = jax.random.split(shift_key, len(batch.reward))
        begin = state.clone, state.clone_optimiser, state.ahead, state.ahead_optimiser
        (made, optimiser, ahead, of_features), losses = jax.lax.scan(step, begin, (keys, batch))
        state = state._replace(
            inner=begun(state.inner, made),
            clone=made,
            clone_optimiser=optimiser,
            ahead=ahead,
            ahead_optimiser=of_features,
            started=jnp.float32(1.0),
            key=key,
        )
        return state, {"imitation/loss": losses.mean()}

    def actor(state: WarmState) -> Params:
        start = {name: getattr(state, name) for name in ("started", "reach", "explores", "leads")}
        learnt = {"edit": agent.actor(state.inner), "clone": state.clone.policy, "seen": state.clone.encoder}
        return join(**learnt, start=start, ahead=state.ahead)

    def turn(state: WarmState, explores: float, leads: float) -> WarmState:
        return state._replace(explores=jnp.float32(explores), leads=jnp.float32(leads))

    def adopt(state: WarmState, params: Mapping[str, Any]) -> WarmState:
        if not part(params, "start").get("started", 0.0):
            raise ValueError("no clone is among these parameters; robot-rl pretrain makes one")
        given = Clone(encoder=part(params, "seen"), policy=part(params, "clone"))
        shapes = [
            {name: jnp.shape(value) for name, value in network.items()}
            for pair in zip(given, state.clone, strict=True)
            for network in pair
        ]
        if shapes[0] != shapes[1] or shapes[2] != shapes[3]:
            raise ValueError("the clone among these parameters is for states, actions or images of other sizes")
        made, ahead = jax.tree.map(jnp.asarray, (given, part(params, "ahead")))
        if jax.tree.map(jnp.shape, ahead) != jax.tree.map(jnp.shape, state.ahead):
            ahead = state.ahead  # there were none, or others: they are learnt with the edit
        return state._replace(inner=begun(state.inner, made), clone=made, started=jnp.float32(1.0), ahead=ahead)

    def carry(layout: Layout) -> WarmCarry:
        return WarmCarry(agent.carry(within(layout)), no_noise(layout))

    return agent._replace(
        create=create,
        update=update,
        actor=actor,
        act=partial(_act, inner=agent.act, config=config),
        carry=carry,
        turn=turn,
        adopt=adopt,
        imitate=imitate,
        imitation_loss=jax.jit(lambda state, batch: clone.loss(state.clone, batch)),
    )


def _act(
    params: Params,
    carry: WarmCarry,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    key: jax.Array,
    deterministic: bool,
    inner: Any,
    config: WarmConfig,
) -> tuple[jax.Array, WarmCarry]:
    made = Clone(part(params, "seen"), part(params, "clone"))
    imitated = clone.apply(made, state[None], {name: image[None] for name, image in images.items()})
    seen = widened(part(params, "ahead"), state[None], imitated)[0]
    edit, within = inner(part(params, "edit"), carry.inner, seen, images, key, deterministic)
    start = part(params, "start")
    edits = start["leads" if deterministic else "explores"] > 0.0
    held = hold(jax.random.fold_in(key, BESIDE), carry.held)
    quiet = jnp.where(edits & (not deterministic), 0.0, config.held_noise)
    chosen = jnp.where(edits, edited(imitated, edit, start["reach"]), imitated)
    warmed = jnp.clip(chosen + quiet * held.noise, -1.0, 1.0)
    return jnp.where(start["started"] > 0.0, warmed, edit), WarmCarry(within, held)


def _last(column: jax.Array) -> jax.Array:
    """The last minibatch of a ``column (G, n, …)``."""
    return column[-1]
