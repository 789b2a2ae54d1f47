"""Trust: whether what was learnt since imitation does better than the clone, by what their episodes returned.

    P = Φ((m_π − m_c) / √(s_π²/n_π + s_c²/n_c))

n, m and s² are number, mean and variance of the returns of the clone's episodes, and of the latest `WINDOW` of the
learner's, whose policy changes: those of the first half of its updates do not count any more. Each has two episodes
more than were seen, one of the lowest return of all and one of the highest, so that a few lucky ones decide nothing. An
episode that a person steered, or that both acted in, tells of neither. P is the chance that the learner's mean is the
higher one, as far as the normal distribution tells.

Without noise, the learner acts from P ≥ `EARNED` on, once it has ended `ENOUGH` episodes, until P < `LOST`; otherwise
the clone does. So the better the clone, the more it takes to be let act in its place. While exploring, the learner acts
in the next episode with a chance of P⁺, between `LEAST` and `MOST` of it: P of a learner whose two episodes more were
both of the highest return. It is hoped for, tried at once, and, the worse it turns out, the less it costs; and the
clone's own rate stays known.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from robot_rl.contract import Source
from robot_rl.data.episode import Correction, Transitions

WINDOW = 20  # latest episodes of the learner
CLONE_WINDOW = 100  # of the clone, which stays as it is
KNOWN = 500  # latest episodes whose labels may still be corrected
ENOUGH = 5
EARNED, LOST = 0.75, 0.5  # chosen by benchmarks/trust.py
LEAST, MOST = 0.5, 0.95


@dataclass(eq=False)
class _Episode:
    """Its return so far, the versions that acted, and whether it is over and a person steered."""

    total: float = 0.0
    versions: tuple[int, ...] = ()
    over: bool = False
    steered: bool = False


class Turns:
    """Who acts by the parameters of which version: the clone, until a turn says otherwise."""

    def __init__(self, turns: Iterable[tuple[int, bool]] = ()) -> None:
        self._turns = list(turns)

    def take(self, version: int, learner: bool) -> None:
        """From ``version`` on, the learner acts, or the clone."""
        if self._turns and self._turns[-1][0] >= version:
            return
        if learner != self.learner(version):
            self._turns.append((version, learner))

    def learner(self, version: int) -> bool:
        """Whether the learner acts by the parameters of ``version``."""
        place = bisect_right(self._turns, version, key=lambda turn: turn[0])
        return place > 0 and self._turns[place - 1][1]

    @property
    def state(self) -> list[list[int]]:
        """JSON values for a checkpoint."""
        return [[version, int(learner)] for version, learner in self._turns]


class Trust:
    """Counts episodes. ``ended``: how many there were that tell of somebody or not."""

    def __init__(self) -> None:
        self.ended = 0
        self._episodes: dict[tuple[str, int], _Episode] = {}

    def add(self, transitions: Transitions) -> None:
        """Consecutive steps of an episode."""
        if not len(transitions):
            return
        episode = self._episodes.setdefault((transitions.store, transitions.episode), _Episode())
        policy = transitions["source"] == Source.POLICY
        episode.total += float(transitions["reward"].sum())
        episode.steered |= not policy.all()
        episode.versions = tuple({*episode.versions, *transitions["version"][policy].tolist()})
        if transitions["terminated"][-1] or transitions["truncated"][-1]:
            episode.over = True
            self.ended += 1
        while len(self._episodes) > KNOWN:
            del self._episodes[next(iter(self._episodes))]

    def correct(self, correction: Correction) -> None:
        """Label an episode anew."""
        if (episode := self._episodes.get((correction.store, correction.episode))) is not None:
            episode.total = float(correction["reward"].sum())

    def returns(self, turns: Turns, version: int) -> tuple[list[float], list[float]]:
        """Of the clone's episodes and of the learner's, the latest last, at ``version`` of the parameters."""
        found: tuple[deque[float], deque[float]] = deque(maxlen=CLONE_WINDOW), deque(maxlen=WINDOW)
        for episode in self._episodes.values():
            who = {turns.learner(version) for version in episode.versions}
            if not episode.over or episode.steered or len(who) != 1:
                continue
            learner = who.pop()
            if not learner or 2 * min(episode.versions) >= version:
                found[learner].append(episode.total)
        return list(found[0]), list(found[1])


def better(clone: Sequence[float], learner: Sequence[float]) -> float:
    """P, from 0 to 1; ½ where nothing tells."""
    seen = [*clone, *learner]
    ends = [min(seen), max(seen)] if seen else []
    return _chance([*clone, *ends], [*learner, *ends])


def hoped(clone: Sequence[float], learner: Sequence[float]) -> float:
    """P⁺, from 0 to 1; ½ where nothing tells."""
    seen = [*clone, *learner]
    ends = [min(seen), max(seen)] if seen else []
    return _chance([*clone, *ends], [*learner, *ends[1:], *ends[1:]])


def learner_explores(hope: float, draw: float) -> bool:
    """Whether the learner acts in the next episode, for P⁺ and a number drawn uniformly from [0, 1)."""
    return draw < min(max(hope, LEAST), MOST)


def learner_leads(chance: float, episodes: int, leads: bool) -> bool:
    """Whether the learner acts without noise, for P, its ended ``episodes``, and whether it does (``leads``) so far."""
    return episodes >= ENOUGH and chance >= (LOST if leads else EARNED)


def _chance(clone: Sequence[float], learner: Sequence[float]) -> float:
    """Φ(…) of the returns of both."""
    if not (clone and learner):
        return 0.5
    one, two = np.array(clone), np.array(learner)
    spread = math.sqrt(one.var() / len(one) + two.var() / len(two))
    if spread == 0.0:
        return 0.5
    return 0.5 * (1.0 + math.erf(float(two.mean() - one.mean()) / spread / math.sqrt(2.0)))
