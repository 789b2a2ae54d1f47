"""Chunks beside the clone: until an agent that starts from a clone does better, a chunk policy acts in its place.

What is edited, and learnt from, is a clone: one action for each state, from which an edit is measured. What acts well
before anything is learnt is another thing: where a person does now this and now that, chunks that are drawn
(`algorithms.bc`) succeed far more often than their mean. So both imitate the demonstrations, one after the other. Who
acts in an episode, the chunks or what is learnt, is decided by what their episodes returned (`trust`), and what is
learnt has the chunks' successes to learn from. The chunk policy stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent, Stage
from robot_rl.learner.networks.mlp import Params
from robot_rl.learner.networks.parts import join, part


class BesideState(NamedTuple):
    """The agent within and the chunk policy; ``started`` is 1 once that has imitated.

    ``explores, leads``: whether the agent within acts while exploring and without noise, or the chunks.
    """

    inner: Any
    chunks: Any
    started: jax.Array
    explores: jax.Array
    leads: jax.Array


class BesideCarry(NamedTuple):
    """The carry of the agent within, the chunk ``(s, a)`` that is acted by, and how many of its actions are left."""

    inner: Any
    chunk: jax.Array
    left: jax.Array


def beside(agent: Agent, chunks: Agent) -> Agent:
    """``agent``, which starts from a clone, and in its place the chunk policy ``chunks``, an agent that imitates."""
    assert agent.turn is not None and agent.adopt is not None, "it starts from a clone"
    assert chunks.imitate is not None and chunks.imitation_loss is not None and chunks.adopt is not None
    imitate_chunks, loss_of_chunks, adopt_chunks = chunks.imitate, chunks.imitation_loss, chunks.adopt
    turn_within, adopt_within = agent.turn, agent.adopt

    def create(key: jax.Array, layout: Layout) -> BesideState:
        off = jnp.float32(0.0)
        return BesideState(agent.create(key, layout), chunks.create(jax.random.fold_in(key, 2), layout), off, off, off)

    def update(state: BesideState, batch: Batch) -> tuple[BesideState, Mapping[str, jax.Array]]:
        inner, info = agent.update(state.inner, batch)
        return state._replace(inner=inner), info

    def imitate(state: BesideState, batch: Batch) -> tuple[BesideState, Mapping[str, jax.Array]]:
        assert agent.imitate is not None
        inner, info = agent.imitate(state.inner, batch)
        return state._replace(inner=inner), info

    def imitation_loss(state: BesideState, batch: Batch) -> jax.Array:
        assert agent.imitation_loss is not None
        return agent.imitation_loss(state.inner, batch)

    def then_imitate(state: BesideState, batch: Batch) -> tuple[BesideState, Mapping[str, jax.Array]]:
        learnt, info = imitate_chunks(state.chunks, batch)
        return state._replace(chunks=learnt, started=jnp.float32(1.0)), info

    def turn(state: BesideState, explores: float, leads: float) -> BesideState:
        inner = turn_within(state.inner, explores, leads)
        return state._replace(inner=inner, explores=jnp.float32(explores), leads=jnp.float32(leads))

    def adopt(state: BesideState, params: Mapping[str, Any]) -> BesideState:
        if not part(params, "beside").get("started", 0.0):
            raise ValueError(f"no clone with {chunks.config.model} chunks beside it is among these parameters")
        inner = adopt_within(state.inner, part(params, "whole"))
        learnt = adopt_chunks(state.chunks, part(params, "chunks"))
        return state._replace(inner=inner, chunks=learnt, started=jnp.float32(1.0))

    def actor(state: BesideState) -> Params:
        flags = {"started": state.started, "explores": state.explores, "leads": state.leads}
        return join(whole=agent.actor(state.inner), chunks=chunks.actor(state.chunks), beside=flags)

    def carry(layout: Layout) -> BesideCarry:
        nothing = jnp.zeros((chunks.config.acted, layout.action_size))
        return BesideCarry(agent.carry(layout), nothing, jnp.int32(0))

    return agent._replace(
        create=create,
        update=update,
        imitate=imitate,
        imitation_loss=imitation_loss,
        then=Stage("chunks", chunks.horizon, 0, then_imitate, lambda state, batch: loss_of_chunks(state.chunks, batch)),
        turn=turn,
        adopt=adopt,
        actor=actor,
        act=partial(_act, whole=agent.act, chunks=chunks.act),
        carry=carry,
    )


def _act(
    params: Params,
    carry: BesideCarry,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    key: jax.Array,
    deterministic: bool,
    whole: Any,
    chunks: Any,
) -> tuple[jax.Array, BesideCarry]:
    flags = part(params, "beside")
    waits = (flags["started"] > 0.0) & (flags["leads" if deterministic else "explores"] == 0.0)
    actions, within = whole(part(params, "whole"), carry.inner, state, images, key, deterministic)

    def next_chunk() -> tuple[jax.Array, jax.Array]:
        chunk, _ = chunks(part(params, "chunks"), (), state, images, key, deterministic)
        return chunk, jnp.int32(len(chunk))

    chunk, left = jax.lax.cond(waits & (carry.left == 0), next_chunk, lambda: (carry.chunk, carry.left))
    by_chunk = chunk[(len(chunk) - left)[None]]
    left = jnp.where(waits, left - 1, 0)
    return jnp.where(waits, by_chunk, actions), BesideCarry(within, chunk, left)
