"""Episodes as a SmallVLA watched them: what its action expert attends to, what critics see, windows of actions.

The trunk is not trained any more, so each image goes through encoder and trunk once, when its episode is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from robot_rl.contract import Source
from robot_rl.data.episode import Correction, Transitions
from robot_rl.policies.vla.card import Card
from robot_rl.policies.vla.examples import padded
from robot_rl.policies.vla.network import Context, Seen, SmallVla
from robot_rl.policies.vla.seeing import cells_of

AT_ONCE = 32  # observations that go through the trunk together


@dataclass(eq=False)
class Watched:
    """An episode of T steps.

    Attributes:
        store, number: where it is from, and which it is there.
        shown: it is a demonstration.
        tokens: ``(T + 1, k, width)`` float16 of each observation, after the trunk; counts: ``(k,)`` bool.
        seen: ``(T + 1, f)`` float32, for critics: the mean of the tokens, and the state, standardised.
        action: ``(T, a)``; reward, terminated, counted: ``(T,)``; the last is whether a step may be learnt from.
        by_person: ``(T,)`` bool.
        proposed: ``(T + 1, M, h a)`` chunks of the policy; age: ``(T + 1,)``, the round in which they were made, −1
            before the first.
    """

    store: str
    number: int
    shown: bool
    tokens: torch.Tensor
    counts: torch.Tensor
    seen: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    counted: np.ndarray
    by_person: np.ndarray
    proposed: np.ndarray
    age: np.ndarray

    def __len__(self) -> int:
        return len(self.action)

    def correct(self, correction: Correction) -> None:
        """Label its first steps anew."""
        count = min(len(correction), len(self))
        self.reward[:count] = correction["reward"][:count]
        self.terminated[:count] = correction["terminated"][:count]
        self.counted[:count] = correction["counts"][:count]


def watch(
    network: SmallVla, card: Card, episode: Transitions, instruction: str, shown: bool, proposals: int
) -> Watched:
    """An ``episode`` with its images, in which ``instruction`` was asked for."""
    states = torch.from_numpy(episode["state"].astype(np.float32))
    words, read = padded([card.words.encode(instruction)])
    tokens, means = [], []
    with torch.no_grad():
        for first in range(0, len(states), AT_ONCE):
            rows = slice(first, first + AT_ONCE)
            count = len(states[rows])
            cells = {
                name: torch.from_numpy(cells_of(card.encoder, episode.images[name][rows])).float()
                for name in card.images
            }
            seen = Seen(cells, words.expand(count, -1, -1), read.expand(count, -1), states[rows])
            context = network.context(seen)
            tokens.append(context.tokens.half())
            means.append(network.mean_of(context))
        felt = network.standardised(states)
    size = card.config.acted * network.actions
    return Watched(
        store=episode.store,
        number=episode.episode,
        shown=shown,
        tokens=torch.cat(tokens),
        counts=context.counts[0],
        seen=torch.cat((torch.cat(means), felt), 1).numpy(),
        action=episode["action"].astype(np.float32),
        reward=episode["reward"].astype(np.float32),
        terminated=episode["terminated"].astype(bool),
        counted=episode.counts.astype(bool),
        by_person=episode["source"] == Source.PERSON,
        proposed=np.zeros((len(episode) + 1, proposals, size), np.float32),
        age=np.full(len(episode) + 1, -1),
    )


class Table(NamedTuple):
    """Windows of h executed steps, n in all, and the longer chunks of H that the policy imitates.

    Attributes:
        episode, first, last: ``(n,)``: place of the episode in its list, and of the observations at both ends.
        seen, then_seen: ``(n, f)``, what critics see at both ends.
        action: ``(n, h, a)``; reward, valid: ``(n, h)``; mask: ``(n,)``: as in `robot_rl.data.replay.Batch`.
        chunk: ``(n, H, a)``; within: ``(n, H)``, 1 until the episode's end.
        returned: ``(n,)``: discounted return from the window's first step to the episode's end.
        shown: ``(n,)`` bool: of a demonstration, or begun by a person.
    """

    episode: np.ndarray
    first: np.ndarray
    last: np.ndarray
    seen: np.ndarray
    then_seen: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    valid: np.ndarray
    mask: np.ndarray
    chunk: np.ndarray
    within: np.ndarray
    returned: np.ndarray
    shown: np.ndarray


def table(episodes: Sequence[Watched], executed: int, horizon: int, discount: float) -> Table:
    """All windows of ``episodes`` that may be learnt from, of ``executed`` steps h and with chunks of ``horizon`` H."""
    parts = [_windows(number, one, executed, horizon, discount) for number, one in enumerate(episodes)]
    return Table(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _windows(number: int, one: Watched, executed: int, horizon: int, discount: float) -> Table:
    """The windows of one episode."""
    steps = len(one)
    first = np.arange(steps)
    ends = np.flatnonzero(one.terminated & one.counted)
    end = int(ends[0]) + 1 if len(ends) else steps + 1  # the observation that a task's end led to
    valid, within = _there(one.counted, executed), _there(one.counted, horizon)
    last = first + valid.sum(1).astype(int)
    returned = np.zeros(steps + 1, np.float32)
    for step in range(steps - 1, -1, -1):
        returned[step] = one.counted[step] * (one.reward[step] + discount * returned[step + 1])
    found = Table(
        episode=np.full(steps, number),
        first=first,
        last=last,
        seen=one.seen[first],
        then_seen=one.seen[last],
        action=_ahead(one.action, executed) * valid[..., None],
        reward=_ahead(one.reward, executed) * valid,
        valid=valid,
        mask=(last < end).astype(np.float32),
        chunk=_ahead(one.action, horizon),
        within=within,
        returned=returned[:steps],
        shown=one.by_person | one.shown,
    )
    return Table(*(column[one.counted] for column in found))


def _ahead(values: np.ndarray, steps: int) -> np.ndarray:
    """The ``steps`` rows from each of ``values (T, …)`` on, the last one again behind the end: ``(T, steps, …)``."""
    rows = np.arange(len(values))[:, None] + np.arange(steps)
    found: np.ndarray = values[np.minimum(rows, len(values) - 1)]
    return found


def _there(counted: np.ndarray, steps: int) -> np.ndarray:
    """``(T, steps)`` float32: 1 until the episode's end, or the first step that is not ``counted (T,)``."""
    rows = np.arange(len(counted))[:, None] + np.arange(steps)
    there = (rows < len(counted)) & _ahead(counted, steps)
    return np.logical_and.accumulate(there, axis=1).astype(np.float32)


def contexts(episodes: Sequence[Watched], episode: np.ndarray, row: np.ndarray) -> Context:
    """The contexts of observations ``row (n,)`` of the episodes at ``episode (n,)``."""
    found = [episodes[one] for one in episode]
    longest = max(len(one.counts) for one in found)
    tokens = torch.zeros(len(found), longest, found[0].tokens.shape[2])
    counts = torch.zeros(len(found), longest, dtype=torch.bool)
    for place, (one, at) in enumerate(zip(found, row, strict=True)):
        tokens[place, : len(one.counts)] = one.tokens[at]
        counts[place, : len(one.counts)] = one.counts
    return Context(tokens, counts)
