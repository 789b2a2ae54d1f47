"""The learner as an object: reads stores, updates as many times as the data has earned, hands out parameters.

No thread, clock, sleep or ROS in here: `robot_rl.jobs.processes.learner` calls `LearnerLoop.step` in its loop, and
training in process calls it after every environment step.

An update is only *dispatched*: while the device computes it, the environment makes its step, the stores are read and
the next batch is drawn and transferred. Its outcome is looked at once the next one is dispatched, so that the
device need not wait for that, and before anything of it is handed out. Nothing depends on how long it took.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from robot_rl.contract import Source, differences
from robot_rl.data.episode import Transitions
from robot_rl.data.parameters import ParameterError, pack, unpack
from robot_rl.data.store import StoreReader
from robot_rl.learner.agent import Agent, describe_agent
from robot_rl.learner.checkpoint import Checkpoint, CheckpointError, leaves_to_tree, load_latest, save
from robot_rl.learner.devices import DataParallel
from robot_rl.learner.domain import Domain
from robot_rl.learner.governor import UtdGovernor
from robot_rl.learner.imitation import Imitation
from robot_rl.learner.rehearsal import blank_batch
from robot_rl.learner.sources import Mixture, Sources
from robot_rl.learner.trust import Turns, better, hoped, learner_explores, learner_leads
from robot_rl.learner.watch import anomaly

__all__ = ["Domain", "LearnerLoop", "LoopConfig"]

LOGGER = logging.getLogger(__name__)
STALENESS_WINDOW = 256  # newest policy steps over which staleness is reported


@dataclass(frozen=True)
class LoopConfig:
    """Settings of the loop around the algorithm."""

    utd: float = 4.0  # critic steps per environment step, of all arms together
    start_after: int = 100  # online steps before the first update
    imitate: int = 3000  # steps of imitation at most, before everything else, of an agent that can
    pretrain: int = 0  # calls on demonstrations alone, before all others
    batch_size: int = 256  # transitions per critic step
    demo_share: float | None = 0.5  # of a minibatch; None: in proportion to how many demonstrations there are
    online_weights: tuple[float, ...] = ()  # of the online sources within the rest; (): in proportion to their sizes
    capacity: int = 1_000_000  # online observations kept, of all sources together
    demo_capacity: int = 200_000  # demonstration observations kept, interventions included
    interventions_to_demos: bool = True  # a person's corrections count as demonstrations too
    cut_at_takeover: bool = False  # what a person brings about is not credited to a policy's steps before
    keep_checkpoints: int = 3
    seed: int = 0


@dataclass(frozen=True, eq=False)
class _Call:
    """A call of ``update``: the state before it, its metrics, the critic steps that the governor counted."""

    before: Any
    info: Mapping[str, jax.Array]
    counted: int


class LearnerLoop:
    """Feeds one agent.

    Args:
        agent: the algorithm.
        domain: what is learnt, see `Domain`; every store must fit it.
        demos: stores of demonstrations.
        online: the stores that sessions write, one of each arm; with none, steps come by `add`.
        config: see `LoopConfig`.
        checkpoints: directory for `checkpoint` and `restore`, or None.
        devices: where updates are computed; default: on all devices that JAX sees.

    ``halted`` is why updates stopped (see `robot_rl.learner.watch`), or "". Parameters handed out from then on are the
    last good ones; a learner that is started again tries again from its last checkpoint. ``has_clone``: demonstrations
    were imitated, or a clone was taken over. ``held_out_rows``: in the demonstrations' buffer, an episode that was held
    out from imitation (`Imitation.episode`); None where there is none, or it has not begun. ``turned``: see
    `robot_rl.jobs.training`.
    """

    turned = False

    def __init__(
        self,
        agent: Agent,
        domain: Domain,
        *,
        demos: Sequence[StoreReader] = (),
        online: Sequence[StoreReader] = (),
        config: LoopConfig | None = None,
        checkpoints: str | Path | None = None,
        devices: DataParallel | None = None,
    ) -> None:
        self.config = config or LoopConfig()
        self.agent = agent
        self.domain = domain
        self.governor = UtdGovernor(self.config.utd, self.config.start_after)
        self.sources = Sources(
            domain,
            demos,
            online,
            columns=agent.columns,
            capacity=self.config.capacity,
            demo_capacity=self.config.demo_capacity,
            interventions=self.config.interventions_to_demos,
            cut=self.config.cut_at_takeover,
            mixture=Mixture(self.config.demo_share, self.config.online_weights),
            discount=agent.config.discount,
        )
        self.halted = ""
        self.has_clone = False
        self._devices = devices or DataParallel()
        self._devices.check(self.config.batch_size)
        self._state = self._devices.place_state(agent.create(jax.random.PRNGKey(self.config.seed), domain.layout))
        self._pending: deque[_Call] = deque()  # calls whose outcome nobody has looked at
        self._checkpoints = None if checkpoints is None else Path(checkpoints)
        self._rng = np.random.default_rng(self.config.seed)
        self._calls = 0
        self._imitation: Imitation | None = None  # while it goes on
        self._imitator = agent  # the part of it that does
        self._imitated: Mapping[str, float] = {}  # metrics of it
        self._before = ""  # in words, of the stages that are over
        self._passes = 0  # at most of the stage that goes on
        self.held_out_rows: np.ndarray | None = None
        self._pretraining = self.config.pretrain  # calls on demonstrations still to be made
        self._turns = Turns()
        self._drawn = 0  # ended episodes at the last draw of who acts
        self._leads = False  # whether what was learnt since imitation acts without noise
        self._staleness: deque[int] = deque(maxlen=STALENESS_WINDOW)
        self._trusted: Mapping[str, float] = {}
        self._info: Mapping[str, float] = {}

    @property
    def version(self) -> int:
        """Of the parameters: update calls made."""
        return self._calls

    @property
    def due(self) -> int:
        """Critic steps to be made now: what the data has earned, and before that what pre-training takes."""
        return self.pretraining_left * self.agent.updates_per_call + self.governor.due

    @property
    def imitating(self) -> bool:
        """Whether demonstrations are to be imitated before anything else: none of it has begun, or it goes on."""
        wanted = self.agent.imitate is not None and self.config.imitate > 0
        given = self.sources.demo_steps > 0 and len(self.sources.demo_buffer) > 0
        return wanted and given and not self.has_clone and not self.governor.made

    @property
    def imitation(self) -> str:
        """How far imitation is, in words; "" before it begins."""
        if not self._imitated:
            return self._before
        steps, loss = self._imitated["imitation/steps"], self._imitated["imitation/loss"]
        made = f"{self._before}{steps:.0f} steps, loss {loss:.4f}"
        held_out = self._imitated.get("imitation/held_out")
        return made if held_out is None else f"{made}, of held-out demonstrations {held_out:.4f} at best"

    @property
    def trust(self) -> str:
        """How the clone and what was learnt since do, in words; "" before an episode has told."""
        told = {name.removeprefix("trust/"): value for name, value in self._trusted.items()}
        means = [
            f"{words} {told[who]:.2f} of {told[f'{who}_episodes']:.0f} episodes"
            for who, words in (("clone", "the clone returns"), ("learner", "what was learnt since"))
            if told.get(f"{who}_episodes")
        ]
        return ", ".join(means)

    @property
    def pretraining(self) -> str:
        """How far learning of demonstrations alone is, ``N of M``; "" where it is over or not to be."""
        left, total = self.pretraining_left, self.config.pretrain
        return f"{total - left} of {total}" if left and not self.halted else ""

    @property
    def debt(self) -> int:
        """Critic updates that are due and will be made: whole calls, and none by a learner that has halted."""
        call = self.agent.updates_per_call
        return 0 if self.halted else self.due // call * call

    @property
    def pretraining_left(self) -> int:
        """Calls on demonstrations alone; later ones and a person's corrections are learnt along with the rest."""
        return self._pretraining if self.sources.demo_steps and not self.governor.made else 0

    @property
    def state(self) -> Any:
        """The state of the agent; waits for the update that is being computed."""
        self._settle()
        return self._state

    def adopt(self, data: bytes) -> None:
        """Start from the clone in published parameters, in place of imitation.

        Raises `ParameterError` when they are damaged, of another domain, or have none that fits.
        """
        found = unpack(data)
        if "tasks" in found.meta:
            raise ParameterError("it is a SmallVLA, which robot-rl pretrain --vla makes and robot-rl train improves")
        for name, there, mine in differences(found.meta, self.domain.identity):
            raise ParameterError(f"{name} is {there!r} there, this learner's is {mine!r}")
        if self.agent.adopt is None:
            raise ParameterError(f"agent {self.agent.name} does not start from a clone")
        try:
            self._state = self._devices.place_state(self.agent.adopt(self._state, found.params))
        except ValueError as error:
            raise ParameterError(str(error)) from error
        self.has_clone = True

    def warm_up(self) -> None:
        """Compile the update; nothing is learnt, and nothing drawn later is another for it."""
        batch = self.sources.complete(blank_batch(self.agent, self.domain.layout, self.config.batch_size))
        jax.block_until_ready(self.agent.update(self.state, self._devices.place_batch(batch)))

    def add(self, transitions: Transitions) -> None:
        """Online steps handed over directly, without a store."""
        self.sources.add(transitions)
        self._receive(transitions)

    def add_demonstration(self, transitions: Transitions) -> None:
        """Steps of a demonstration handed over directly; checkpoints do not know where to find them again."""
        self.sources.add_demonstration(transitions)

    def poll(self) -> int:
        """Take in what the stores have gained; returns the number of steps.

        Raises `StoreError` when a store is of another task or layout.
        """
        count, online = self.sources.poll()
        for transitions in online:
            self._receive(transitions)
        return count

    def step(self) -> bool:
        """Poll the stores and make one update call if one is due. Returns whether there was anything to do."""
        received = self.poll()
        return self.update() or received > 0

    def update(self) -> bool:
        """Dispatch one update call if one is due; returns whether it was."""
        updates = self.agent.updates_per_call
        if self.imitating:
            self._imitate()
            return True
        if self.halted or self.due < updates:
            return False
        pretraining = self.pretraining_left > 0
        sampler = self.sources.demo_sampler if pretraining else self.sources.sampler
        batch = sampler.sample(self._rng, updates, self.config.batch_size, self.agent.horizon)
        batch = self._devices.place_batch(self.sources.complete(batch))
        before = self._state
        self._state, info = self.agent.update(before, batch)
        self._pending.append(_Call(before, info, 0 if pretraining else updates))
        if pretraining:
            self._pretraining -= 1
        else:
            self.governor.make(updates)
        self._calls += 1
        self._take_turns()
        return self._settle(leave=1)

    def _take_turns(self) -> None:
        """Once an episode has ended, draw who acts in the next one, the clone or what was learnt since."""
        trust = self.sources.trust
        if self.agent.turn is None or not self.has_clone or trust.ended == self._drawn:
            return
        self._drawn = trust.ended
        clone, learner = trust.returns(self._turns, self._calls)
        chance = better(clone, learner)
        draw = float(np.random.default_rng((self.config.seed, trust.ended)).random())
        explores = self.governor.made > 0 and learner_explores(hoped(clone, learner), draw)
        self._turns.take(self._calls, explores)
        self._leads = learner_leads(chance, len(learner), self._leads)
        self._state = self.agent.turn(self._state, explores, self._leads)
        self._trusted = {
            "trust/chance": chance,
            "trust/clone": _mean(clone),
            "trust/clone_episodes": float(len(clone)),
            "trust/learner": _mean(learner),
            "trust/learner_episodes": float(len(learner)),
        }

    def _imitate(self) -> None:
        """One call of imitation."""
        if self._imitation is None:
            buffer, config = self.sources.demo_buffer, self.config
            self._imitation = Imitation(
                self._imitator, buffer, config.imitate, config.seed, self._devices, self._passes
            )
            self.held_out_rows = self._imitation.episode
        self._state, self._imitated = self._imitation.step(self._state)
        if self._imitation.done:
            self._imitation, then = None, self._imitator.then
            if then is None:
                self.has_clone = True
            else:
                self._before, self._imitated = f"{self.imitation}; then {then.words}: ", {}
                self._passes = then.passes
                self._imitator = self._imitator._replace(
                    then=None, horizon=then.horizon, imitate=then.imitate, imitation_loss=then.imitation_loss
                )

    def parameters(self) -> bytes:
        """The actor for the policy process, packed (`robot_rl.data.parameters`)."""
        params = {name: np.asarray(value) for name, value in self.agent.actor(self.state).items()}
        described = describe_agent(self.agent, self.domain.layout.images)
        return pack(params, self.version, {**self.domain.identity, **described, "seed": self.config.seed})

    def acting(self) -> None:
        """Nothing else than `parameters`, by which a policy takes turns itself."""

    def metrics(self) -> dict[str, float]:
        """Scalars for logs and plots."""
        self._settle()
        return {
            **self._imitated,
            **self._info,
            **self._trusted,
            "learner/updates": float(self.governor.made),
            "learner/version": float(self._calls),
            "learner/utd": self.governor.ratio,
            "learner/actor_utd": self.governor.ratio * self.agent.actor_share,
            "learner/due": float(self.due),
            "learner/online_steps": float(self.governor.received),
            "learner/demo_steps": float(self.sources.demo_steps),
            "learner/staleness": float(np.mean(self._staleness)) if self._staleness else 0.0,
            "learner/staleness_max": float(max(self._staleness, default=0)),
            "learner/halted": float(bool(self.halted)),
        }

    def checkpoint(self) -> Path:
        """Write everything to disk. Raises `CheckpointError` when it cannot be, or no directory was given."""
        if self._checkpoints is None:
            raise CheckpointError("this learner was given no directory for checkpoints")
        self._settle()
        meta = identity(self.agent, self.domain) | {
            "config": repr(self.agent.config),
            "governor": self.governor.state(),
            "arrivals": self.sources.arrivals,
            "digests": self.sources.digests,
            "relabels": self.sources.relabels,
            "sampling": self._rng.bit_generator.state,
            "calls": self._calls,
            "cloned": self.has_clone,
            "imitated": dict(self._imitated),
            "imitated_before": self._before,
            "turns": self._turns.state,
            "drawn": self._drawn,
            "leads": self._leads,
            "pretraining": self._pretraining,
            "staleness": list(self._staleness),
            "info": dict(self._info),
        }
        return save(self._checkpoints, self._calls, self._state, meta, self.config.keep_checkpoints)

    def restore(self, steps: Iterable[Transitions] | None = None) -> bool:
        """Go on from the newest whole checkpoint; False when there is none.

        The buffers are refilled from the stores in the order their steps arrived, or with ``steps``, where those came
        by `add`. To be called before anything else but `add_demonstration`.
        Raises `CheckpointError` when the checkpoint does not fit this learner.
        """
        found = load_latest(self._checkpoints) if self._checkpoints is not None else None
        if found is None:
            return False
        for message in found.skipped:
            LOGGER.warning(message)
        if self.sources.arrivals:
            raise CheckpointError("restore must come before the first step; this learner has data already")
        self._state = self._devices.place_state(state_of(found, self._state, self.agent, self.domain))
        if steps is None:
            self.sources.refill(found.path, found.meta["arrivals"], found.meta["digests"], found.meta["relabels"])
        else:
            for transitions in steps:
                self.sources.add(transitions)
            self.sources.compare(found.path, found.meta["digests"])
        self.governor.restore(found.meta["governor"])
        self._rng.bit_generator.state = found.meta["sampling"]
        self._calls = found.meta["calls"]
        self.has_clone, self._imitated = found.meta["cloned"], found.meta["imitated"]
        self._before = found.meta.get("imitated_before", "") if self.has_clone else ""
        self._turns = Turns((version, bool(learner)) for version, learner in found.meta["turns"])
        self._drawn, self._leads = found.meta["drawn"], found.meta.get("leads", False)
        self._pretraining = found.meta["pretraining"]
        self._staleness.extend(found.meta["staleness"])
        self._info = found.meta["info"]
        if found.meta["config"] != repr(self.agent.config):
            LOGGER.warning("%s: made with %s, going on with %s", found.path, found.meta["config"], self.agent.config)
        LOGGER.info("going on after %d update calls", self._calls)
        return True

    def _receive(self, transitions: Transitions) -> None:
        """Count online steps, and by how many calls the parameters that acted were behind the present ones."""
        self.governor.receive(len(transitions))
        acted = transitions["version"][(transitions["source"] == Source.POLICY) & (transitions["version"] >= 0)]
        self._staleness.extend(np.maximum(self._calls - acted, 0).tolist())

    def _settle(self, leave: int = 0) -> bool:
        """Look at what all calls but the last ``leave`` came to. A bad one and those after it are undone: False."""
        while len(self._pending) > leave:
            call = self._pending.popleft()
            info = {name: float(value) for name, value in jax.device_get(dict(call.info)).items()}
            layout, discount = self.domain.layout, self.agent.config.discount
            if wrong := anomaly(info, self.sources.largest_reward, layout.action_size, discount):
                undone = (call, *self._pending)
                self._pending.clear()
                self._state = call.before
                self._calls -= len(undone)
                self.governor.unmake(sum(one.counted for one in undone))
                self.halted = f"update {self._calls} {wrong}; updates stopped, the parameters before it are kept"
                LOGGER.error(self.halted)
            else:
                self._info = info
        return not self.halted


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def identity(agent: Agent, domain: Domain) -> dict[str, Any]:
    """Values that must be the same for parameters and checkpoints to make sense."""
    return {"agent": agent.name, **domain.identity}


def state_of(found: Checkpoint, template: Any, agent: Agent, domain: Domain) -> Any:
    """The state of ``agent`` in a checkpoint, like ``template``. Raises `CheckpointError` when it is of another one."""
    for name, there, mine in differences(found.meta, identity(agent, domain)):
        raise CheckpointError(f"{found.path}: {name} is {there!r}, this learner's is {mine!r}")
    try:
        return leaves_to_tree(template, found.leaves)
    except CheckpointError as error:
        raise CheckpointError(f"{found.path}: {error}") from error
