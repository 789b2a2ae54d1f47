"""Sources of a learner's data: demonstrations, and the online steps of one arm or of several.

All demonstrations share a buffer, each online source has one of its own, so that an arm that is ahead does not push the
others' steps out. A person's corrections go to the demonstrations too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.contract import Source
from robot_rl.data.episode import Correction, Transitions
from robot_rl.data.replay import RETURN_DEVIATION, RETURN_LARGEST, Batch, ReplayBuffer, Sampler
from robot_rl.data.returns import ReturnStatistics
from robot_rl.data.schema import StoreError
from robot_rl.data.store import StoreReader
from robot_rl.learner.checkpoint import CheckpointError
from robot_rl.learner.domain import Domain
from robot_rl.learner.trust import Trust

_log = logging.getLogger(__name__)
DEMO, ONLINE = "demo", "online"


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
        """Weights that add up to 1, unless all is empty. An empty source leaves its share to its likes, or to all."""
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
        columns: of a minibatch, beside what every agent is given (`robot_rl.learner.agent.Agent.columns`).
        capacity: online observations kept, by all sources together.
        demo_capacity: demonstration observations kept, interventions included.
        interventions: a person's corrections count as demonstrations too.
        cut: what a person brings about is not credited to a policy's steps before they took over; see
            `robot_rl.data.replay`.
        mixture: shares of a minibatch.
        discount: γ of the returns that ``returns`` counts, of all steps once.

    ``arrivals`` are ``[kind, index, episode, start, steps]`` in order, for refilling. ``largest_reward`` is the largest
    |reward| that any step ever had. ``trust`` counts the online episodes.
    """

    def __init__(
        self,
        domain: Domain,
        demos: Sequence[StoreReader],
        online: Sequence[StoreReader],
        *,
        columns: Sequence[str] = (),
        capacity: int,
        demo_capacity: int,
        interventions: bool,
        cut: bool = False,
        mixture: Mixture,
        discount: float,
    ) -> None:
        count = max(1, len(online))
        if mixture.online and len(mixture.online) != count:
            raise ValueError(f"{count} online sources need as many weights, not {list(mixture.online)}")
        layout = domain.layout
        self.demo_buffer = ReplayBuffer(demo_capacity, layout, columns, cut)
        self.online_buffers = tuple(ReplayBuffer(max(2, capacity // count), layout, columns, cut) for _ in range(count))
        self.sampler = Sampler((self.demo_buffer, *self.online_buffers), mixture)
        self.demo_sampler = Sampler((self.demo_buffer,), (1.0,))
        self.arrivals: list[list[Any]] = []
        self.demo_steps = 0
        self.largest_reward = 0.0
        self.returns = ReturnStatistics(discount)
        self.trust = Trust()
        self._counts_returns = RETURN_DEVIATION in columns or RETURN_LARGEST in columns
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
        """Of each buffer's history and labels, demonstrations first."""
        return [buffer.digests for buffer in self.sampler.buffers]

    @property
    def relabels(self) -> dict[str, list[int]]:
        """Kind → how many corrections of each store are in the buffers."""
        return {
            kind: [feed.reader.relabels if feed.reader is not None else 0 for feed in feeds]
            for kind, feeds in ((DEMO, self._demos), (ONLINE, self._online))
        }

    def complete(self, batch: Batch) -> Batch:
        """A minibatch with what was asked for that is not of its steps."""
        return self.returns.put_into(batch) if self._counts_returns else batch

    def poll(self) -> tuple[int, list[Transitions]]:
        """Take in what the stores have gained, and corrections: how many new steps, and those of them that are online.

        Raises `StoreError` when a store is of another task or layout.
        """
        count, online = 0, []
        for feed in (*self._demos, *self._online):
            if feed.reader is None or not self._fits(feed, feed.reader):
                continue
            polled = feed.reader.poll()
            for correction in polled.corrected:
                self.correct(correction)
            for transitions in polled.new:
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
        self._count(transitions)
        self.demo_steps += len(transitions)

    def correct(self, correction: Correction) -> None:
        """Label steps that arrived before anew, wherever they are: the next minibatch shows it."""
        for buffer in self.sampler.buffers:
            buffer.correct(correction)
        if self._counts_returns:
            self.returns.correct(correction)
        self.trust.correct(correction)
        self._notice(correction["reward"])

    def refill(
        self,
        origin: Path,
        arrivals: Sequence[Sequence[Any]],
        digests: Sequence[Sequence[int]],
        relabels: Mapping[str, Sequence[int]],
    ) -> None:
        """Read the stores again in the order of ``arrivals``, with the ``relabels`` of then, the buffers being empty.

        Later corrections come with the next `poll`. An episode that is not as ``digests`` say is logged. Raises
        `CheckpointError`, of the checkpoint ``origin``, when a store is missing.
        """
        for kind, feeds in ((DEMO, self._demos), (ONLINE, self._online)):
            for feed, count in zip(feeds, relabels[kind], strict=False):
                if feed.reader is not None:
                    feed.reader.limit_relabels(count)
        for kind, index, episode, start, count in arrivals:
            feeds = self._demos if kind == DEMO else self._online
            if index >= len(feeds) or (reader := feeds[index].reader) is None:
                raise CheckpointError(f"{origin}: {kind} store number {index + 1} of it is not given to this learner")
            feed = feeds[index]
            found = reader.take(episode, start, count) if self._fits(feed, reader) else None
            if found is not None:
                self._ingest(feed, found)
            if (missing := count - (0 if found is None else len(found))) > 0:
                _log.warning("%s: %d steps that the checkpoint had seen are gone", reader.path, missing)
        for feed in (*self._demos, *self._online):
            if feed.reader is not None:
                feed.reader.limit_relabels(None)
        self.compare(origin, digests)

    def compare(self, origin: Path, digests: Sequence[Sequence[int]]) -> None:
        """Log when the buffers are not those of the checkpoint ``origin``, by their ``digests``."""
        known = zip(self.digests, digests, strict=False)  # an arm may have joined
        if any(now != list(then) for now, then in known):
            _log.warning("%s: the replay buffers are not what they were; the stores have changed since", origin)

    def _fits(self, feed: _Feed, reader: StoreReader) -> bool:
        """Whether the store is there; raises `StoreError` when it is of something else."""
        if not feed.fits:
            if reader.schema is None:
                return False
            if misfit := self._domain.misfit(reader.schema):
                raise StoreError(f"{reader.path} {misfit}")
            feed.fits = True
        return True

    def _ingest(self, feed: _Feed, transitions: Transitions) -> None:
        self._remember(feed, transitions)
        if feed.kind == DEMO:
            self.add_demonstration(transitions)
            return
        feed.buffer.add(transitions)
        self.trust.add(transitions)
        self._count(transitions)
        self._notice(transitions["reward"])
        if self._interventions and (transitions["source"] == Source.PERSON).any():
            for run in transitions.by_person():
                self._demonstrate(run)

    def _remember(self, feed: _Feed, transitions: Transitions) -> None:
        """Note what arrived, in one entry with what it goes on from."""
        last = self.arrivals[-1] if self.arrivals else None
        going_on = [feed.kind, feed.index, transitions.episode]
        if last is not None and last[:3] == going_on and last[3] + last[4] == transitions.start:
            last[4] += len(transitions)
        else:
            self.arrivals.append([*going_on, transitions.start, len(transitions)])

    def _demonstrate(self, transitions: Transitions) -> None:
        whole = not self.demo_buffer.dropped
        self.demo_buffer.add(transitions)
        if whole and self.demo_buffer.dropped:
            _log.warning(
                "there are more demonstrations and corrections than demo_capacity=%d observations: the oldest are "
                "dropped",
                self.demo_buffer.capacity,
            )
        self._notice(transitions["reward"])

    def _count(self, transitions: Transitions) -> None:
        if self._counts_returns:
            self.returns.add(transitions)

    def _notice(self, reward: np.ndarray) -> None:
        self.largest_reward = max(self.largest_reward, float(np.abs(reward).max(initial=0.0)))
