"""Replay: ring buffers of transitions in memory, and weighted sampling from several of them.

A buffer is a ring of *observations*. Transition i goes from row i to row i + 1, so each observation (and each image) is
kept once; the last observation of a run is a row that starts no transition.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from robot_rl.contract import Layout, Source
from robot_rl.data.episode import Transitions

RECENT = 256  # steps of a policy that tell how it does now: 26 s of them


class Batch(NamedTuple):
    """Windows of H consecutive steps for training; leading axes ``(updates, batch)`` unless said otherwise.

    With H = 1 a window is a transition, and the axis H is left out.

    Attributes:
        state, next_state: ``(…, d)`` before the window and after its last valid step.
        action: ``(…, H, a)``.   reward: ``(…, H)``.   Both 0 where not valid.
        mask: ``(…)``: 0 where the task ended within the window (nothing to bootstrap from), 1 otherwise, time limits
            and aborts included.
        cost: ``(…)`` share of the first step, 0–1, during which the passivity filter held back.
        recent_cost: ``(updates,)`` mean cost of the newest online steps that a policy decided, which says how it does
            these days where the other columns tell of all times; NaN when there are none.
        previous_action: ``(…, a)`` of the step before the window; at the start of a run, the window's first action.
        valid: ``(…, H)``: 1 where the run went on that far, 0 after its end.
        images, next_images: camera → ``(…, h, w, 3)`` uint8 at ``state`` and ``next_state``; None without cameras.
        return_deviation, return_largest: ``(updates,)`` √Var(G) and max |G| of all steps so far, see
            `robot_rl.data.returns`; None where nobody counts them.
    """

    state: Any
    action: Any
    reward: Any
    mask: Any
    next_state: Any
    cost: Any
    recent_cost: Any
    previous_action: Any = None
    valid: Any = None
    images: Any = None
    next_images: Any = None
    return_deviation: Any = None
    return_largest: Any = None


class ReplayBuffer:
    """The newest transitions, up to ``capacity`` observations; an episode of T steps takes T + 1."""

    def __init__(self, capacity: int, layout: Layout) -> None:
        if capacity < 2:
            raise ValueError(f"a replay buffer needs a capacity of at least 2, not {capacity}")
        self.capacity = capacity
        self.state = np.zeros((capacity, layout.state_size), np.float32)
        self.images = {name: np.zeros((capacity, *size, 3), np.uint8) for name, size in layout.images.items()}
        self.action = np.zeros((capacity, layout.action_size), np.float32)
        self.reward = np.zeros(capacity, np.float32)
        self.mask = np.zeros(capacity, np.float32)
        self.cost = np.zeros(capacity, np.float32)
        self.starts = np.zeros(capacity, bool)  # rows that a transition starts from
        self.dropped = 0  # transitions that made room for others
        # running CRC-32 of states, actions, rewards, masks, costs and each camera: equal digests, equal buffers
        self.digests = [0] * (5 + len(self.images))
        self._next = 0  # the row to write
        self._rows = 0  # rows in use
        self._size = 0
        self._newest_costs: deque[float] = deque(maxlen=RECENT)  # of steps that a policy decided
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
        new = slice(int(continued), None)
        columns = [transitions.state[new], transitions.action, transitions.reward]
        columns += [transitions.terminated, transitions.cost, *(transitions.images[name][new] for name in self.images)]
        self.digests = [
            zlib.crc32(np.ascontiguousarray(column).data, digest)
            for column, digest in zip(columns, self.digests, strict=True)
        ]
        self._newest_costs.extend(transitions.cost[transitions.source == Source.POLICY].tolist())
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

    def sample(self, rng: np.random.Generator, count: int, horizon: int = 1) -> Batch:
        """``count`` windows of ``horizon`` steps, uniformly over their first steps and with replacement."""
        batch, first, after = self.windows(rng, count, horizon)
        if not self.images:
            return batch
        images, following = ({name: kept[rows] for name, kept in self.images.items()} for rows in (first, after))
        return batch._replace(images=images, next_images=following)

    def windows(self, rng: np.random.Generator, count: int, horizon: int) -> tuple[Batch, np.ndarray, np.ndarray]:
        """As `sample`, with the rows ``(count,)`` of the images and next images in place of these."""
        first = self.sample_rows(rng, count)
        rows = (first[:, None] + np.arange(horizon)) % self.capacity
        valid = np.logical_and.accumulate(self.starts[rows], axis=1)
        steps = valid.sum(axis=1)
        last = (first + steps - 1) % self.capacity
        after = (first + steps) % self.capacity
        before = (first - 1) % self.capacity
        action, reward = self.action[rows] * valid[..., None], self.reward[rows] * valid
        chunk = horizon > 1
        batch = Batch(
            state=self.state[first],
            action=action if chunk else action[:, 0],
            reward=reward if chunk else reward[:, 0],
            mask=self.mask[last],
            next_state=self.state[after],
            cost=self.cost[first],
            recent_cost=self.recent_cost,
            previous_action=self.action[np.where(self.starts[before], before, first)],
            valid=(valid if chunk else valid[:, 0]).astype(np.float32),
        )
        return batch, first, after

    @property
    def recent_cost(self) -> float:
        """Mean cost of the newest steps that a policy decided; NaN when there are none."""
        return float(np.mean(self._newest_costs)) if self._newest_costs else np.nan

    def _take_rows(self, count: int) -> np.ndarray:
        rows = (self._next + np.arange(count)) % self.capacity
        dropped = int(self.starts[rows].sum())
        self.dropped += dropped
        self._size -= dropped
        self.starts[rows] = False
        self._next = (self._next + count) % self.capacity
        self._rows = min(self.capacity, self._rows + count)
        return rows

    def _write(self, rows: np.ndarray, transitions: Transitions, part: slice) -> None:
        self.state[rows] = transitions.state[part]
        for name, images in self.images.items():
            images[rows] = transitions.images[name][part]


class Sampler:
    """Minibatches from several buffers, each with its share of every one.

    RLPD's symmetric sampling is two buffers, demonstrations and online data, with weights ½ and ½. The share of an
    empty buffer goes to the others. Shares that are no whole number of a minibatch are rounded up or down by chance, so
    that they are met on average.

    Args:
        buffers: demonstrations first; those after them tell ``recent_cost``.
        weights: one for each buffer, or a function from their sizes to these; they need not add up to 1.
    """

    def __init__(
        self,
        buffers: Sequence[ReplayBuffer],
        weights: Sequence[float] | Callable[[Sequence[int]], Sequence[float]],
    ) -> None:
        if not callable(weights):
            if len(buffers) != len(weights) or not all(weight > 0.0 for weight in weights):
                raise ValueError(f"{len(buffers)} buffers need as many positive weights, not {list(weights)}")
            weights = tuple(weights)
        self.buffers = tuple(buffers)
        self.weights = weights

    def sample(self, rng: np.random.Generator, updates: int, batch_size: int, horizon: int = 1) -> Batch:
        """Batch with leading axes ``(updates, batch_size)``; along the second, the buffers one after another.

        It shares no memory with a buffer or another batch: a device may still read it when the next one is drawn.
        """
        weights = self.weights([len(b) for b in self.buffers]) if callable(self.weights) else self.weights
        filled = [(b, w) for b, w in zip(self.buffers, weights, strict=True) if len(b) and w > 0.0]
        if not filled:
            raise ValueError("cannot sample from empty replay buffers")
        shares = np.cumsum([w for _, w in filled]) / sum(w for _, w in filled) * batch_size
        edges = np.floor(np.concatenate(([0.0], shares[:-1].round(9) + rng.random(), [batch_size]))).astype(int)
        parts = []
        images, following = (self._frames(updates, batch_size) for _ in range(2))
        for (buffer, _), start, stop in zip(filled, edges, edges[1:], strict=False):
            if start == stop:
                continue
            part, first, after = buffer.windows(rng, updates * (stop - start), horizon)
            parts.append(_reshape(part, updates, stop - start))
            _gather(buffer.images, first.reshape(updates, -1), images, slice(start, stop))
            _gather(buffer.images, after.reshape(updates, -1), following, slice(start, stop))
        costs = [buffer.recent_cost for buffer in self.buffers[1:]]
        known = [cost for cost in costs if not np.isnan(cost)]
        recent_cost = np.full(updates, np.mean(known) if known else np.nan, np.float32)
        return Batch(*(_concatenate(columns) for columns in zip(*parts, strict=True)))._replace(
            recent_cost=recent_cost, images=images or None, next_images=following or None
        )

    def _frames(self, updates: int, batch_size: int) -> dict[str, np.ndarray]:
        """Room for a batch's images."""
        kept = self.buffers[0].images
        return {name: np.empty((updates, batch_size, *frames.shape[1:]), np.uint8) for name, frames in kept.items()}


def _gather(kept: Mapping[str, np.ndarray], rows: np.ndarray, into: Mapping[str, np.ndarray], columns: slice) -> None:
    """Copy the images at ``rows (updates, n)`` to where the batch has them, and nowhere else on the way."""
    for name, frames in kept.items():
        for update, wanted in enumerate(rows):  # `out` is written in place only where it is contiguous and not checked
            np.take(frames, wanted, axis=0, out=into[name][update, columns], mode="clip")


def _reshape(batch: Batch, updates: int, count: int) -> Batch:
    """Split the leading axis of every column but ``recent_cost``."""

    def split(column: Any) -> Any:
        return column if np.ndim(column) == 0 else column.reshape(updates, count, *column.shape[1:])

    return Batch(*(split(column) for column in batch))


def _concatenate(columns: Sequence[Any]) -> Any:
    first = columns[0]
    return first if len(columns) == 1 or np.ndim(first) == 0 else np.concatenate(columns, axis=1)
