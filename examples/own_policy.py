"""A policy of one's own: straight to the goal of the task reach, planned half a second ahead.

    robot-rl eval --fast --task reach --run runs/straight policy=examples.own_policy:StraightThere episodes=10

In its place stands whatever decides: a network of another framework, a planner, a remote model. It may take its time
(docs/YOUR_POLICY.md): with ``--fast`` left out, an answer that comes late acts from the row on that is due by then.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robot_rl.contract import ActionChunk, ContractError, Observation, Policy, Shaped


class StraightThere(Policy):
    """Reads the way left to go out of the state. Raises `ContractError` for a task without the field ``to_goal``."""

    horizon = 5  # actions of an answer

    def __init__(self, task: Shaped, seed: int) -> None:
        names = [field.name for field in task.fields]
        if "to_goal" not in names:
            raise ContractError(f"StraightThere needs a task whose state has to_goal; {task.name} has {names}")
        number = names.index("to_goal")
        first, field = sum(before.size for before in task.fields[:number]), task.fields[number]
        self._way, self._scale = slice(first, first + field.size), field.scale
        self._step = np.asarray(task.action.scale)  # [m] that an action of 1 moves

    def act(self, observations: Sequence[Observation]) -> ActionChunk:
        newest = observations[-1]
        way = newest.state[self._way] / self._scale  # [m]
        actions = []
        for _ in range(self.horizon):
            actions.append(np.clip(way / self._step, -1.0, 1.0))
            way = way - actions[-1] * self._step
        return ActionChunk(newest.stamp_ns, np.array(actions))
