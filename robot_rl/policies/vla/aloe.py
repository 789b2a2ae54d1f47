"""ALOE on a SmallVLA: rollouts and corrections → pessimistic critics of chunks → an action expert that imitates anew.

    L_π = mean over windows of w ‖v(x_t, t | c) − (a − ε)‖²,   as in `network`, c from a trunk that stays as it is
    w   = exp(clip((A − Ā)/(β σ), −c, c)),   A by `robot_rl.learner.chunk_critics` on the trunk's features
    θ̄  ← θ̄ + τ (θ − θ̄)   after each step; θ̄ proposes chunks for the critics, is published and acts

arXiv 2602.12691, on a small policy. A round begins once the arms have made so many steps: new observations and the
oldest others are given proposals of the policy of now, the critics learn what is due, then all windows are weighted and
the expert imitates them, one half of a minibatch demonstrations and what a person drove, as of all agents here. It is
made of small pieces of work, so that whoever does it can do other things in between; nobody waits for it.
``weight=return`` weighs by the standardised return of the rest of the episode in place of A, and has no critics.

Who acts in an episode, the policy that it began with or what was learnt since, is decided by what their episodes
returned, as for the agents (`robot_rl.learner.trust`): while learning by a draw, in use once the latter has earned it.

Departures from the paper: only the expert is trained; critics are small, and see the trunk's mean token and the state;
w is of A in units of its spread (see `learner.algorithms.chunked`).
"""

from __future__ import annotations

import copy
import logging
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from robot_rl.contract import Source
from robot_rl.data.episode import Correction, EpisodeInfo, Transitions
from robot_rl.data.parameters import unpack
from robot_rl.learner import chunk_critics
from robot_rl.learner.checkpoint import CheckpointError, leaves_to_tree, load_latest, save
from robot_rl.learner.chunk_critics import CriticSettings, Windows
from robot_rl.learner.domain import TaskDomain
from robot_rl.learner.governor import UtdGovernor
from robot_rl.policies.vla.card import Card, digest_of, packed
from robot_rl.policies.vla.config import AloeConfig
from robot_rl.policies.vla.feed import Feed
from robot_rl.policies.vla.network import SmallVla
from robot_rl.policies.vla.training import draw
from robot_rl.policies.vla.turns import TurnTaking
from robot_rl.policies.vla.watched import Table, Watched, contexts, table, watch

LOGGER = logging.getLogger(__name__)
CRITIC_PIECE, POLICY_PIECE, PROPOSED_AT_ONCE = 20, 5, 128  # steps, steps, and observations of a piece of work
SHOWN_SHARE = 0.5  # of a minibatch of the expert
STALENESS_WINDOW = 256  # newest policy steps over which staleness is reported
LARGEST_GRADIENT = 1.0  # norm beyond which it is cut
NEVER = 1e-9  # steps for each step of the arm, of what shall make none


class Before(NamedTuple):
    """All that a round changes, as it was before: see `AloeLoop._state`."""

    state: Mapping[str, Any]
    steps: int
    critic_steps: int
    info: Mapping[str, float]


class AloeLoop:
    """Improves one SmallVLA, by the interface of `robot_rl.jobs.training.Learning`.

    Args:
        card: the policy that it begins with.
        base: the bytes of that policy.
        domain: the task; every store must fit it.
        demos, online: stores, those of the arms second.
        config: see `AloeConfig`.
        start_after: online steps before the first round.
        checkpoints: directory for `checkpoint` and `restore`, or None; so many are kept.
        seed: of noise, minibatches and turns.
        threads: of the processor, of this whole process, for torch.

    Attributes:
        halted: why updates stopped, or "".
        turned: whether others act, or are in use, than were handed out last.
    """

    has_clone = True  # the policy that it begins with
    imitating = False
    imitation = pretraining = ""
    debt = 0

    def __init__(
        self,
        card: Card,
        base: bytes,
        domain: TaskDomain,
        *,
        demos: Sequence[Feed],
        online: Sequence[Feed],
        config: AloeConfig,
        start_after: int = 100,
        checkpoints: Path | None = None,
        keep: int = 2,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        torch.set_num_threads(threads)
        found = unpack(base)
        self.config = config
        self.halted, self.turned = "", False
        self._card, self._base, self._domain, self._shaped = card, base, domain, domain.view
        self._tasks, self._begun_with = tuple(found.meta["tasks"]), found.version
        self._feeds, self._checkpoints, self._keep, self._seed = (*demos, *online), checkpoints, keep, seed
        states = len(found.params["state_mean"])
        shapes = {name: found.params[f"cells.{name}.weight"].shape[1] for name in card.images}
        cells = {name: (len(found.params[f"places.{name}"]), size) for name, size in shapes.items()}
        network = SmallVla(card.config, cells, states, domain.view.action.size)
        network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in found.params.items()})
        self._network = network.eval().requires_grad_(False)
        self._expert = copy.deepcopy(network.expert).requires_grad_(True)
        self._optimiser = torch.optim.Adam(self._expert.parameters(), lr=config.learning_rate)
        self._settings = CriticSettings(
            members=config.critics,
            hidden=config.hidden,
            discount=config.discount,
            learning_rate=config.critic_rate,
            target_rate=config.target_rate,
        )
        features, size = card.config.width + states, card.config.acted * domain.view.action.size
        self._critics = chunk_critics.create(seed, features, size, self._settings)
        self._mean, self._scale = (np.zeros(features, np.float32) for _ in range(2))  # of what critics see; 0: unknown
        by_value = config.weight == "advantage"
        self.governor = UtdGovernor(config.critic_steps if by_value else NEVER, start_after)
        self._expert_governor = UtdGovernor(config.policy_steps or NEVER, start_after)
        self._generator, self._rng = torch.Generator(), np.random.default_rng(seed)
        self._generator.manual_seed(seed)
        self._episodes: list[Watched] = []
        self._waiting: deque[tuple[Feed, EpisodeInfo]] = deque()  # episodes that are not watched yet
        self._work: Iterator[None] | None = None
        self._round = 0
        self._learnt = 0  # online steps when the last round began
        self._received: dict[str, int] = {}  # store of an arm → its steps
        self._again: dict[str, int] = {}  # … and how many of these an earlier start has counted
        self._shown_steps = 0
        self._turns = TurnTaking(self._begun_with, seed)
        self._staleness: deque[int] = deque(maxlen=STALENESS_WINDOW)
        self._info: dict[str, float] = {}

    @property
    def version(self) -> int:
        """Of the parameters: steps of imitation, then of improvement."""
        return self._begun_with + self._expert_governor.made

    @property
    def trust(self) -> str:
        """How the policy that it began with and what was learnt since do, in words."""
        return self._turns.words

    def warm_up(self) -> None:
        """Load what encodes, and watch the demonstrations."""
        self._card.encoder.load()
        self.poll()
        while self._waiting and self._waiting[0][0].shown:
            self._watch_next()

    def poll(self) -> int:
        """Take in what the stores have gained, and corrections. Raises `StoreError` where one is of another task."""
        count = 0
        for feed in self._feeds:
            news = feed.poll(self._domain)
            for correction in news.corrected:
                self._correct(feed, correction)
            count += sum(len(part) for part in news.steps)
            if not feed.shown:
                for part in news.steps:
                    self._receive(str(feed.path), part)
            self._waiting.extend((feed, info) for info in news.over)
        self.turned |= self._turns.take(self.version)
        return count

    def step(self) -> bool:
        """Poll the stores and do a piece of work; returns whether there was anything to do."""
        self.poll()
        if self._waiting:
            self._watch_next()
            return True
        if self.halted:
            return False
        if self._work is None and self._due():
            self._learnt, self._work = self.governor.received, self._one_round()
        if self._work is None:
            return False
        try:
            next(self._work)
        except StopIteration:
            self._work = None
        return True

    def _due(self) -> bool:
        """Whether a round may begin."""
        ready = self.governor.counted > 0 and any(one.counted.any() for one in self._episodes if not one.shown)
        return ready and self.governor.received - self._learnt >= self.config.every

    def _one_round(self) -> Iterator[None]:
        """Propose, criticise, improve; a piece after the other. What is not finite undoes it and stops updates."""
        before = Before(self._state(), self._expert_governor.made, self.governor.made, dict(self._info))
        try:
            yield from self._learn(tuple(self._episodes))
            self._round += 1
        except FloatingPointError as error:
            self._restore_state(before.state)
            self._expert_governor.made, self.governor.made = before.steps, before.critic_steps
            self._info = dict(before.info)
            self.turned = True  # some of what was undone may act
            self.halted = f"round {self._round + 1}: {error}; updates stopped, the parameters before it are kept"
            LOGGER.error(self.halted)
            if self._checkpoints is not None:
                self.checkpoint()  # in place of those made meanwhile

    def _learn(self, episodes: Sequence[Watched]) -> Iterator[None]:
        """A round on ``episodes``. Raises FloatingPointError for what is not finite."""
        config = self.config
        if config.weight == "advantage":
            yield from self._propose(episodes)
        found = table(episodes, self._card.config.acted, self._card.config.horizon, config.discount)
        if not len(found.first):  # all of it was discarded meanwhile
            return
        if config.weight == "return":
            known = np.ones(len(found.first), np.float32)
            weight = chunk_critics.exponential(
                found.returned, found.returned, known, config.temperature, config.weight_limit
            )
        else:
            windows = self._windows(episodes, found)
            yield from self._criticise(windows)
            advantage, values = chunk_critics.advantages(self._critics.critics, windows)
            weight = chunk_critics.weights(advantage, values, windows, config.temperature, config.weight_limit)
            self._info["critic/advantage"] = _finite("the critics' advantage", float(advantage.mean()))
            yield
        online = ~found.shown
        self._info["policy/weight_online"] = float(weight[online].mean()) if online.any() else 0.0
        yield from self._improve(episodes, found, weight)

    def _propose(self, episodes: Sequence[Watched]) -> Iterator[None]:
        """Chunks of the policy of now, where there are none, and in place of the oldest."""
        age = np.concatenate([one.age for one in episodes])
        episode = np.repeat(np.arange(len(episodes)), [len(one.age) for one in episodes])
        row = np.concatenate([np.arange(len(one.age)) for one in episodes])
        order = np.argsort(age + self._rng.random(len(age)), kind="stable")
        chosen = order[: int((age < 0).sum()) + self.config.refreshed]
        for first in range(0, len(chosen), PROPOSED_AT_ONCE):
            part = chosen[first : first + PROPOSED_AT_ONCE]
            chunks = self._chunks(episodes, episode[part], row[part])
            for place, (number, at) in enumerate(zip(episode[part], row[part], strict=True)):
                one = episodes[number]
                one.proposed[at], one.age[at] = chunks[place], self._round
            yield

    def _chunks(self, episodes: Sequence[Watched], episode: np.ndarray, row: np.ndarray) -> np.ndarray:
        """``(n, M, h a)`` of the average, for observations."""
        config, many = self._card.config, self.config.proposals
        context = contexts(episodes, episode, row)
        noise = torch.randn(len(row) * many, config.horizon, self._network.actions, generator=self._generator)
        chunks = self._network.sample(context, noise)[:, : config.acted]
        found: np.ndarray = chunks.reshape(len(row), many, -1).numpy()
        return found

    def _windows(self, episodes: Sequence[Watched], found: Table) -> Windows:
        """The windows of ``found`` as critics learn from them."""
        if not self._scale.any():
            self._mean, self._scale = found.seen.mean(0), 1.0 / np.maximum(found.seen.std(0), 1e-3)
        proposed, then_proposed = (
            np.stack([episodes[number].proposed[at] for number, at in zip(found.episode, rows, strict=True)])
            for rows in (found.first, found.last)
        )
        return Windows(
            seen=(found.seen - self._mean) * self._scale,
            action=found.action,
            reward=found.reward,
            valid=found.valid,
            mask=found.mask,
            then_seen=(found.then_seen - self._mean) * self._scale,
            proposed=proposed,
            then_proposed=then_proposed,
        )

    def _criticise(self, windows: Windows) -> Iterator[None]:
        """The critic steps that are due now; what becomes due meanwhile is for the next round."""
        for _ in range(self.governor.due // CRITIC_PIECE):
            rows = self._rng.integers(len(windows.mask), size=(CRITIC_PIECE, self.config.batch))
            self._critics, info = chunk_critics.learn(self._critics, windows.take(rows), self._settings)
            self._info |= {name: _finite(name, float(value)) for name, value in info.items()}
            self.governor.make(CRITIC_PIECE)
            yield

    def _improve(self, episodes: Sequence[Watched], found: Table, weight: np.ndarray) -> Iterator[None]:
        """The expert's steps that are due now."""
        chance = chances(found.shown, SHOWN_SHARE)
        losses = []
        for count in range(self._expert_governor.due):
            rows = self._rng.choice(len(chance), self.config.policy_batch, p=chance)
            losses.append(self._imitate(episodes, found, rows, weight[rows]))
            self._info["policy/loss"] = float(np.mean(losses))
            self._expert_governor.make(1)
            if (count + 1) % POLICY_PIECE == 0:
                yield

    def _imitate(self, episodes: Sequence[Watched], found: Table, rows: np.ndarray, weight: np.ndarray) -> float:
        """A step of the expert on the windows of ``rows (n,)``, each counted ``weight (n,)``; its loss."""
        context = contexts(episodes, found.episode[rows], found.first[rows])
        chunk, within = torch.from_numpy(found.chunk[rows]), torch.from_numpy(found.within[rows])
        chunk, within, noise, time = draw(chunk, within, self._card.config, self._generator)
        counts = torch.from_numpy(weight.astype(np.float32)).repeat_interleave(self._card.config.draws)
        error = self._expert.error(context, chunk, noise, time)
        loss = (counts[:, None] * within * error).sum() / (within.sum() * chunk.shape[2]).clamp(min=1.0)
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self._expert.parameters(), LARGEST_GRADIENT)
        _finite("the gradient of the action expert", float(norm))
        self._optimiser.step()
        with torch.no_grad():
            for mean, value in zip(self._network.expert.parameters(), self._expert.parameters(), strict=True):
                mean.lerp_(value, self.config.average_rate)
        return _finite("the loss of the action expert", float(loss.detach()))

    def _watch_next(self) -> None:
        """Watch the next episode, and let the oldest of the online ones go where there are too many."""
        feed, info = self._waiting.popleft()
        room = self.config.capacity // max(1, sum(not one.shown for one in self._feeds))  # of each arm
        if not feed.shown and sum(other.steps + 1 for source, other in self._waiting if source is feed) >= room:
            return  # it would go at once
        said = feed.said(info)
        if not said:
            LOGGER.warning("%s: episode %d says not what was asked for; it is left out", feed.path, info.index)
            return
        episode = feed.load(info.index)
        if episode is None:
            return
        one = watch(self._network, self._card, episode, said, feed.shown, self.config.proposals)
        self._episodes.append(one)
        self._shown_steps += len(one) if feed.shown else 0
        alike = deque(other for other in self._episodes if not other.shown and other.store == one.store)
        while sum(len(other.age) for other in alike) > room and len(alike) > 1:
            self._episodes.remove(alike.popleft())

    def _correct(self, feed: Feed, correction: Correction) -> None:
        """Label an episode anew; one that is not watched yet will be read as it is labelled then."""
        if not feed.shown:
            self._turns.correct(correction)
        for one in self._episodes:
            if (one.store, one.number, one.shown) == (correction.store, correction.episode, feed.shown):
                one.correct(correction)

    def _receive(self, store: str, part: Transitions) -> None:
        """Count online steps of ``store``, but for those that an earlier start has counted."""
        self._turns.add(part)
        received = self._received.get(store, 0)
        again = min(max(0, self._again.get(store, 0) - received), len(part))
        self._received[store] = received + len(part)
        for governor in (self.governor, self._expert_governor):
            governor.receive(len(part) - again)
        new = part["version"][again:]
        acted = new[(part["source"][again:] == Source.POLICY) & (new > self._begun_with)]
        self._staleness.extend(np.maximum(self.version - acted, 0).tolist())

    def newest(self) -> bytes:
        """The learnt policy, packed as `robot-rl pretrain --vla` packs one."""
        params = {name: value.numpy() for name, value in self._network.state_dict().items()}
        return packed(params, self._shaped, self._tasks, self._card.images, self._card.config, self.version)

    def parameters(self) -> bytes:
        """The policy in use: what was learnt once it leads, until then the one that it began with."""
        return self.newest() if self._turns.leads else self._base

    def acting(self) -> tuple[int, bytes]:
        """Version and bytes of the policy that acts while learning."""
        self.turned = False
        return (self.version, self.newest()) if self._turns.explores else (self._begun_with, self._base)

    def metrics(self) -> dict[str, float]:
        """Scalars for logs and plots."""
        return {
            **self._info,
            **self._turns.metrics,
            "learner/rounds": float(self._round),
            "learner/updates": float(self.governor.made),
            "learner/version": float(self.version),
            "learner/utd": self.governor.ratio,
            "learner/actor_utd": self._expert_governor.ratio,
            "learner/due": float(max(0, self.governor.due)),
            "learner/online_steps": float(self.governor.received),
            "learner/demo_steps": float(self._shown_steps),
            "learner/staleness": float(np.mean(self._staleness)) if self._staleness else 0.0,
            "learner/staleness_max": float(max(self._staleness, default=0)),
            "learner/halted": float(bool(self.halted)),
        }

    def checkpoint(self) -> Path:
        """Write all that learns to disk. Raises `CheckpointError`."""
        if self._checkpoints is None:
            raise CheckpointError("this learner was given no directory for checkpoints")
        meta = {
            "base": digest_of(self._base),
            "round": self._round,
            "learnt": self._learnt,
            "leads": self._turns.leads,
            "received": self._received,
            "governor": self.governor.state(),
            "expert_governor": self._expert_governor.state(),
        }
        return save(self._checkpoints, self.version, self._state(), meta, self._keep)

    def restore(self) -> bool:
        """Go on from the newest whole checkpoint; False when there is none. Raises `CheckpointError`.

        The stores are read and watched anew, and proposals drawn again; steps that were counted are not counted again.
        """
        found = load_latest(self._checkpoints) if self._checkpoints is not None else None
        if found is None:
            return False
        for message in found.skipped:
            LOGGER.warning(message)
        if found.meta.get("base") != digest_of(self._base):
            raise CheckpointError(f"{found.path}: it is not of the policy that learner.base names")
        self._restore_state(leaves_to_tree(self._state(), found.leaves))
        self._round, self._learnt, self._turns.leads = (found.meta[name] for name in ("round", "learnt", "leads"))
        self.governor.restore(found.meta["governor"])
        self._expert_governor.restore(found.meta["expert_governor"])
        self._again = found.meta["received"]
        self._generator.manual_seed(self._seed + self.version)  # no noise is drawn twice
        self._rng = np.random.default_rng((self._seed, self.version))
        LOGGER.info("going on after %d rounds", self._round)
        return True

    def _state(self) -> dict[str, Any]:
        """All that learns, as arrays."""
        moments = self._optimiser.state_dict()["state"]
        fresh = {"step": np.zeros((), np.float32)}
        return {
            "expert": _arrays(self._expert),
            "average": _arrays(self._network.expert),
            "moments": {
                str(number): {name: array.numpy().copy() for name, array in moments[number].items()}
                if number in moments
                else fresh | {name: np.zeros(value.shape, np.float32) for name in ("exp_avg", "exp_avg_sq")}
                for number, value in enumerate(self._expert.parameters())
            },
            "critics": self._critics._asdict(),
            "scale": {"mean": self._mean, "scale": self._scale},
        }

    def _restore_state(self, state: Mapping[str, Any]) -> None:
        """Learn on from what `_state` returned."""
        for module, name in ((self._expert, "expert"), (self._network.expert, "average")):
            module.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in state[name].items()})
        kept = self._optimiser.state_dict()
        kept["state"] = {
            int(number): {name: torch.from_numpy(np.array(value)) for name, value in one.items()}
            for number, one in state["moments"].items()
        }
        self._optimiser.load_state_dict(kept)
        self._critics = chunk_critics.restored(chunk_critics.CriticState(**state["critics"]))
        self._mean, self._scale = (np.asarray(state["scale"][name]) for name in ("mean", "scale"))


def chances(shown: np.ndarray, share: float) -> np.ndarray:
    """The chance ``(n,)`` of each window to be drawn: those that were ``shown (n,)`` by ``share``, all others alike."""
    count = int(shown.sum())
    if count in (0, len(shown)):
        return np.full(len(shown), 1.0 / len(shown))
    found: np.ndarray = np.where(shown, share / count, (1.0 - share) / (len(shown) - count))
    return found


def _finite(name: str, value: float) -> float:
    """``value``. Raises FloatingPointError where it is not finite."""
    if not math.isfinite(value):
        raise FloatingPointError(f"{name} is {value}")
    return value


def _arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}
