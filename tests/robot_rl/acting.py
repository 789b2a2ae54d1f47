"""Policies for tests: a function that decides, and what it was handed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np

from robot_rl.contract import ActionChunk, Observation, Policy, Shaped


class Decides(Policy):
    """Answers each observation with ``decide``; keeps the instruction it began with, and what it was handed."""

    def __init__(self, decide: Callable[[Observation], ActionChunk], history: int = 1) -> None:
        self.history = history
        self.began: list[str] = []
        self.handed: list[list[Observation]] = []
        self._decide = decide

    def begin(self, instruction: str) -> None:
        self.began.append(instruction)

    def act(self, observations: Sequence[Observation]) -> ActionChunk:
        self.handed.append(list(observations))
        return self._decide(observations[-1])


class Counted(Policy):
    """Stands still; says how often policies of this class were asked."""

    asked: ClassVar[int] = 0

    def __init__(self, task: Shaped, seed: int) -> None:
        self._size = task.action.size

    def act(self, observations: Sequence[Observation]) -> ActionChunk:
        Counted.asked += 1
        return ActionChunk(observations[-1].stamp_ns, np.zeros((1, self._size)))
