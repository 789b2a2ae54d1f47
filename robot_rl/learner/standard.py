"""Inputs in any units: an agent behind this sees each number of a state as its demonstrations are spread.

    z = clip((s − m) ⊙ g, −C, C),   g = 1/σ

m and σ are mean and standard deviation over all states of the demonstrations; without demonstrations, over those of the
first minibatches. They are taken once, belong to the agent's state, and are published and checkpointed with it, so that
actor, critics and clone see the same numbers. Until then z = 0. C keeps what lies far outside of what was seen from
overwhelming the rest. An environment whose observations come in other units gives the same run.

A number that hardly changed has no spread to go by, and scaled up it would be noise: where σ is below `CONSTANT` of the
largest |s|, the number is measured by its own size, g = 1/|m|, and if that is 0 it is left as it is. Our own tasks
bring what matters to order 1 themselves (`Field.scale`), so a smaller spread tells that little happens there: such
numbers are not scaled up (`Layout.least_spread`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent, Stage
from robot_rl.learner.networks.mlp import Params
from robot_rl.learner.networks.parts import join, part

LIMIT = 10.0  # C
CONSTANT = 1e-3


Inner = Callable[..., Any]  # a function of the agent within


class Scale(NamedTuple):
    """m and g ``(d,)``; ``known`` is 0 until they have been taken, and 1 from then on; ``least`` spread."""

    mean: jax.Array
    gain: jax.Array
    known: jax.Array
    least: jax.Array


class StandardState(NamedTuple):
    """The state of the agent within, and the scale of its inputs."""

    scale: Scale
    inner: Any


def unknown(layout: Layout) -> Scale:
    """The scale of states of which none was seen yet."""
    nothing = jnp.zeros(layout.state_size)
    return Scale(nothing, nothing, jnp.float32(0.0), jnp.float32(layout.least_spread))


def scale_of(states: jax.Array, least: jax.Array | float = 0.0) -> Scale:
    """The scale of ``states (n, d)``; see `Layout.least_spread` for ``least``."""
    first = states[0]  # differences to it lose fewer digits than the numbers themselves
    moved = states - first
    mean, deviation = first + moved.mean(axis=0), moved.std(axis=0)
    constant = deviation <= CONSTANT * jnp.abs(states).max(axis=0)
    size = jnp.where(mean == 0.0, 1.0, jnp.abs(mean))
    spread = jnp.where(constant, size, deviation)
    return Scale(mean, 1.0 / jnp.maximum(spread, least), jnp.float32(1.0), jnp.float32(least))


def standardise(scale: Scale, states: jax.Array) -> jax.Array:
    """z ``(…, d)`` of ``states (…, d)``."""
    return jnp.clip((states - scale.mean) * scale.gain, -LIMIT, LIMIT)


def seen(scale: Scale, batch: Batch) -> Batch:
    """``batch`` as the agent within sees it."""
    state, after = (standardise(scale, rows) for rows in (batch.state, batch.next_state))
    return batch._replace(state=state, next_state=after)


def standardised(agent: Agent) -> Agent:
    """``agent`` behind `standardise`."""

    def create(key: jax.Array, layout: Layout) -> StandardState:
        return StandardState(unknown(layout), agent.create(key, layout))

    def measure(state: StandardState, states: jax.Array) -> StandardState:
        return state._replace(scale=scale_of(jnp.asarray(states), state.scale.least))

    def actor(state: StandardState) -> Params:
        numbers = {"mean": state.scale.mean, "gain": state.scale.gain}
        return join(agent=agent.actor(state.inner), scale=numbers)

    return agent._replace(
        create=create,
        measure=measure,
        update=jax.jit(partial(_update, inner=agent.update)),
        actor=actor,
        act=partial(_act, inner=agent.act),
        imitate=None if agent.imitate is None else jax.jit(partial(_imitate, inner=agent.imitate)),
        imitation_loss=None
        if agent.imitation_loss is None
        else jax.jit(partial(_imitation_loss, inner=agent.imitation_loss)),
        then=None if agent.then is None else _stage(agent.then),
        adopt=None if agent.adopt is None else partial(_adopt, inner=agent.adopt),
        turn=None if agent.turn is None else partial(_turn, inner=agent.turn),
    )


def _stage(stage: Stage) -> Stage:
    imitate, loss = partial(_imitate, inner=stage.imitate), partial(_imitation_loss, inner=stage.imitation_loss)
    return stage._replace(imitate=jax.jit(imitate), imitation_loss=jax.jit(loss))


def _update(state: StandardState, batch: Batch, inner: Inner) -> tuple[StandardState, Mapping[str, jax.Array]]:
    found = scale_of(jnp.concatenate(batch.state), state.scale.least)
    scale = jax.tree.map(lambda old, new: jnp.where(state.scale.known > 0.0, old, new), state.scale, found)
    within, info = inner(state.inner, seen(scale, batch))
    return StandardState(scale, within), info


def _imitate(state: StandardState, batch: Batch, inner: Inner) -> tuple[StandardState, Mapping[str, jax.Array]]:
    within, info = inner(state.inner, seen(state.scale, batch))
    return state._replace(inner=within), info


def _imitation_loss(state: StandardState, batch: Batch, inner: Inner) -> jax.Array:
    loss: jax.Array = inner(state.inner, seen(state.scale, batch))
    return loss


def _turn(state: StandardState, explores: float, leads: float, inner: Inner) -> StandardState:
    return state._replace(inner=inner(state.inner, explores, leads))


def _adopt(state: StandardState, params: Mapping[str, Any], inner: Inner) -> StandardState:
    within = inner(state.inner, part(params, "agent"))
    given = part(params, "scale")
    scale = state.scale._replace(
        mean=jnp.asarray(given["mean"]), gain=jnp.asarray(given["gain"]), known=jnp.float32(1.0)
    )
    return StandardState(scale, within)


def _act(
    params: Params,
    carry: Any,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    key: jax.Array,
    deterministic: bool,
    inner: Inner,
    **guide: Any,
) -> tuple[jax.Array, Any]:
    own, z = unwrapped(params, state)
    actions, carry = inner(own, carry, z, images, key, deterministic, **guide)
    return actions, carry


def unwrapped(params: Params, state: jax.Array) -> tuple[Params, jax.Array]:
    """The parameters of the agent within among published ``params``, and z ``(d,)`` of ``state (d,)``."""
    z = jnp.clip((state - params["scale/mean"]) * params["scale/gain"], -LIMIT, LIMIT)
    return part(params, "agent"), z
