"""The contract that every learning algorithm meets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from robot_rl.contract import FrameSize, Layout
from robot_rl.data.replay import Batch


class Base(NamedTuple):
    """The part of an algorithm that imitates; see `robot_rl.learner.earned`.

    Attributes:
        optimiser: of imitation alone.
        learnt: ``state -> params``: what it trains, a pytree.
        replace: ``(state, params) -> state`` with these in place, wherever they are kept.
        loss: ``(params, key, batch) -> loss``, a scalar, for a minibatch ``(n, …)``.
        act: as `Agent.act`, by this part alone.
        found: ``params -> params`` as of ``learnt``, among those that an agent with the same base publishes. Raises
            ValueError when they are not there.
    """

    optimiser: Any
    learnt: Callable[[Any], Any]
    replace: Callable[[Any, Any], Any]
    loss: Callable[[Any, jax.Array, Batch], jax.Array]
    act: Callable[..., tuple[jax.Array, Any]]
    found: Callable[[Mapping[str, jax.Array]], Any]


class Stage(NamedTuple):
    """A part of an agent that imitates after another one has.

    Attributes:
        words: what it fits, for people: "then <words>: 400 steps, …".
        horizon: steps of a window of its demonstrations.
        passes: over the demonstrations, after which it ends at the latest; 0: as many as it takes, see `Imitation`.
        imitate, imitation_loss: as those of `Agent`, for this part.
    """

    words: str
    horizon: int
    passes: int
    imitate: Callable[[Any, Batch], tuple[Any, Mapping[str, jax.Array]]]
    imitation_loss: Callable[[Any, Batch], jax.Array]


class Agent(NamedTuple):
    """An algorithm with its config: pure functions over an immutable pytree that holds everything that learns.

    Attributes:
        name, config: which, a name that `robot_rl.learner.factory.make_agent` knows, and how, a dataclass.
        updates_per_call: critic steps G in one ``update``.
        actor_share: steps of the policy for each step of the critics.
        create: ``(key, layout) -> state``. Raises ValueError for a layout that the algorithm cannot work with.
        update: ``(state, batch) -> (state, info)``, one compiled call; ``batch`` has leading axes ``(G, n)`` and
            ``info`` scalar metrics named like ``critic/q_mean``.
        actor: ``state -> params``: exactly what ``act`` needs, flat name → float32 array.
        act: ``(params, carry, state, images, key, deterministic) -> (actions, carry)`` for one observation: ``state
            (d,)`` float32, ``images`` as in `Observation`, ``actions (H, a)`` float32 in [−1, 1]. It is
            compiled by whoever serves it, ``deterministic`` a constant (True: no exploration).
        guided: ``act`` takes ``guide`` as well, a `networks.guidance.Guide` or None: a plan for its chunk to take up.
        carry: ``layout -> carry``: what acting begins with and hands from step to step, e.g. noise that is held.
        horizon: steps H of a window in a batch; above 1, its actions are chunks.
        demo_share: share of demonstrations in a minibatch that suits it; None: in proportion to how many there are.
        pretrain: calls of ``update`` on demonstrations alone, before the first online step, that suit it.
        chooses_options: the last axis of a layout with options is one of their values to it, not a number as others.
        columns: names in `Batch.columns` that it learns from, beside what every agent is given.
        base: the part of it that imitates, of an algorithm that has one.
        measure: ``(state, states) -> state`` that has taken the scale of its inputs from the demonstrations' ``states
            (n, d)``; by default it takes them as they are.
        imitate: ``(state, batch) -> (state, info)``: steps of imitation, before everything else, on demonstrations
            ``batch`` with leading axes ``(steps, n)``, one compiled call; ``info`` has ``imitation/loss``. None: it has
            no part that imitates.
        still: ``state -> state`` whose policy takes actions near 0 in every state, until it learns otherwise; by
            default it begins as it was created.
        see: ``(state, encoder) -> state`` that finds in images what ``encoder``, parameters of `networks.encoder`,
            does, and learns on from there; by default it finds what its own does.
        turn: ``(state, explores, leads) -> state`` of an agent that can act by its clone alone: whether what it has
            learnt since then acts while exploring, and whether it does without noise, each 0 or 1; None: it cannot.
        adopt: ``(state, params) -> state`` that starts from the clone among the published ``params`` of another agent.
            Raises ValueError when there is none, or it is of another layout; None: it cannot.
        needs_base: it learns nothing without demonstrations, or `adopt` of what another run imitated.
        bootstraps: its targets go on from ``next_state`` where ``mask`` is 1, so that it matters where replay cuts them
            off; False for one that learns no values.
        mean: ``(state, batch) -> actions (n, a)`` that its policy takes without noise, for a minibatch ``(n, …)``, of
            an agent whose policy's loss is `robot_rl.learner.certainty.weighed`; None: it is not.
        imitation_loss: ``(state, batch) -> loss``, a scalar, of demonstrations ``batch (n, …)`` that it did not see.
        then: another part of it, which imitates once that has.
    """

    name: str
    config: Any
    updates_per_call: int
    create: Callable[[jax.Array, Layout], Any]
    update: Callable[[Any, Batch], tuple[Any, Mapping[str, jax.Array]]]
    actor: Callable[[Any], Mapping[str, jax.Array]]
    act: Callable[..., tuple[jax.Array, Any]]
    carry: Callable[[Layout], Any] = lambda layout: ()
    horizon: int = 1
    actor_share: float = 1.0
    demo_share: float | None = 0.5
    pretrain: int = 0
    chooses_options: bool = False
    columns: tuple[str, ...] = ()
    base: Base | None = None
    measure: Callable[[Any, Any], Any] = lambda state, states: state
    imitate: Callable[[Any, Batch], tuple[Any, Mapping[str, jax.Array]]] | None = None
    imitation_loss: Callable[[Any, Batch], jax.Array] | None = None
    still: Callable[[Any], Any] = lambda state: state
    see: Callable[[Any, Mapping[str, Any]], Any] = lambda state, encoder: state
    turn: Callable[[Any, float, float], Any] | None = None
    adopt: Callable[[Any, Mapping[str, Any]], Any] | None = None
    then: Stage | None = None
    guided: bool = False
    needs_base: bool = False
    bootstraps: bool = True
    mean: Callable[[Any, Batch], jax.Array] | None = None


def describe_agent(agent: Agent, images: Mapping[str, FrameSize]) -> dict[str, Any]:
    """JSON values that go with published parameters: whose they are, and which ``images`` it sees, by size.

    By them `robot_rl.policies.loading` makes the same agent again.
    """
    return {
        "agent": agent.name,
        "settings": dataclasses.asdict(agent.config),
        "images": {name: list(size) for name, size in images.items()},
    }


class Algorithm(NamedTuple):
    """An entry of `robot_rl.learner.config.AGENTS`.

    Attributes:
        config: frozen dataclass of its settings, ``learner.settings.<key>``, each with a default; its annotations are
            their types and bounds (`robot_rl.contract.ranges`). It has ``critic_steps``, which ``learner.utd`` sets,
            and ``discount``.
        make: config → agent, which is called as it is asked for, whatever name it has.
    """

    config: type
    make: Callable[[Any], Agent]
