"""Replay: ring buffers of transitions in memory, and symmetric sampling of demonstrations and online data.

A buffer is a ring of *observations*. Transition i goes from row i to row i + 1, so each observation (and each image) is
kept once; the last observation of a run is a row that starts no transition.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from robot_rl.data.episode import Transitions

RECENT = 256  # online steps that tell how the policy does now: 26 s of them


class Batch(NamedTuple):
    """Transitions for training; leading axes ``(updates, batch)`` unless said otherwise.

    ``state``, ``next_state (…, d)``; ``action (…, a)``; ``reward (…)``; ``mask (…)``: 0 where the task ended there
    (nothing to bootstrap from), 1 otherwise, time limits and aborts included; ``cost (…)``: share of the step, 0–1,
    during which the passivity filter held back. ``recent_cost (updates,)``: mean cost of the newest online steps, which
    says how the policy of these days does where the other columns tell of all times.
    """

    state: Any
    action: Any
    reward: Any
    mask: Any
    next_state: Any
    cost: Any
    recent_cost: Any


class ReplayBuffer:
    """The newest transitions, up to ``capacity`` observations.

    Args:
        capacity: observations kept; an episode of T steps takes T + 1.
        state_size, action_size: d and a.
        images: camera → (height, width) of images to keep beside the states.
    """

    def __init__(
        self,
        capacity: int,
        state_size: int,
        action_size: int,
        images: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        if capacity < 2:
            raise ValueError(f"a replay buffer needs a capacity of at least 2, not {capacity}")
        self.capacity = capacity
        self.state = np.zeros((capacity, state_size), np.float32)
        self.images = {name: np.zeros((capacity, *size, 3), np.uint8) for name, size in (images or {}).items()}
        self.action = np.zeros((capacity, action_size), np.float32)
        self.reward = np.zeros(capacity, np.float32)
        self.mask = np.zeros(capacity, np.float32)
        self.cost = np.zeros(capacity, np.float32)
        self.starts = np.zeros(capacity, bool)  # rows that a transition starts from
        self.added = 0  # transitions ever added
        self.digests = [0] * 5  # running CRC-32 of states, actions, rewards, masks, costs: equal digests, equal buffers
        self._next = 0  # the row to write
        self._rows = 0  # rows in use
        self._size = 0
        self._tail: tuple[str, int, int] | None = None  # the step that would continue the last run

    def __len__(self) -> int:
        """Transitions that can be sampled."""
        return self._size

    def add(self, transitions: Transitions) -> None:
        """Append consecutive steps; a run that continues the last one shares its observation."""
        count = len(transitions)
        if count == 0:
            return
        continued = self._tail == (transitions.store, transitions.episode, transitions.start)
        if not continued:
            self._write(self._take_rows(1), transitions, slice(0, 1))
        self.added += count
        for first in range(0, count, self.capacity - 1):  # more than fits at once: in parts
            part = slice(first, min(count, first + self.capacity - 1))
            rows = self._take_rows(part.stop - part.start)
            self._write(rows, transitions, slice(part.start + 1, part.stop + 1))
            before = (rows - 1) % self.capacity
            self.action[before] = transitions.action[part]
            self.reward[before] = transitions.reward[part]
            self.mask[before] = 1.0 - transitions.terminated[part]
            self.cost[before] = transitions.cost[part]
            self.starts[before] = True
            self._size += len(before)
        state = transitions.state[int(continued) :]
        columns = (state, transitions.action, transitions.reward, transitions.terminated, transitions.cost)
        self.digests = [zlib.crc32(c.tobytes(), d) for c, d in zip(columns, self.digests, strict=True)]
        self._tail = (transitions.store, transitions.episode, transitions.start + count)

    def sample_rows(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """``(count,)`` rows that transitions start from, uniformly and with replacement."""
        if self._size == 0:
            raise ValueError("cannot sample from an empty replay buffer")
        rows = rng.integers(0, self._rows, count)
        wrong = np.flatnonzero(~self.starts[rows])
        while len(wrong):  # only the last observation of each run is refused
            rows[wrong] = rng.integers(0, self._rows, len(wrong))
            wrong = wrong[~self.starts[rows[wrong]]]
        return rows

    def sample(self, rng: np.random.Generator, count: int) -> Batch:
        """``count`` transitions, uniformly and with replacement; leading axis ``(count,)``."""
        rows = self.sample_rows(rng, count)
        after = rows + 1
        after[after == self.capacity] = 0
        return Batch(
            state=self.state[rows],
            action=self.action[rows],
            reward=self.reward[rows],
            mask=self.mask[rows],
            next_state=self.state[after],
            cost=self.cost[rows],
            recent_cost=self.recent_cost(RECENT),
        )

    def recent_cost(self, count: int) -> float:
        """Mean cost of the newest transitions, ``count`` of them or as many as there are; 0 when there are none."""
        back = (self._next - 1 - np.arange(min(self._rows, 2 * count))) % self.capacity  # an episode can have one step
        newest = back[self.starts[back]][:count]
        return float(self.cost[newest].mean()) if len(newest) else 0.0

    def _take_rows(self, count: int) -> np.ndarray:
        rows = (self._next + np.arange(count)) % self.capacity
        self._size -= int(self.starts[rows].sum())
        self.starts[rows] = False
        self._next = (self._next + count) % self.capacity
        self._rows = min(self.capacity, self._rows + count)
        return rows

    def _write(self, rows: np.ndarray, transitions: Transitions, part: slice) -> None:
        self.state[rows] = transitions.state[part]
        for name, images in self.images.items():
            images[rows] = transitions.images[name][part]


class SymmetricSampler:
    """Half demonstrations, half online data, in every minibatch (RLPD); all from one while the other is empty."""

    def __init__(self, demo: ReplayBuffer, online: ReplayBuffer) -> None:
        self.demo = demo
        self.online = online

    def sample(self, rng: np.random.Generator, updates: int, batch_size: int) -> Batch:
        """Batch with leading axes ``(updates, batch_size)``, demonstrations first along the second."""
        demos = 0 if len(self.demo) == 0 else batch_size if len(self.online) == 0 else batch_size // 2
        parts = [
            (buffer.sample(rng, updates * count), count)
            for buffer, count in ((self.demo, demos), (self.online, batch_size - demos))
            if count
        ]
        split = [[column.reshape(updates, count, *column.shape[1:]) for column in batch[:-1]] for batch, count in parts]
        columns = [np.concatenate(columns, axis=1) for columns in zip(*split, strict=True)]
        columns.append(np.full(updates, self.online.recent_cost(RECENT), np.float32))
        return Batch(*columns)
