"""Replay: ring buffers of transitions in memory, and weighted sampling from several of them.

A buffer is a ring of *observations*. Transition i goes from row i to row i + 1, so each observation (and each image) is
kept once; the last observation of a run is a row that starts no transition. A transition that does not count (any more)
keeps its row, so that what is drawn depends on what arrived and how it is labelled, and not on when it was labelled.

A *takeover* is a step that a policy decided, after which a person decides the next one of the same run. A buffer that
cuts there (``learner.interventions=cut``) ends a window with such a step and has nothing to bootstrap from behind it,

    y = Σ γ^k r_{t+k} + γ^H m (1 − b) Q̄(s_{t+H}, ·),   b = 1 where the next decision is a person's,

as if the task had ended: what a person makes good is not credited to the policy's steps before. Steps of a window that
would lie behind the takeover are not valid. So a takeover counts as a failure that costs what was still to be had,
which is right for rewards of 0 and more; with negative ones it would pay. What follows when a person lets go is the
policy's own doing, and a person's steps are bootstrapped through it.
"""

from __future__ import annotations

import math
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from robot_rl.contract import Layout, Source, frame_spec
from robot_rl.data.episode import Correction, Transitions
from robot_rl.data.examples import EpisodeReturns, standard

BOOKKEEPING = 19  # bytes of a row beside state, action and images
RECENT = 256  # steps of a policy that tell how it does now: 26 s of them
PREVIOUS_ACTION, RECENT_COST, EXAMPLE = "previous_action", "recent_cost", "example"  # columns that replay makes itself
RETURN_DEVIATION, RETURN_LARGEST = "return_deviation", "return_largest"  # and that `robot_rl.data.returns` makes
DERIVED = (PREVIOUS_ACTION, RECENT_COST, EXAMPLE, RETURN_DEVIATION, RETURN_LARGEST)


class Batch(NamedTuple):
    """Windows of H consecutive steps for training; leading axes ``(updates, batch)`` unless said otherwise.

    With H = 1 a window is a transition, and the axis H is left out.

    Attributes:
        state, next_state: ``(…, d)`` before the window and after its last valid step.
        action: ``(…, H, a)``.   reward: ``(…, H)``.   Both 0 where not valid.
        mask: ``(…)``: 0 where the task ended within the window, or it was cut at a takeover (nothing to bootstrap
            from), 1 otherwise, time limits and aborts included.
        valid: ``(…, H)``: 1 where the run went on that far, 0 after its end, or after a takeover that it is cut at.
        images, next_images: camera → ``(…, h, w, 3)`` uint8 at ``state`` and ``next_state``, or
            ``(…, rows, columns, channels)`` float16 where the layout has grids of features; None without cameras.
        columns: what the agent asked for beside these (`robot_rl.learner.agent.Agent.columns`), by name. Any recorded
            column, of the window's first step ``(…, …)``; or
            ``previous_action (…, a)``: of the step before the window; at the start of a run, the window's first one.
            ``recent_cost (updates,)``: mean cost of the newest online steps that a policy decided, which says how it
            does these days where the other columns tell of all times; NaN when there are none.
            ``example (…)``: 1 where the window is of the demonstrations, or of an episode that has ended and returned
            as much as the median one of them (without any, of all episodes), 0 otherwise. Where takeovers cut, a step
            that a policy decided is none if a person decided a later one of the episode: its return is their doing.
            ``return_deviation, return_largest (updates,)``: √Var(G) and max |G| of all steps so far, see
            `robot_rl.data.returns`.
    """

    state: Any
    action: Any
    reward: Any
    mask: Any
    next_state: Any
    valid: Any = None
    images: Any = None
    next_images: Any = None
    columns: Any = {}  # noqa: RUF012 — never written to


class ReplayBuffer:
    """The newest transitions, up to ``capacity`` observations; an episode of T steps takes T + 1.

    Args:
        columns: kept beside what every agent needs; see `Batch`.
        cut: windows end at takeovers.
    """

    def __init__(self, capacity: int, layout: Layout, columns: Sequence[str] = (), cut: bool = False) -> None:
        if capacity < 2:
            raise ValueError(f"a replay buffer needs a capacity of at least 2, not {capacity}")
        self.capacity = capacity
        self.state = np.zeros((capacity, layout.state_size), np.float32)
        self._sizes = dict(layout.images)
        specs = {name: frame_spec(size) for name, size in layout.images.items()}
        self.images: dict[str, np.ndarray] = {
            name: np.zeros((capacity, *spec.shape), spec.dtype) for name, spec in specs.items()
        }
        self.action = np.zeros((capacity, layout.action_size), np.float32)
        self.reward = np.zeros(capacity, np.float32)
        self.mask = np.zeros(capacity, np.float32)
        self.columns: dict[str, np.ndarray] = {}  # those recorded; made when the first steps tell their sizes
        self.held = np.zeros(capacity, bool)  # rows that a transition starts from
        self.starts = np.zeros(capacity, bool)  # the same, where it counts
        self.by_person = np.zeros(capacity, bool)  # rows whose transition a person decided
        self.cut = cut
        self.dropped = 0  # transitions that made room for others
        self.returns = EpisodeReturns()  # kept where `EXAMPLE` is asked for
        self._wanted = tuple(name for name in columns if name not in DERIVED)
        self._derived = tuple(name for name in columns if name in DERIVED)
        self._origin = np.full(capacity, -1, np.int32)  # number of the episode in `_origins` that a row is of
        self._step = np.zeros(capacity, np.int32)  # within it
        self._origins: dict[tuple[str, int], int] = {}
        self._last_by_person: list[int] = []  # number of an episode → its last step that a person decided; −1: none
        # Running CRC-32 of all that is never corrected: states, actions, recorded columns, each camera.
        self._history = [0] * (2 + len(self._wanted) + len(self.images))
        self._next = 0  # the row to write
        self._rows = 0  # rows in use
        self._size = 0
        self._newest_costs: deque[float] = deque(maxlen=RECENT)  # of steps that a policy decided
        self._tail: tuple[str, int, int] | None = None  # the step that would continue the last run

    @staticmethod
    def bytes_for(capacity: int, layout: Layout) -> int:
        """Memory that ``capacity`` observations of ``layout`` take, once they are there."""
        specs = [frame_spec(size) for size in layout.images.values()]
        frames = sum(math.prod(spec.shape) * np.dtype(spec.dtype).itemsize for spec in specs)
        return capacity * (4 * (layout.state_size + layout.action_size) + frames + BOOKKEEPING)

    def __len__(self) -> int:
        """Transitions that can be sampled."""
        return self._size

    @property
    def digests(self) -> list[int]:
        """Checksums of all that arrived and of how it is labelled now: equal digests, equal buffers."""
        labels = (self.reward[: self._rows], self.mask[: self._rows], self.starts[: self._rows])
        return [*self._history, *(zlib.crc32(label.tobytes()) for label in labels)]

    def add(self, transitions: Transitions) -> None:
        """Append consecutive steps; a run that continues the last one shares its observation.

        Raises ValueError when they lack a column that was asked for.
        """
        count = len(transitions)
        if count == 0:
            return
        asked = {name: self._column(transitions, name) for name in self._wanted}
        number = self._origins.setdefault((transitions.store, transitions.episode), len(self._origins))
        if EXAMPLE in self._derived:
            self.returns.add(number, transitions)
        by_person = np.asarray(transitions["source"] == Source.PERSON)
        self._note_person(number, transitions.start + np.flatnonzero(by_person & transitions.counts))
        images, counts = transitions.frames(self._sizes), transitions.counts
        continued = self._tail == (transitions.store, transitions.episode, transitions.start)
        if not continued:
            self._write(self._take_rows(1), transitions["state"], images, slice(0, 1))
        for first in range(0, count, self.capacity - 1):  # more than fits at once: in parts
            part = slice(first, min(count, first + self.capacity - 1))
            rows = self._take_rows(part.stop - part.start)
            self._write(rows, transitions["state"], images, slice(part.start + 1, part.stop + 1))
            before = (rows - 1) % self.capacity
            self.action[before] = transitions["action"][part]
            self.reward[before] = transitions["reward"][part]
            self.mask[before] = 1.0 - transitions["terminated"][part]
            for name, column in asked.items():
                self.columns[name][before] = column[part]
            self.held[before] = True
            self.starts[before] = counts[part]
            self.by_person[before] = by_person[part]
            self._origin[before] = number
            self._step[before] = transitions.start + np.arange(part.start, part.stop)
            self._size += int(counts[part].sum())
        new = slice(int(continued), None)
        arrived = [transitions["state"][new], transitions["action"], *asked.values()]
        arrived += [images[name][new] for name in self.images]
        self._history = [
            zlib.crc32(np.ascontiguousarray(column).data, digest)
            for column, digest in zip(arrived, self._history, strict=True)
        ]
        if RECENT_COST in self._derived:
            by_policy = transitions["source"] == Source.POLICY
            self._newest_costs.extend(self._column(transitions, "cost")[by_policy].tolist())
        self._tail = (transitions.store, transitions.episode, transitions.start + count)

    def correct(self, correction: Correction) -> None:
        """Label the steps of an episode anew, those of them that are kept; samples show it from now on."""
        number = self._origins.get((correction.store, correction.episode))
        if number is None:
            return
        if EXAMPLE in self._derived:
            self.returns.correct(number, correction)
        rows = np.flatnonzero(self.held & (self._origin == number))
        rows = rows[self._step[rows] < len(correction)]
        steps = self._step[rows]
        self.reward[rows] = correction["reward"][steps]
        self.mask[rows] = 1.0 - correction["terminated"][steps]
        self._size += int(correction["counts"][steps].sum()) - int(self.starts[rows].sum())
        self.starts[rows] = correction["counts"][steps]
        self._last_by_person[number] = -1
        self._note_person(number, self._step[self.starts & self.by_person & (self._origin == number)])

    def sample_rows(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """``(count,)`` rows that transitions which count start from, uniformly and with replacement."""
        if self._size == 0:
            raise ValueError("cannot sample from an empty replay buffer")
        if 4 * self._size < self._rows:  # most would be refused
            return rng.choice(np.flatnonzero(self.starts), count)
        rows = rng.integers(0, self._rows, count)
        wrong = np.flatnonzero(~self.starts[rows])
        while len(wrong):  # the last observation of each run, and what does not count
            rows[wrong] = rng.integers(0, self._rows, len(wrong))
            wrong = wrong[~self.starts[rows[wrong]]]
        return rows

    def sample(self, rng: np.random.Generator, count: int, horizon: int = 1) -> Batch:
        """``count`` windows of ``horizon`` steps, uniformly over their first steps and with replacement."""
        return self.read(self.sample_rows(rng, count), horizon)

    def read(self, first: np.ndarray, horizon: int = 1) -> Batch:
        """The windows of ``horizon`` steps from the rows ``first (n,)`` on, which transitions start from."""
        batch, first, after = self._windows(first, horizon)
        if not self.images:
            return batch
        images, following = ({name: kept[rows] for name, kept in self.images.items()} for rows in (first, after))
        return batch._replace(images=images, next_images=following)

    def episodes(self) -> list[np.ndarray]:
        """Of each episode that has any, the rows that transitions which count start from, in the order of arrival."""
        rows = np.flatnonzero(self.starts)
        origins = self._origin[rows]
        return [rows[origins == number] for number in np.unique(origins)]

    def windows(self, rng: np.random.Generator, count: int, horizon: int) -> tuple[Batch, np.ndarray, np.ndarray]:
        """As `sample`, with the rows ``(count,)`` of the images and next images in place of these."""
        return self._windows(self.sample_rows(rng, count), horizon)

    def _windows(self, first: np.ndarray, horizon: int) -> tuple[Batch, np.ndarray, np.ndarray]:
        rows = (first[:, None] + np.arange(horizon)) % self.capacity
        goes_on = self.starts[rows]
        if self.cut:
            goes_on[:, 1:] &= ~self._is_takeover(rows[:, :-1])
        valid = np.logical_and.accumulate(goes_on, axis=1)
        steps = valid.sum(axis=1)
        last = (first + steps - 1) % self.capacity
        after = (first + steps) % self.capacity
        action, reward = self.action[rows] * valid[..., None], self.reward[rows] * valid
        chunk = horizon > 1
        columns = {name: self.columns[name][first] for name in self._wanted}
        if PREVIOUS_ACTION in self._derived:
            before = (first - 1) % self.capacity
            columns[PREVIOUS_ACTION] = self.action[np.where(self.held[before], before, first)]
        batch = Batch(
            state=self.state[first],
            action=action if chunk else action[:, 0],
            reward=reward if chunk else reward[:, 0],
            mask=np.where(self._is_takeover(last), np.float32(0.0), self.mask[last]) if self.cut else self.mask[last],
            next_state=self.state[after],
            valid=(valid if chunk else valid[:, 0]).astype(np.float32),
            columns=columns,
        )
        return batch, first, after

    def returns_at(self, rows: np.ndarray) -> np.ndarray:
        """Returns ``(n,)`` of the episodes that ``rows (n,)`` are of; not a number while they go on."""
        return self.returns.of(self._origin[rows])

    def rescued(self, rows: np.ndarray) -> np.ndarray:
        """``(n,)`` bool: of which ``rows (n,)`` a policy decided the step, and a person a later one of the episode.

        Nowhere where takeovers do not cut.
        """
        if not self.cut:
            return np.zeros(len(rows), bool)
        last = np.array(self._last_by_person)[self._origin[rows]]
        found: np.ndarray = ~self.by_person[rows] & (self._step[rows] < last)
        return found

    def asks_for(self, name: str) -> bool:
        """Whether a column that is derived was asked for."""
        return name in self._derived

    @property
    def recent_cost(self) -> float:
        """Mean cost of the newest steps that a policy decided; NaN when there are none."""
        return float(np.mean(self._newest_costs)) if self._newest_costs else np.nan

    def _is_takeover(self, rows: np.ndarray) -> np.ndarray:
        """Of which ``rows (…)`` of transitions a policy decided the step, and a person the next one of the run."""
        after = (rows + 1) % self.capacity
        found: np.ndarray = ~self.by_person[rows] & self.starts[after] & self.by_person[after]
        return found

    def _note_person(self, number: int, steps: np.ndarray) -> None:
        """Note that a person decided these ``steps (n,)`` of the episode ``number``."""
        if number == len(self._last_by_person):
            self._last_by_person.append(-1)
        self._last_by_person[number] = max((self._last_by_person[number], *steps.tolist()))

    def _column(self, transitions: Transitions, name: str) -> np.ndarray:
        """The rows ``(n, …)`` of a recorded column at the steps' beginnings, and room for them here."""
        if name not in transitions.columns:
            raise ValueError(
                f"the agent asks for a column {name!r}, which the steps of {transitions.store} have not; choose from "
                f"{', '.join(sorted((*transitions.columns, *DERIVED)))}"
            )
        column = transitions[name][: len(transitions)]
        if name in self._wanted and name not in self.columns:
            kind = column.dtype if column.dtype != np.float64 else np.dtype(np.float32)
            self.columns[name] = np.zeros((self.capacity, *column.shape[1:]), kind)
        return column

    def _take_rows(self, count: int) -> np.ndarray:
        rows = (self._next + np.arange(count)) % self.capacity
        self.dropped += int(self.held[rows].sum())
        self._size -= int(self.starts[rows].sum())
        self.held[rows] = self.starts[rows] = self.by_person[rows] = False
        self.reward[rows] = self.mask[rows] = 0.0  # nothing is left of a label that nobody can correct any more
        self._next = (self._next + count) % self.capacity
        self._rows = min(self.capacity, self._rows + count)
        return rows

    def _write(self, rows: np.ndarray, state: np.ndarray, images: Mapping[str, np.ndarray], part: slice) -> None:
        self.state[rows] = state[part]
        for name, kept in self.images.items():
            kept[rows] = images[name][part]


class Sampler:
    """Minibatches from several buffers, each with its share of every one.

    RLPD's symmetric sampling is two buffers, demonstrations and online data, with weights ½ and ½. The share of an
    empty buffer goes to the others. Shares that are no whole number of a minibatch are rounded up or down by chance, so
    that they are met on average.

    Args:
        buffers: demonstrations first; those after them tell ``recent_cost``. All keep the same columns.
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
        demos, *others = self.buffers
        judges = demos.asks_for(EXAMPLE)
        least = standard(demos.returns, (buffer.returns for buffer in others)) if judges else 0.0
        for (buffer, _), start, stop in zip(filled, edges, edges[1:], strict=False):
            if start == stop:
                continue
            part, first, after = buffer.windows(rng, updates * (stop - start), horizon)
            if judges:
                good = np.full(len(first), buffer is demos) | (buffer.returns_at(first) >= least)
                good &= ~buffer.rescued(first)
                part = part._replace(columns={**part.columns, EXAMPLE: good.astype(np.float32)})
            parts.append(_reshape(part, updates, stop - start))
            _gather(buffer.images, first.reshape(updates, -1), images, slice(start, stop))
            _gather(buffer.images, after.reshape(updates, -1), following, slice(start, stop))
        batch = _join(parts)
        columns = dict(batch.columns)
        if self.buffers[0].asks_for(RECENT_COST):
            costs = [buffer.recent_cost for buffer in self.buffers[1:]]
            known = [cost for cost in costs if not np.isnan(cost)]
            columns[RECENT_COST] = np.full(updates, np.mean(known) if known else np.nan, np.float32)
        return batch._replace(images=images or None, next_images=following or None, columns=columns)

    def _frames(self, updates: int, batch_size: int) -> dict[str, np.ndarray]:
        """Room for a batch's images."""
        kept = self.buffers[0].images
        return {name: np.empty((updates, batch_size, *frames.shape[1:]), frames.dtype) for name, frames in kept.items()}


def _gather(kept: Mapping[str, np.ndarray], rows: np.ndarray, into: Mapping[str, np.ndarray], columns: slice) -> None:
    """Copy the images at ``rows (updates, n)`` to where the batch has them, and nowhere else on the way."""
    for name, frames in kept.items():
        for update, wanted in enumerate(rows):  # `out` is written in place only where it is contiguous and not checked
            np.take(frames, wanted, axis=0, out=into[name][update, columns], mode="clip")


def _reshape(batch: Batch, updates: int, count: int) -> Batch:
    """Split the leading axis of every column."""
    columns = {name: value for name, value in batch._asdict().items() if isinstance(value, np.ndarray)}
    split = {name: value.reshape(updates, count, *value.shape[1:]) for name, value in columns.items()}
    more = {name: value.reshape(updates, count, *value.shape[1:]) for name, value in batch.columns.items()}
    return Batch(**split, columns=more)


def _join(parts: Sequence[Batch]) -> Batch:
    """Batches without images, side by side along their second axis."""
    if len(parts) == 1:
        return parts[0]
    names = [name for name, value in parts[0]._asdict().items() if isinstance(value, np.ndarray)]
    joined = {name: np.concatenate([getattr(part, name) for part in parts], axis=1) for name in names}
    more = {name: np.concatenate([part.columns[name] for part in parts], axis=1) for name in parts[0].columns}
    return Batch(**joined, columns=more)
