"""What a learner learns from: demonstrations, and the online steps of one arm or of several.

All demonstrations share a buffer, each online source has one of its own, so that an arm that is ahead does not push the
others' steps out. A person's corrections go to the demonstrations too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from robot_rl.contract import Layout, Source
from robot_rl.data.episode import Transitions
from robot_rl.data.replay import ReplayBuffer, Sampler
from robot_rl.data.returns import ReturnStatistics
from robot_rl.data.schema import StoreError, StoreSchema
from robot_rl.data.store import StoreReader
from robot_rl.learner.checkpoint import CheckpointError

DEMO, ONLINE = "demo", "online"


class Domain(Protocol):
    """What is learnt: the schema of a task's stores, or whatever else has a layout and a name."""

    @property
    def layout(self) -> Layout:
        """The sizes, for an agent."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What must be the same for parameters and checkpoints to make sense; JSON values."""

    def misfit(self, store: StoreSchema) -> str:
        """Why steps of ``store`` cannot be learnt from here, in words; empty when they can."""


@dataclass(eq=False)
class _Feed:
    """A source of steps: number ``index`` of its ``kind``, the store it is read from, if any, and where it goes."""

    kind: str
    index: int
    reader: StoreReader | None
    buffer: ReplayBuffer
    fits: bool = False


class Mixture:
    """Shares of a minibatch by the sizes of the buffers, demonstrations first.

    Args:
        demo_share: of the demonstrations, 0 to 1; None: in proportion to how many there are.
        online: weight of each online source within the rest; empty: in proportion to their sizes.
    """

    def __init__(self, demo_share: float | None, online: Sequence[float] = ()) -> None:
        if demo_share is not None and not 0.0 <= demo_share <= 1.0:
            raise ValueError(f"demo_share {demo_share} must be from 0 to 1")
        if not all(weight > 0.0 for weight in online):
            raise ValueError(f"the online sources need positive weights, not {list(online)}")
        self.demo_share = demo_share
        self.online = tuple(online)

    def __call__(self, sizes: Sequence[int]) -> list[float]:
        """Weights that add up to 1, unless all is empty. What is empty leaves its share to its likes, or to all."""
        demos, online = sizes[0], np.array(sizes[1:], float)
        within = np.where(online > 0, self.online, 0.0) if self.online else online
        share = demos / max(sum(sizes), 1) if self.demo_share is None else self.demo_share
        if not demos or not online.any():
            share = float(demos > 0)
        return [share, *((1.0 - share) * within / max(within.sum(), 1e-9))]


class Sources:
    """Readers, buffers, and the order in which steps arrived.

    Args:
        domain: what is learnt; every store must fit it.
        demos, online: stores; where there is no online one, steps come by `add`.
        capacity: online observations kept, by all sources together.
        demo_capacity: demonstration observations kept, interventions included.
        interventions: a person's corrections count as demonstrations too.
        mixture: shares of a minibatch.
        discount: γ of the returns that ``returns`` counts, of all steps once.

    ``arrivals`` are ``[kind, index, steps]`` in order, for refilling. ``messages`` collects what the operator should
    hear of; ``largest_reward`` is the largest |reward| of all steps.
    """

    def __init__(
        self,
        domain: Domain,
        demos: Sequence[StoreReader],
        online: Sequence[StoreReader],
        *,
        capacity: int,
        demo_capacity: int,
        interventions: bool,
        mixture: Mixture,
        discount: float,
    ) -> None:
        count = max(1, len(online))
        if mixture.online and len(mixture.online) != count:
            raise ValueError(f"{count} online sources need as many weights, not {list(mixture.online)}")
        self.demo_buffer = ReplayBuffer(demo_capacity, domain.layout)
        self.online_buffers = tuple(ReplayBuffer(max(2, capacity // count), domain.layout) for _ in range(count))
        self.sampler = Sampler((self.demo_buffer, *self.online_buffers), mixture)
        self.demo_sampler = Sampler((self.demo_buffer,), (1.0,))
        self.arrivals: list[list[Any]] = []
        self.demo_steps = 0
        self.largest_reward = 0.0
        self.returns = ReturnStatistics(discount)
        self.messages: list[str] = []
        self._domain = domain
        self._interventions = interventions
        readers: Sequence[StoreReader | None] = online or (None,)
        self._demos = [_Feed(DEMO, i, reader, self.demo_buffer) for i, reader in enumerate(demos)]
        self._online = [
            _Feed(ONLINE, i, reader, buffer)
            for i, (reader, buffer) in enumerate(zip(readers, self.online_buffers, strict=True))
        ]

    @property
    def digests(self) -> list[list[int]]:
        """Of each buffer's history, demonstrations first."""
        return [buffer.digests for buffer in self.sampler.buffers]

    def poll(self) -> tuple[int, list[Transitions]]:
        """Take in what the stores have gained: how many steps, and those of them that are online.

        Raises `StoreError` when a store is of another task or layout.
        """
        count, online = 0, []
        for feed in (*self._demos, *self._online):
            for transitions in self._read(feed, None):
                self._ingest(feed, transitions)
                count += len(transitions)
                if feed.kind == ONLINE:
                    online.append(transitions)
        return count, online

    def add(self, transitions: Transitions) -> None:
        """Online steps handed over without a store."""
        self._ingest(self._online[0], transitions)

    def add_demonstration(self, transitions: Transitions) -> None:
        """Steps of a demonstration handed over without a store; `refill` does not know where to find them again."""
        self._demonstrate(transitions)
        self.returns.add(transitions)
        self.demo_steps += len(transitions)

    def refill(self, origin: Path, arrivals: Sequence[Sequence[Any]], digests: Sequence[Sequence[int]]) -> None:
        """Read the stores again in the order of ``arrivals``, the buffers being empty.

        What is not as ``digests`` say is told in ``messages``. Raises `CheckpointError`, of the checkpoint ``origin``,
        when a store is missing.
        """
        for kind, index, count in arrivals:
            feeds = self._demos if kind == DEMO else self._online
            feed = feeds[index] if index < len(feeds) else None
            if feed is None or feed.reader is None:
                raise CheckpointError(f"{origin}: {kind} store number {index + 1} of it is not given to this learner")
            parts = self._read(feed, count)
            for transitions in parts:
                self._ingest(feed, transitions)
            if (missing := count - sum(map(len, parts))) > 0:
                self.messages.append(f"{feed.reader.path}: {missing} steps that the checkpoint had seen are gone")
        known = zip(self.digests, digests, strict=False)  # an arm may have joined
        if any(now[: len(then)] != list(then) for now, then in known):  # older ones have none of images
            self.messages.append(f"{origin}: the replay buffers are not what they were; the stores have changed since")

    def _read(self, feed: _Feed, limit: int | None) -> list[Transitions]:
        """New steps of a store that exists and fits; its messages become this object's."""
        reader = feed.reader
        if reader is None:
            return []
        if not feed.fits:
            if reader.schema is None:
                return []
            if misfit := self._domain.misfit(reader.schema):
                raise StoreError(f"{reader.path} {misfit}")
            feed.fits = True
        parts = reader.poll(limit)
        self.messages += reader.messages
        reader.messages.clear()
        return parts

    def _ingest(self, feed: _Feed, transitions: Transitions) -> None:
        if self.arrivals and self.arrivals[-1][:2] == [feed.kind, feed.index]:
            self.arrivals[-1][2] += len(transitions)
        else:
            self.arrivals.append([feed.kind, feed.index, len(transitions)])
        if feed.kind == DEMO:
            self.add_demonstration(transitions)
            return
        feed.buffer.add(transitions)
        self.returns.add(transitions)
        self._notice(transitions)
        if self._interventions and (transitions.source == Source.PERSON).any():
            for run in transitions.by_person():
                self._demonstrate(run)

    def _demonstrate(self, transitions: Transitions) -> None:
        whole = not self.demo_buffer.dropped
        self.demo_buffer.add(transitions)
        if whole and self.demo_buffer.dropped:
            self.messages.append(
                f"there are more demonstrations and corrections than demo_capacity={self.demo_buffer.capacity} "
                "observations: the oldest are dropped"
            )
        self._notice(transitions)

    def _notice(self, transitions: Transitions) -> None:
        self.largest_reward = max(self.largest_reward, float(np.abs(transitions.reward).max(initial=0.0)))
