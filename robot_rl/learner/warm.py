"""Start from the clone: any agent whose actions are single steps learns an edit of what the person showed.

    π(s) = clip(c(s) + β δ(s), −1, 1)

c is a network that imitates the demonstrations (`networks.clone`), trained once before all else and then left alone; δ
is the action of the agent within, in [−1, 1], which knows nothing of it: a step (s, a) of the data is to it one with
the action δ = clip((a − c(s)) / β, −1, 1). Its policy begins near δ = 0 (`Agent.still`), so the arm begins as the
clone; β bounds how far a critic that errs can lead away from it, to where data are. Without demonstrations c = 0 and
π = δ. A last axis that takes one of several values, a gripper's, is no matter of degree: there β = 2, or, where the
agent chooses the value by itself (`hil`), π is its choice.

Friction holds an arm that a mean hardly pushes, and for ever, since nothing changes then. So whatever has no noise of
its own, the clone always and π where it does not explore, has a small one that is held, ε of `networks.noise`:
clip(… + σ ε, −1, 1).

**A clone that is drawn** (``clone=drawn``), c(s, w), needs no other noise: w ~ N(0, I) serves ``hold`` steps in a row,
in use as well, for it belongs to such a clone. Here δ sees c beside s, and it is (a − c) / β, beyond 1 where a person
went farther. Which w a step of the data had nobody knows. Whatever c is, c + β δ is what was done; so of `MATCHED`
draws the one counts whose δ is smallest, and in s' it is followed by itself, or by a new one with the chance
1/``hold``. This is an approximation: many of these δ lie beyond 1, where the policy does not act, and c leans to what
was done.

With ``koopman`` = k, δ sees beside all this the k Koopman features ẑ'(s, c) that the clone's action is expected to lead
to (`networks.koopman`; KORR, residual reinforcement learning on them). They are learnt with the clone, and on with δ.

Who acts in an episode, the clone alone or π, is decided by what their episodes returned (`trust`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Gt, Le

from robot_rl.contract import Layout
from robot_rl.contract.ranges import Count, Natural, NonNegative, Positive
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent
from robot_rl.learner.networks import clone, encoder, koopman
from robot_rl.learner.networks.average import followed
from robot_rl.learner.networks.clone import Clone, Kind
from robot_rl.learner.networks.mlp import Params
from robot_rl.learner.networks.noise import HeldNoise, hold, hold_for, no_noise
from robot_rl.learner.networks.parts import join, part
from robot_rl.learner.networks.precision import Precision

REACH: dict[Kind, float] = {"mean": 0.5, "drawn": 0.1}  # β by default
WHOLE_REACH = 2.0  # β with which an edit makes any action of any other
MATCHED = 2  # draws of a clone's noise that a step of the data may be of
BESIDE = 1 << 29  # sets the draws of what is here apart from the agent's own of the same key


@dataclass(frozen=True, kw_only=True)
class WarmConfig(Precision):
    """The settings of an agent that can start from a clone."""

    clone: Kind = "mean"  # one action for each state; drawn: a flow of actions, whose noise is held
    edit: Annotated[float, Gt(0), Le(2)] | None = None  # β, the largest edit of an action; unset: 0.5, of one drawn 0.1
    held_noise: NonNegative = 0.1  # σ that is added to a mean that does not explore; a drawn clone has its own noise
    hold: Count = 4  # steps that one draw of a drawn clone's noise serves: 0.4 s at 10 Hz; a mean has none
    imitation_rate: Positive = 5e-4  # of the clone's optimiser (AdamW)
    imitation_decay: NonNegative = 1e-4  # of its weights
    koopman: Natural = 0  # k: Koopman features that an edit sees beside the state; 0: none

    @property
    def reach(self) -> float:
        """β."""
        return REACH[self.clone] if self.edit is None else self.edit

    @property
    def imitation_optimiser(self) -> optax.GradientTransformation:
        """That of the clone."""
        return optax.adamw(self.imitation_rate, weight_decay=self.imitation_decay)


class Imitated(NamedTuple):
    """The clone as it is learnt, after ``made`` steps: one that is drawn acts by a running average of it."""

    learnt: Clone
    optimiser: Any
    made: jax.Array


class WarmState(NamedTuple):
    """The agent within and the clone; ``started`` is 1 where there is one, ``reach`` is β of each axis.

    ``ahead``: what finds Koopman features; empty where there are none.
    ``explores, leads``: whether π acts while exploring and without noise, or the clone alone.
    """

    inner: Any
    clone: Clone
    imitated: Imitated
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


def widened(ahead: Params, drawn: bool, state: jax.Array, imitated: jax.Array) -> jax.Array:
    """What δ sees: ``state (…, d)``, and ``imitated (…, a)`` where it is ``drawn``, and what that is expected to lead
    to where there is what finds Koopman features, ``ahead``."""
    parts = [state, imitated] if drawn else [state]
    if ahead:
        parts.append(jax.lax.stop_gradient(koopman.predict(ahead, state, imitated)))
    return jnp.concatenate(parts, axis=-1)


def matched(key: jax.Array, made: Clone, batch: Batch, steps: int, reach: jax.Array) -> tuple[jax.Array, jax.Array]:
    """c ``(n, a)`` in s and in s' of a minibatch ``(n, …)``, for noise that serves so many ``steps``.

    ``reach``: β of each axis ``(a,)``; one that the agent within decides alone has no say in which draw is nearest.
    """
    now = clone.features(made, batch.state, batch.images)
    after = clone.features(made, batch.next_state, batch.next_images)
    if not made.drawn:
        return clone.apply(made, now, batch.action), clone.apply(made, after, batch.action)
    draw_key, time_key, next_key = jax.random.split(key, 3)
    noise = jax.random.normal(draw_key, (MATCHED, *batch.action.shape))
    drawn = clone.apply(made, now, noise)
    edit = jnp.where(reach == 0.0, 0.0, edit_of(batch.action, drawn, reach))
    nearest = (edit**2).sum(axis=-1).argmin(axis=0)
    noise, drawn = (jnp.take_along_axis(one, nearest[None, :, None], axis=0)[0] for one in (noise, drawn))
    anew = jax.random.bernoulli(time_key, 1.0 / steps, (len(noise), 1))
    noise = jnp.where(anew, jax.random.normal(next_key, noise.shape), noise)
    return drawn, clone.apply(made, after, noise)


def reach_of(layout: Layout, agent: Agent) -> jax.Array:
    """β of each axis ``(a,)``; 0 where the agent within decides alone."""
    reach = jnp.full(layout.action_size, agent.config.reach, jnp.float32)
    if layout.options:
        reach = reach.at[-1].set(0.0 if agent.chooses_options else WHOLE_REACH)
    return reach


def edit_of(action: jax.Array, imitated: jax.Array, reach: jax.Array) -> jax.Array:
    """δ ``(…, a)`` that makes ``action (…, a)`` of ``imitated (…, a)``, for β = ``reach (a,)``; beyond 1 where far."""
    free = reach == 0.0
    return jnp.where(free, action, (action - imitated) / jnp.where(free, 1.0, reach))


def edited(imitated: jax.Array, edit: jax.Array, reach: jax.Array) -> jax.Array:
    """π: the action ``(…, a)`` of ``imitated (…, a)`` and δ, for β = ``reach (a,)``."""
    return jnp.where(reach == 0.0, edit, jnp.clip(imitated + reach * edit, -1.0, 1.0))


def warm(agent: Agent) -> Agent:
    """``agent``, whose config is a `WarmConfig`, started from a clone."""
    config: WarmConfig = agent.config
    drawn = config.clone == "drawn"
    of_ahead = optax.adam(config.imitation_rate)

    def within(layout: Layout) -> Layout:
        """The layout that the agent within has."""
        more = config.koopman + (layout.action_size if drawn else 0)
        return replace(layout, state_size=layout.state_size + more)

    def create(key: jax.Array, layout: Layout) -> WarmState:
        made = clone.create(jax.random.fold_in(key, BESIDE), layout, config.clone)
        ahead_key = jax.random.fold_in(key, BESIDE + 2)
        ahead = koopman.create(ahead_key, layout.state_size, layout.action_size, config.koopman)
        return WarmState(
            inner=agent.create(key, within(layout)),
            clone=made,
            imitated=unlearnt(made),
            started=jnp.float32(0.0),
            reach=reach_of(layout, agent),
            ahead=ahead,
            ahead_optimiser=of_ahead.init(ahead) if ahead else (),
            explores=jnp.float32(0.0),
            leads=jnp.float32(0.0),
            key=jax.random.fold_in(key, BESIDE + 1),
        )

    def unlearnt(made: Clone) -> Imitated:
        return Imitated(made, config.imitation_optimiser.init(made), jnp.int32(0))

    def begun(inner: Any, made: Clone) -> Any:
        """``inner`` as it learns on from the clone: it edits nothing, and sees what the clone sees."""
        return agent.see(agent.still(inner), made.encoder)

    @jax.jit
    def update(state: WarmState, batch: Batch) -> tuple[WarmState, Mapping[str, jax.Array]]:
        def match(given: tuple[jax.Array, Batch]) -> tuple[jax.Array, jax.Array]:
            return matched(given[0], state.clone, given[1], config.hold, state.reach)

        key, match_key = jax.random.split(state.key)
        keys = jax.random.split(match_key, len(batch.reward))
        now, after = jax.tree.map(
            lambda said: state.started * said, jax.lax.map(match, (keys, batch._replace(columns={})))
        )
        edit = edit_of(batch.action, now, state.reach)
        edit = edit if drawn else jnp.clip(edit, -1.0, 1.0)
        action = jnp.where(state.started > 0.0, edit, batch.action)
        seen = batch._replace(
            action=action,
            state=widened(state.ahead, drawn, batch.state, now),
            next_state=widened(state.ahead, drawn, batch.next_state, after),
        )
        inner, info = agent.update(state.inner, seen)
        learnt = state._replace(inner=inner, key=key)
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
        key, step_key = jax.random.split(state.key)

        def step(held: tuple[Any, ...], given: tuple[jax.Array, Batch]) -> tuple[tuple[Any, ...], jax.Array]:
            (made, (learnt, optimiser, count), ahead, of_features), (one, part) = held, given
            shift_key, loss_key = jax.random.split(one)
            part = part._replace(images=encoder.shift(shift_key, part.images))
            loss, gradient = jax.value_and_grad(clone.loss)(learnt, loss_key, part)
            change, optimiser = config.imitation_optimiser.update(gradient, optimiser, learnt)
            learnt = optax.apply_updates(learnt, change)
            made = followed(made, learnt, count) if drawn else learnt
            if ahead:
                ahead, of_features, _ = look_ahead(ahead, of_features, part)
            return (made, Imitated(learnt, optimiser, count + 1), ahead, of_features), loss

        keys = jax.random.split(step_key, len(batch.reward))
        begin = state.clone, state.imitated, state.ahead, state.ahead_optimiser
        (made, learnt, ahead, of_features), losses = jax.lax.scan(step, begin, (keys, batch))
        state = state._replace(
            inner=begun(state.inner, made),
            clone=made,
            imitated=learnt,
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
        if given.drawn != state.clone.drawn:
            kinds = ("drawn", "mean") if given.drawn else ("mean", "drawn")
            raise ValueError(
                "the clone among these parameters is clone={}, and this agent's is clone={}".format(*kinds)
            )
        if jax.tree.map(jnp.shape, given) != jax.tree.map(jnp.shape, state.clone):
            raise ValueError("the clone among these parameters is for states, actions or images of other sizes")
        made, ahead = jax.tree.map(jnp.asarray, (given, part(params, "ahead")))
        if jax.tree.map(jnp.shape, ahead) != jax.tree.map(jnp.shape, state.ahead):
            ahead = state.ahead  # there were none, or others: they are learnt with the edit
        return state._replace(
            inner=begun(state.inner, made),
            clone=made,
            imitated=unlearnt(made),
            started=jnp.float32(1.0),
            ahead=ahead,
        )

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
        imitation_loss=jax.jit(lambda state, batch: clone.judged(state.clone, batch)),
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
    made, start = Clone(part(params, "seen"), part(params, "clone")), part(params, "start")
    noise_key = jax.random.fold_in(key, BESIDE)
    held = hold_for(noise_key, carry.held, config.hold) if made.drawn else hold(noise_key, carry.held)
    features = clone.features(made, state[None], {name: image[None] for name, image in images.items()})
    imitated = start["started"] * clone.apply(made, features, held.noise)
    seen = widened(part(params, "ahead"), made.drawn, state[None], imitated)[0]
    edit, within = inner(part(params, "edit"), carry.inner, seen, images, key, deterministic)
    edits = start["leads" if deterministic else "explores"] > 0.0
    chosen = jnp.where(edits, edited(imitated, edit, start["reach"]), imitated)
    if not made.drawn:
        quiet = jnp.where(edits & (not deterministic), 0.0, config.held_noise)
        chosen = jnp.clip(chosen + quiet * held.noise, -1.0, 1.0)
    return jnp.where(start["started"] > 0.0, chosen, edit), WarmCarry(within, held)


def _last(column: jax.Array) -> jax.Array:
    """The last minibatch of a ``column (G, n, …)``."""
    return column[-1]
