"""ALOE on a SmallVLA: rollouts and corrections → pessimistic critics of chunks → an action expert that imitates anew.

    L_π = mean over windows of w ‖v(x_t, t | c) − (a − ε)‖²,   as in `network`, c from a trunk that stays as it is
    w   = exp(clip((A − Ā)/(β σ), −c, c)),   A by `robot_rl.learner.chunk_critics` on the trunk's features
    θ̄  ← θ̄ + τ (θ − θ̄)   after each step; θ̄ proposes chunks for the critics, is published and acts

arXiv 2602.12691, on a small policy. A round begins once the arms have made so many steps: new observations and the
oldest others are given proposals of the policy of now, the critics learn what is due, then all windows are weighted and
the expert imitates them, one half of a minibatch demonstrations and what a person drove, as of all agents here. It is
made of small pieces of work, so that whoever does it can do other things in between; nobody waits for it.
``weight=return`` weighs by the standardised return of the rest of the episode in place of A, and has no critics.

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
from typing import Any

import numpy as np
import torch

from robot_rl.contract import INSTRUCTION, Source
from robot_rl.data.episode import Transitions
from robot_rl.data.parameters import Parameters
from robot_rl.data.schema import StoreError, StoreSchema
from robot_rl.data.store import StoreReader
from robot_rl.learner import chunk_critics
from robot_rl.learner.checkpoint import CheckpointError, leaves_to_tree, load_latest, save
from robot_rl.learner.chunk_critics import CriticSettings, Windows
from robot_rl.learner.domain import TaskDomain
from robot_rl.learner.governor import UtdGovernor
from robot_rl.policies.vla.card import Card, packed
from robot_rl.policies.vla.config import AloeConfig
from robot_rl.policies.vla.network import SmallVla
from robot_rl.policies.vla.watched import Table, Watched, contexts, table, watch

LOGGER = logging.getLogger(__name__)
CRITIC_PIECE, POLICY_PIECE, PROPOSED_AT_ONCE = 20, 5, 128  # steps, steps, and observations of a piece of work
SHOWN_SHARE = 0.5  # of a minibatch of the expert
STALENESS_WINDOW = 256


class Feed:
    """A store that is followed.

    Args:
        reader: hands out its steps with ``state``, and images.
        instruction: where an episode's record has none; "" where the task has none either.
        shown: it holds demonstrations.
    """

    def __init__(self, reader: StoreReader, instruction: str, shown: bool) -> None:
        self.reader, self.instruction, self.shown = reader, instruction, shown
        self.fits = False
        self._parts: dict[int, list[Transitions]] = {}

    def whole(self, parts: Sequence[Transitions]) -> list[list[Transitions]]:
        """The episodes that are over with ``parts``."""
        over = []
        for part in parts:
            known = self._parts.setdefault(part.episode, [])
            known.append(part)
            if part["terminated"][-1] or part["truncated"][-1]:
                over.append(self._parts.pop(part.episode))
        return over

    def said(self, episode: int) -> str:
        """What was asked for in ``episode``, which is over."""
        meta = next((info.meta for info in self.reader.episodes() if info.index == episode), {})
        return str(meta.get(INSTRUCTION, "") or self.instruction)


class AloeLoop:
    """Improves one SmallVLA, by the interface of `robot_rl.learner.loop.LearnerLoop`.

    Args:
        card, found: the policy that it begins with.
        domain: the task; every store must fit it.
        demos, online: stores, those of the arms second.
        config: see `AloeConfig`.
        start_after: online steps before the first round.
        checkpoints: directory for `checkpoint` and `restore`, or None; so many are kept.
        seed: of noise and minibatches.
        threads: of the processor, of this whole process, for torch.
    """

    has_clone = True  # the policy that it begins with
    imitating = False
    imitation = trust = pretraining = ""
    debt = 0
    gated = True

    def __init__(
        self,
        card: Card,
        found: Parameters,
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
        self.config = config
        self.halted = ""
        self._card, self._domain, self._shaped = card, domain, domain.view
        self._tasks, self._begun_with = tuple(found.meta["tasks"]), found.version
        self._feeds, self._checkpoints, self._keep = (*demos, *online), checkpoints, keep
        cells = {name: found.params[f"cells.{name}.weight"].shape[1] for name in card.images}
        places = {name: found.params[f"places.{name}"].shape[0] for name in card.images}
        states = len(found.params["state_mean"])
        network = SmallVla(
            card.config, {name: (places[name], cells[name]) for name in card.images}, states, domain.view.action.size
        )
        network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in found.params.items()})
        self._network = network.eval().requires_grad_(False)
        self._expert = copy.deepcopy(network.expert).requires_grad_(True)
        self._optimiser = torch.optim.Adam(self._expert.parameters(), lr=config.learning_rate)
        self._generator = torch.Generator().manual_seed(seed)
        self._rng = np.random.default_rng(seed)
        settings = config.critics, config.hidden, config.discount, config.critic_rate, config.target_rate
        self._settings = CriticSettings(*settings)
        size = card.config.acted * domain.view.action.size
        self._critics = chunk_critics.create(seed, card.config.width + states, size, self._settings)
        self._mean, self._scale = (np.zeros(card.config.width + states, np.float32) for _ in range(2))  # none yet: 0
        rate = config.critic_steps if config.weight == "advantage" else config.policy_steps
        self.governor = UtdGovernor(max(rate, 1e-9), start_after)
        self._episodes: list[Watched] = []
        self._waiting: deque[tuple[Feed, list[Transitions]]] = deque()  # episodes that are over and not watched yet
        self._work: Iterator[None] | None = None
        self._round = self._learnt = self._steps = self._shown_steps = 0  # rounds, steps at the last one, expert's, …
        self._staleness: deque[int] = deque(maxlen=STALENESS_WINDOW)
        self._info: dict[str, float] = {}

    @property
    def version(self) -> int:
        """Of the parameters: steps of imitation, then of improvement."""
        return self._begun_with + self._steps

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
            if not self._fits(feed):
                continue
            polled = feed.reader.poll()
            for correction in polled.corrected:
                for one in self._episodes:
                    if (one.store, one.number, one.shown) == (correction.store, correction.episode, feed.shown):
                        one.correct(correction)
            count += sum(len(part) for part in polled.new)
            if not feed.shown:
                for part in polled.new:
                    self._receive(part)
            self._waiting.extend((feed, parts) for parts in feed.whole(polled.new))
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
        if next(self._work, self) is self:
            self._work = None
        return True

    def _due(self) -> bool:
        """Whether a round may begin."""
        received = self.governor.received
        ready = self.governor.counted > 0 and any(not one.shown for one in self._episodes)
        return ready and received - self._learnt >= self.config.every

    def _one_round(self) -> Iterator[None]:
        """Propose, criticise, improve; a piece after the other."""
        before, episodes = self._state(), tuple(self._episodes)
        yield from self._propose(episodes)
        found = table(episodes, self._card.config.acted, self._card.config.horizon, self.config.discount)
        if self.config.weight == "return":
            known = np.ones(len(found.first), np.float32)
            weight = chunk_critics.exponential(
                found.returned, found.returned, known, self.config.temperature, self.config.weight_limit
            )
        else:
            windows = self._windows(episodes, found)
            yield from self._criticise(windows)
            advantage, values = chunk_critics.advantages(self._critics.critics, windows)
            yield
            weight = chunk_critics.weights(
                advantage, values, windows, self.config.temperature, self.config.weight_limit
            )
            self._info["critic/advantage"] = float(advantage.mean())
        online = ~found.shown
        self._info["policy/weight_online"] = float(weight[online].mean()) if online.any() else 0.0
        yield from self._improve(episodes, found, weight)
        self._round += 1
        if wrong := [name for name, value in self._info.items() if not math.isfinite(value)]:
            self._restore_state(before)
            self.halted = f"round {self._round}: {', '.join(wrong)} not finite; updates stopped, as before it"
            LOGGER.error(self.halted)

    def _propose(self, episodes: Sequence[Watched]) -> Iterator[None]:
        """Chunks of the policy of now, where there are none, and in place of the oldest."""
        if self.config.weight == "return":
            return
        age = np.concatenate([one.age for one in episodes])
        episode = np.repeat(np.arange(len(episodes)), [len(one.age) for one in episodes])
        row = np.concatenate([np.arange(len(one.age)) for one in episodes])
        order = np.argsort(age + self._rng.random(len(age)), kind="stable")
        chosen = order[: int((age < 0).sum()) + self.config.refreshed]
        for first in range(0, len(chosen), PROPOSED_AT_ONCE):
            part = chosen[first : first + PROPOSED_AT_ONCE]
            chunks = self._drawn(episodes, episode[part], row[part])
            for place, (number, at) in enumerate(zip(episode[part], row[part], strict=True)):
                one = episodes[number]
                one.proposed[at], one.age[at] = chunks[place], self._round
            yield

    def _drawn(self, episodes: Sequence[Watched], episode: np.ndarray, row: np.ndarray) -> np.ndarray:
        """``(n, M, h a)`` of the average, for observations."""
        config, many = self._card.config, self.config.proposals
        context = contexts(episodes, episode, row)
        noise = torch.randn(len(row) * many, config.horizon, self._network.actions, generator=self._generator)
        chunks = self._network.sample(context, noise)[:, : config.acted]
        found: np.ndarray = chunks.reshape(len(row), many, -1).numpy()
        return found

    def _windows(self, episodes: Sequence[Watched], found: Table) -> Windows:
        """What critics learn from."""
        seen, then = found.batch.state, found.batch.next_state
        if not self._scale.any():
            self._mean, self._scale = seen.mean(0), 1.0 / np.maximum(seen.std(0), 1e-3)
        mean, scale = self._mean, self._scale
        proposed, then_proposed = (
            np.stack([episodes[number].proposed[at] for number, at in zip(found.episode, rows, strict=True)])
            for rows in (found.first, found.last)
        )
        batch = found.batch
        return Windows(
            (seen - mean) * scale,
            batch.action,
            batch.reward,
            batch.valid,
            batch.mask,
            (then - mean) * scale,
            proposed,
            then_proposed,
        )

    def _criticise(self, windows: Windows) -> Iterator[None]:
        """The critic steps that are due now; what becomes due meanwhile is for the next round."""
        for _ in range(self.governor.due // CRITIC_PIECE):
            rows = self._rng.integers(len(windows.mask), size=(CRITIC_PIECE, self.config.batch))
            self._critics, info = chunk_critics.learn(self._critics, windows.take(rows), self._settings)
            self._info |= {name: float(value) for name, value in info.items()}
            self.governor.make(CRITIC_PIECE)
            yield

    def _improve(self, episodes: Sequence[Watched], found: Table, weight: np.ndarray) -> Iterator[None]:
        """The expert's steps that are due."""
        chance = chances(found.shown, SHOWN_SHARE)
        owed = int(self.config.policy_steps * self.governor.counted) - self._steps
        if self.config.weight == "return":
            self.governor.make(min(self.governor.due, max(0, owed)))
        losses = []
        for count in range(max(0, owed)):
            rows = self._rng.choice(len(chance), self.config.policy_batch, p=chance)
            losses.append(self._imitate(episodes, found, rows, weight[rows]))
            self._steps += 1
            if (count + 1) % POLICY_PIECE == 0:
                yield
        if losses:
            self._info["policy/loss"] = float(np.mean(losses))

    def _imitate(self, episodes: Sequence[Watched], found: Table, rows: np.ndarray, weight: np.ndarray) -> float:
        """A step of the expert on the windows of ``rows (n,)``, each counted ``weight (n,)``; its loss."""
        draws = self._card.config.draws
        context = contexts(episodes, found.episode[rows], found.first[rows])
        chunk, within = (
            torch.from_numpy(part[rows]).repeat_interleave(draws, 0) for part in (found.chunk, found.within)
        )
        counts = within * torch.from_numpy(weight.astype(np.float32)).repeat_interleave(draws, 0)[:, None]
        noise = torch.randn(chunk.shape, generator=self._generator)
        time = torch.rand(len(chunk), 1, generator=self._generator)
        t = time[..., None]
        error = (self._expert(context, (1.0 - t) * noise + t * chunk, time) - (chunk - noise)) ** 2
        loss = (counts[..., None] * error).sum() / (within.sum() * chunk.shape[2])
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._expert.parameters(), 1.0)
        self._optimiser.step()
        with torch.no_grad():
            for mean, value in zip(self._network.expert.parameters(), self._expert.parameters(), strict=True):
                mean.lerp_(value, self.config.average_rate)
        return float(loss.detach())

    def _watch_next(self) -> None:
        """Watch the next episode that is over; the oldest of the online ones go where there are too many."""
        feed, parts = self._waiting.popleft()
        said = feed.said(parts[0].episode)
        one = watch(self._network, self._card, parts, said, feed.shown, self.config.proposals)
        self._episodes.append(one)
        if feed.shown:
            self._shown_steps += len(one)
        online = [other for other in self._episodes if not other.shown]
        if sum(len(other.age) for other in online) > self.config.capacity and self._work is None:
            self._episodes.remove(online[0])

    def _receive(self, part: Transitions) -> None:
        self.governor.receive(len(part))
        acted = part["version"][(part["source"] == Source.POLICY) & (part["version"] >= 0)]
        self._staleness.extend(np.maximum(self.version - acted, 0).tolist())

    def _fits(self, feed: Feed) -> bool:
        if not feed.fits:
            schema: StoreSchema | None = feed.reader.schema
            if schema is None:
                return False
            if misfit := self._domain.misfit(schema):
                raise StoreError(f"{feed.reader.path} {misfit}")
            feed.fits = True
        return True

    def parameters(self) -> bytes:
        """The policy of now, as `robot-rl pretrain --vla` packs it."""
        params = {name: value.numpy() for name, value in self._network.state_dict().items()}
        return packed(params, self._shaped, self._tasks, self._card.images, self._card.config, self.version)

    def metrics(self) -> dict[str, float]:
        """Scalars for logs and plots."""
        counted = max(1, self.governor.counted)
        return {
            **self._info,
            "learner/rounds": float(self._round),
            "learner/updates": float(self.governor.made),
            "learner/version": float(self.version),
            "learner/utd": self.governor.ratio,
            "learner/actor_utd": self._steps / counted,
            "learner/due": float(self.governor.due),
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
        meta = {"policy": self._begun_with, "steps": self._steps, "round": self._round, "made": self.governor.made}
        return save(self._checkpoints, self._steps, self._state(), meta, self._keep)

    def restore(self) -> bool:
        """Go on from the newest whole checkpoint; False when there is none. Raises `CheckpointError`.

        The stores are read anew: proposals are drawn again, and updates that were made are not made again.
        """
        found = load_latest(self._checkpoints) if self._checkpoints is not None else None
        if found is None:
            return False
        if found.meta.get("policy") != self._begun_with:
            raise CheckpointError(f"{found.path}: it began with another policy than learner.base")
        self._restore_state(leaves_to_tree(self._state(), found.leaves))
        self._steps, self._round = found.meta["steps"], found.meta["round"]
        self.governor.made = found.meta["made"]
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


def _arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}
