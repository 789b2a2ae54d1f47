"""Imitation of demonstrations, until those that are held out are imitated no better.

Every tenth episode is held out (of two to nine, one; of a single one, none), and the agent that imitates them best is
kept. It takes seconds without cameras.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from robot_rl.data.replay import Batch, ReplayBuffer
from robot_rl.learner.agent import Agent
from robot_rl.learner.devices import DataParallel

STEPS = 50  # of the optimiser, in one call
STEPS_OF_IMAGES = 5  # the same with cameras, whose minibatches take room
BATCH = 256
PATIENCE = 800  # steps without improvement after which it ends
JUDGED = 2048  # held-out windows that the loss is taken over, with cameras `BATCH`


class Imitation:
    """One run of imitation, call by call.

    Args:
        agent: it has `Agent.imitate`. Raises ValueError for one that has not.
        demos: the demonstrations.
        most: steps of the optimiser, after which it ends in any case.
        seed: of which episodes are held out, and of minibatches.
        passes: over the demonstrations that are not held out, after which it ends too, judged once in each of them at
            least; 0: as many as it takes.

    Attributes:
        made: steps of the optimiser so far.
        judged: held-out windows; None where there are none.
        episode: rows of one that is held out; None where none is.
        held_out: the best loss of the held-out episodes so far; NaN where there are none.
        done: it has ended.
    """

    def __init__(
        self, agent: Agent, demos: ReplayBuffer, most: int, seed: int, devices: DataParallel, passes: int = 0
    ) -> None:
        if agent.imitate is None or agent.imitation_loss is None:
            raise ValueError(f"agent {agent.name} has no part that imitates")
        self._imitate, self._loss, self._measure = agent.imitate, agent.imitation_loss, agent.measure
        self._horizon = agent.horizon
        self._demos, self._most, self._devices = demos, most, devices
        self._rng = np.random.default_rng(seed)
        episodes = demos.episodes()
        order = self._rng.permutation(len(episodes))
        count = 0 if len(episodes) < 2 else max(1, len(episodes) // 10)
        held_out, learnt = ([episodes[i] for i in part] for part in (order[:count], order[count:]))
        self._rows = np.concatenate(learnt)
        self.episode = held_out[0] if held_out else None
        self.judged = self._held_out(np.concatenate(held_out)) if held_out else None
        self._steps = STEPS_OF_IMAGES if demos.images else STEPS
        if passes:
            one = math.ceil(len(self._rows) / BATCH)
            self._steps, self._most = min(self._steps, one), min(most, passes * one)
        self._best: Any = None
        self._best_at = 0
        self.made = 0
        self.held_out = float("nan")
        self.done = False

    def step(self, state: Any) -> tuple[Any, Mapping[str, float]]:
        """One call: the state after it, at the end the best one, and metrics."""
        if self.made == 0:
            rows = np.concatenate(self._demos.episodes())
            state = self._measure(state, self._demos.state[rows])
        batch = self._draw(self._steps)
        state, info = self._imitate(state, self._devices.place_batch(batch))
        self.made += self._steps
        if self.judged is not None:
            loss = float(self._loss(state, self.judged))
            if math.isnan(self.held_out) or loss < self.held_out:
                self.held_out, self._best, self._best_at = loss, state, self.made
        self.done = self.made >= self._most or (self.judged is not None and self.made - self._best_at >= PATIENCE)
        if self.done and self._best is not None:
            state = self._best
        metrics = {name: float(value) for name, value in info.items()} | {"imitation/steps": float(self.made)}
        if self.judged is not None:
            metrics["imitation/held_out"] = self.held_out
        return state, metrics

    def _draw(self, steps: int) -> Batch:
        rows = self._rows[self._rng.integers(0, len(self._rows), steps * BATCH)]
        found = self._demos.read(rows, self._horizon)._replace(columns={})
        batch: Batch = jax.tree.map(lambda column: column.reshape(steps, BATCH, *column.shape[1:]), found)
        return batch

    def _held_out(self, rows: np.ndarray) -> Batch:
        most = BATCH if self._demos.images else JUDGED
        if len(rows) > most:
            rows = self._rng.choice(rows, most, replace=False)
        return self._demos.read(rows, self._horizon)._replace(columns={})
