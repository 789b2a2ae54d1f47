"""Acting by imitation until more is earned: for agents whose policy imitates and whose critics choose or edit.

Such an agent has a part that imitates, its base (`robot_rl.learner.agent.Base`). It is trained on the demonstrations
alone before everything else, while no critic has a say. Then the base acts alone, or the whole agent does, as `trust`
decides by what their episodes returned: a young critic that chooses among many proposals of a good base finds those
that it errs about.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from robot_rl.contract import Layout
from robot_rl.data.replay import Batch
from robot_rl.learner.agent import Agent, Base
from robot_rl.learner.networks import encoder
from robot_rl.learner.networks.mlp import Params
from robot_rl.learner.networks.parts import join, part

JUDGE = 0  # key of the noise that held-out demonstrations are judged with: always the same


class EarnedState(NamedTuple):
    """The agent's state and the optimiser of imitation.

    ``started`` is 1 once demonstrations were imitated; ``explores, leads``: whether the whole agent acts while
    exploring and without noise, or its base alone.
    """

    inner: Any
    optimiser: Any
    started: jax.Array
    explores: jax.Array
    leads: jax.Array


def earned(agent: Agent, base: Base) -> Agent:
    """``agent``, which acts by its ``base`` until its episodes return more than those of the base."""

    def create(key: jax.Array, layout: Layout) -> EarnedState:
        inner = agent.create(key, layout)
        off = jnp.float32(0.0)
        return EarnedState(inner, base.optimiser.init(base.learnt(inner)), off, off, off)

    @jax.jit
    def update(state: EarnedState, batch: Batch) -> tuple[EarnedState, Mapping[str, jax.Array]]:
        inner, info = agent.update(state.inner, batch)
        return state._replace(inner=inner), info

    @jax.jit
    def imitate(state: EarnedState, batch: Batch) -> tuple[EarnedState, Mapping[str, jax.Array]]:
        def step(held: tuple[Any, Any], given: tuple[jax.Array, Batch]) -> tuple[tuple[Any, Any], jax.Array]:
            (learnt, optimiser), (key, part_of) = held, given
            shift_key, loss_key = jax.random.split(key)
            loss, gradient = jax.value_and_grad(base.loss)(learnt, loss_key, encoder.augment(shift_key, part_of))
            change, optimiser = base.optimiser.update(gradient, optimiser)
            return (optax.apply_updates(learnt, change), optimiser), loss

        keys = jax.random.split(state.inner.key, len(batch.mask) + 1)
        held = base.learnt(state.inner), state.optimiser
        (learnt, optimiser), losses = jax.lax.scan(step, held, (keys[1:], batch))
        inner = base.replace(state.inner, learnt)._replace(key=keys[0])
        state = state._replace(inner=inner, optimiser=optimiser, started=jnp.float32(1.0))
        return state, {"imitation/loss": losses.mean()}

    @jax.jit
    def imitation_loss(state: EarnedState, batch: Batch) -> jax.Array:
        return base.loss(base.learnt(state.inner), jax.random.PRNGKey(JUDGE), batch)

    def turn(state: EarnedState, explores: float, leads: float) -> EarnedState:
        return state._replace(explores=jnp.float32(explores), leads=jnp.float32(leads))

    def adopt(state: EarnedState, params: Mapping[str, Any]) -> EarnedState:
        if not part(params, "start").get("started", 0.0):
            raise ValueError(f"nothing that agent {agent.name} starts from is there; its robot-rl pretrain makes one")
        given, own = base.found(part(params, "whole")), base.learnt(state.inner)
        if jax.tree.map(jnp.shape, given) != jax.tree.map(jnp.shape, own):
            raise ValueError(f"the base among these parameters is for other sizes than agent {agent.name} has here")
        learnt = jax.tree.map(lambda mine, theirs: jnp.asarray(theirs, mine.dtype), own, given)
        return state._replace(
            inner=base.replace(state.inner, learnt), optimiser=base.optimiser.init(learnt), started=jnp.float32(1.0)
        )

    def actor(state: EarnedState) -> Params:
        start = {"started": state.started, "explores": state.explores, "leads": state.leads}
        return join(whole=agent.actor(state.inner), start=start)

    return agent._replace(
        create=create,
        update=update,
        actor=actor,
        act=partial(_act, whole=agent.act, alone=base.act),
        imitate=imitate,
        imitation_loss=imitation_loss,
        turn=turn,
        adopt=adopt,
    )


def _act(
    params: Params,
    carry: Any,
    state: jax.Array,
    images: Mapping[str, jax.Array],
    key: jax.Array,
    deterministic: bool,
    whole: Any,
    alone: Any,
    **guide: Any,
) -> tuple[jax.Array, Any]:
    start, published = part(params, "start"), part(params, "whole")
    waits = (start["started"] > 0.0) & (start["leads" if deterministic else "explores"] == 0.0)
    by_base, _ = alone(published, carry, state, images, key, deterministic, **guide)
    actions, carry = whole(published, carry, state, images, key, deterministic, **guide)
    return jnp.where(waits, by_base, actions), carry
