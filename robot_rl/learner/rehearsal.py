"""A minibatch of steps in which nothing is, so that updates are compiled before there is anything to learn."""

from __future__ import annotations

import numpy as np

from robot_rl.contract import Layout, Source, frame_spec
from robot_rl.data.columns import NUMBERS, OBJECT, STATE, STEP_TYPES
from robot_rl.data.episode import Transitions, frame_column
from robot_rl.data.replay import DERIVED, Batch, ReplayBuffer, Sampler
from robot_rl.learner.agent import Agent


def blank_batch(agent: Agent, layout: Layout, batch_size: int) -> Batch:
    """Of the shapes and types that replay draws for ``agent`` in a domain of ``layout``."""
    steps = agent.horizon
    columns: dict[str, np.ndarray] = {name: np.zeros(steps, kind) for name, kind in STEP_TYPES.items()}
    columns["source"][:] = Source.POLICY
    columns[STATE] = np.zeros((steps + 1, layout.state_size), np.float32)
    columns["action"] = np.zeros((steps, layout.action_size), np.float32)
    for name, size in layout.images.items():
        shape, kind = frame_spec(size)
        columns[frame_column(name, size)] = np.zeros((steps + 1, *shape), kind)
    wanted = [name for name in agent.columns if name not in DERIVED and name not in columns]
    columns |= {name: np.zeros((steps + 1, *_shape(name, layout))) for name in wanted}
    buffer = ReplayBuffer(steps + 2, layout, agent.columns)
    buffer.add(Transitions("", 0, 0, columns))
    sampler, rng = Sampler((buffer, buffer), (0.5, 0.5)), np.random.default_rng(0)
    return sampler.sample(rng, agent.updates_per_call, batch_size, agent.horizon)


def _shape(name: str, layout: Layout) -> tuple[int, ...]:
    """Of one row of a recorded column."""
    if name == "policy_action":
        return (layout.action_size,)
    return (7,) if name == "target" or name.startswith(OBJECT) else NUMBERS.get(name, ())
