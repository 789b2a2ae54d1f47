"""The learner as an object: reads stores, updates as many times as the data has earned, hands out parameters.

No thread, clock, sleep or ROS in here: `robot_rl.processes.learner` calls `LearnerLoop.step` in its loop, and training
in process calls it after every environment step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from robot_rl.contract import Layout, Source
from robot_rl.data.episode import Transitions
from robot_rl.data.replay import ReplayBuffer, Sampler
from robot_rl.data.returns import ReturnStatistics
from robot_rl.data.schema import StoreError, StoreSchema
from robot_rl.data.store import StoreReader
from robot_rl.learner.agent import Agent
from robot_rl.learner.checkpoint import CheckpointError, leaves_to_tree, load_latest, save
from robot_rl.learner.governor import UtdGovernor
from robot_rl.policies.parameters import pack


@dataclass(frozen=True)
class LoopConfig:
    """What the learner does around its algorithm."""

    utd: float = 4.0  # critic steps per environment step
    start_after: int = 100  # online steps before the first update
    max_debt: int = 2000  # critic steps that may be owed when the learner falls behind
    batch_size: int = 256  # transitions per critic step
    capacity: int = 1_000_000  # online observations kept
    demo_capacity: int = 200_000  # demonstration observations kept, interventions included
    interventions_to_demos: bool = True  # a person's corrections count as demonstrations too
    keep_checkpoints: int = 3
    seed: int = 0


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


class LearnerLoop:
    """Feeds one agent.

    Args:
        agent: the algorithm.
        schema: what is learnt, see `Domain`; every store must fit it.
        demos: stores of demonstrations.
        online: the store that the session writes, or None when steps come by `add` only.
        config: see `LoopConfig`.
        checkpoints: directory for `checkpoint` and `restore`, or None.

    ``halted`` is why updates stopped (a loss that is not finite), or "". Parameters published from then on are the
    last good ones. ``messages`` collects what the operator should hear of.
    """

    def __init__(
        self,
        agent: Agent,
        schema: Domain,
        *,
        demos: Sequence[StoreReader] = (),
        online: StoreReader | None = None,
        config: LoopConfig | None = None,
        checkpoints: str | Path | None = None,
    ) -> None:
        self.config = config or LoopConfig()
        self.agent = agent
        self.schema = schema
        self.governor = UtdGovernor(self.config.utd, self.config.start_after, self.config.max_debt)
        self.demo_buffer = ReplayBuffer(self.config.demo_capacity, schema.layout)
        self.online_buffer = ReplayBuffer(self.config.capacity, schema.layout)
        self.returns = ReturnStatistics(agent.config.discount)  # refilled like the buffers
        self.state = agent.create(jax.random.PRNGKey(self.config.seed), schema.layout)
        self.halted = ""
        self.messages: list[str] = []
        self._readers = (*demos, online)  # the online store last
        self._checked = [False] * len(self._readers)
        self._arrivals: list[list[int]] = []  # [reader, steps] in order of arrival, for refilling
        self._checkpoints = None if checkpoints is None else Path(checkpoints)
        self._sampler = Sampler((self.demo_buffer, self.online_buffer), (0.5, 0.5))
        self._rng = np.random.default_rng(self.config.seed)
        self._calls = 0
        self._demo_steps = 0
        self._info: Mapping[str, Any] = {}

    @property
    def version(self) -> int:
        """Of the parameters: update calls made."""
        return self._calls

    def add(self, transitions: Transitions) -> None:
        """Online steps handed over directly, without a store."""
        self._ingest(len(self._readers) - 1, transitions)

    def add_demonstration(self, transitions: Transitions) -> None:
        """Steps of a demonstration handed over directly; checkpoints do not know where to find them again."""
        self._demo_steps += len(transitions)
        self.demo_buffer.add(transitions)
        self.returns.add(transitions)

    def poll(self) -> int:
        """Take in what the stores have gained; returns the number of steps.

        Raises `StoreError` when a store is of another task or layout.
        """
        count = 0
        for index, reader in enumerate(self._readers):
            if reader is None or not self._matches(index, reader):
                continue
            for transitions in reader.poll():
                self._ingest(index, transitions)
                count += len(transitions)
            self.messages += reader.messages
            reader.messages.clear()
        return count

    def step(self) -> bool:
        """Poll the stores and make one update call if one is due. Returns whether there was anything to do."""
        received = self.poll()
        return self.update() or received > 0

    def update(self) -> bool:
        """Make one update call if one is due; returns whether it was."""
        if self.halted or self.governor.due < self.agent.updates_per_call:
            return False
        updates, horizon = self.agent.updates_per_call, self.agent.horizon
        batch = self.returns.put_into(self._sampler.sample(self._rng, updates, self.config.batch_size, horizon))
        state, info = self.agent.update(self.state, batch)
        scalars = {name: float(value) for name, value in info.items()}
        wrong = [name for name, value in scalars.items() if not math.isfinite(value)]
        if wrong:
            self.halted = f"update {self._calls} gave {', '.join(wrong)} not finite; the parameters before it are kept"
            self.messages.append(self.halted)
            return False
        self.state, self._info = state, scalars
        self.governor.make(self.agent.updates_per_call)
        self._calls += 1
        return True

    def parameters(self) -> bytes:
        """The actor for the policy process, packed (`robot_rl.policies.parameters`)."""
        params = {name: np.asarray(value) for name, value in self.agent.actor(self.state).items()}
        return pack(
            params, self.version, self._identity() | {"seed": self.config.seed, "acting": dict(self.agent.acting)}
        )

    def metrics(self) -> dict[str, float]:
        """Scalars for logs and plots."""
        return {
            **self._info,
            "learner/updates": float(self.governor.made),
            "learner/version": float(self._calls),
            "learner/utd": self.governor.ratio,
            "learner/due": float(self.governor.due),
            "learner/forgiven": float(self.governor.forgiven),
            "learner/online_steps": float(self.governor.received),
            "learner/demo_steps": float(self._demo_steps),
            "learner/halted": float(bool(self.halted)),
        }

    def checkpoint(self) -> Path:
        """Write everything to disk. Raises `CheckpointError` when it cannot be, or no directory was given."""
        if self._checkpoints is None:
            raise CheckpointError("this learner was given no directory for checkpoints")
        meta = self._identity() | {
            "config": repr(self.agent.config),
            "governor": self.governor.state(),
            "arrivals": self._arrivals,
            "digests": [self.demo_buffer.digests, self.online_buffer.digests],
            "sampling": self._rng.bit_generator.state,
            "calls": self._calls,
            "info": dict(self._info),
        }
        return save(self._checkpoints, self._calls, self.state, meta, self.config.keep_checkpoints)

    def restore(self) -> bool:
        """Go on from the newest whole checkpoint; False when there is none.

        The buffers are refilled from the stores in the order their steps arrived. To be called before anything else.
        Raises `CheckpointError` when the checkpoint does not fit this learner.
        """
        found = load_latest(self._checkpoints) if self._checkpoints is not None else None
        if found is None:
            return False
        self.messages += found.messages
        for name, mine in self._identity().items():
            if found.meta.get(name) != mine:
                raise CheckpointError(f"{found.path}: {name} is {found.meta.get(name)!r}, this learner's is {mine!r}")
        if self._arrivals:
            raise CheckpointError("restore must come before the first step; this learner has data already")
        try:
            self.state = leaves_to_tree(self.state, found.leaves)
        except CheckpointError as error:
            raise CheckpointError(f"{found.path}: {error}") from error
        self._refill(found.path, found.meta)
        self.governor.restore(found.meta["governor"])
        self._rng.bit_generator.state = found.meta["sampling"]
        self._calls = found.meta["calls"]
        self._info = found.meta["info"]
        if found.meta["config"] != repr(self.agent.config):
            self.messages.append(f"{found.path}: made with {found.meta['config']}, going on with {self.agent.config}")
        return True

    def _refill(self, path: Path, meta: Mapping[str, Any]) -> None:
        for index, count in meta["arrivals"]:
            reader = self._readers[index] if index < len(self._readers) else None
            if reader is None:
                raise CheckpointError(f"{path}: store number {index} of its buffers is not given to this learner")
            parts = reader.poll(count) if self._matches(index, reader) else []
            for transitions in parts:
                self._ingest(index, transitions)
            if (missing := count - sum(map(len, parts))) > 0:
                self.messages.append(f"{reader.path}: {missing} steps that the checkpoint had seen are gone")
            self.messages += reader.messages
            reader.messages.clear()
        buffers, digests = (self.demo_buffer, self.online_buffer), meta["digests"]
        if any(buffer.digests[: len(then)] != then for buffer, then in zip(buffers, digests, strict=True)):
            self.messages.append(f"{path}: the replay buffers are not what they were; the stores have changed since")
        elif any(len(buffer.digests) > len(then) for buffer, then in zip(buffers, digests, strict=True)):
            self.messages.append(f"{path}: by an earlier version, which knew no costs; those are taken as they are now")

    def _ingest(self, index: int, transitions: Transitions) -> None:
        if self._arrivals and self._arrivals[-1][0] == index:
            self._arrivals[-1][1] += len(transitions)
        else:
            self._arrivals.append([index, len(transitions)])
        self.returns.add(transitions)
        if index < len(self._readers) - 1:
            self._demo_steps += len(transitions)
            self.demo_buffer.add(transitions)
            return
        self.online_buffer.add(transitions)
        if self.config.interventions_to_demos and (transitions.source == Source.PERSON).any():
            for run in transitions.by_person():
                self.demo_buffer.add(run)
        self.governor.receive(len(transitions))

    def _matches(self, index: int, reader: StoreReader) -> bool:
        """Whether the store exists; checked once against the schema."""
        if not self._checked[index]:
            if reader.schema is None:
                return False
            if misfit := self.schema.misfit(reader.schema):
                raise StoreError(f"{reader.path} {misfit}")
            self._checked[index] = True
        return True

    def _identity(self) -> dict[str, Any]:
        """What must be the same for parameters and checkpoints to make sense."""
        return {"agent": self.agent.name, **self.schema.identity}
