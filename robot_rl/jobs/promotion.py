"""The improvement gate: which of a learner's policies is handed on for evaluation and deployment.

Learning goes up and down, and the newest parameters are not always the best that were. The *champion* is replaced by
the policy of now unless success over the last ``window`` episodes without intervention has dropped significantly below
the best window so far. The arm goes on learning with the newest parameters meanwhile: the gate holds nothing back but
the promotion. Where an agent publishes two networks (`flash_sac`), the window is of the one that explores, and so is a
cautious judgement on the one that acts in an evaluation.

Significantly: by Fisher's exact test, one-sided: were both windows of equally good policies, one as bad as the present
one would come up with a probability below ``level``. The comparison is with the *best* window and not with the
champion's, so that many small drops, each of them insignificant, do not add up. The best of many windows is better than
its policy, by chance; therefore the level is so low. With windows of 20, a policy that stays as it is is held back for
less than 5 % of 300 episodes at 0.5 %, whatever its success; at 5 %, for up to 22 %.

Whoever corrects the label of an episode corrects every window that it is in, that of the champion and the best one
included. Parameters that were handed on are not taken back: those before them are gone.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import comb
from typing import Any, NamedTuple

from robot_rl.contract import Ending
from robot_rl.contract.files import write_atomically
from robot_rl.data.episode import EpisodeInfo
from robot_rl.data.reader import StoreReader
from robot_rl.jobs.run import Run

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """Results of a policy: ``successes`` in ``episodes``; ``version`` is of the parameters that acted last."""

    version: int
    successes: int
    episodes: int

    @property
    def rate(self) -> float:
        return self.successes / self.episodes if self.episodes else 0.0


def drop_probability(now: Record, best: Record) -> float:
    """Probability of so few successes as ``now`` has, or fewer, were both records of equally good policies."""
    successes, total = now.successes + best.successes, now.episodes + best.episodes
    fewest = max(0, successes - best.episodes)
    ways = sum(comb(now.episodes, k) * comb(best.episodes, successes - k) for k in range(fewest, now.successes + 1))
    return ways / comb(total, successes)


class Judged(NamedTuple):
    """An episode that the policy drove alone: its number, success, ``version`` of the parameters that acted last."""

    episode: int
    success: bool
    version: int


class ImprovementGate:
    """Judges after each episode.

    Args:
        window: episodes that a judgement looks at; before as many there is none, and no champion.
        level: probability below which a drop is significant.

    Attributes:
        judged: the episodes, oldest first.
        promoted: the one after which the champion was promoted; None before the first.
        best: the best window so far, the newest of several that are equally good.
    """

    def __init__(self, window: int, level: float = 0.005) -> None:
        if window < 1 or not 0.0 < level < 1.0:
            raise ValueError(f"a gate needs a window of at least one episode, not {window}, and a level in (0, 1)")
        self.window = window
        self.level = level
        self.judged: list[Judged] = []
        self.promoted: Judged | None = None
        self.best: Record | None = None

    @property
    def now(self) -> Record:
        """The policy of now, over the episodes of the window."""
        return self._record(self.judged)

    @property
    def champion(self) -> Record | None:
        """The promoted policy, over the window that it was promoted for; None before the first."""
        if self.promoted is None:
            return None
        until = [one for one in self.judged if one.episode <= self.promoted.episode]
        return replace(self._record(until), version=self.promoted.version)

    @property
    def held_back(self) -> bool:
        """Whether the policy of now is significantly worse than the best was."""
        return self.best is not None and drop_probability(self.now, self.best) < self.level

    def add(self, judged: Judged) -> bool:
        """Judge after an episode that the policy drove alone; returns whether its version may be promoted."""
        self.judged.append(judged)
        now = self.now
        if now.episodes < self.window or self.held_back:
            return False
        if self.best is None or now.rate >= self.best.rate:
            self.best = now
        return True

    def promote(self) -> None:
        """The policy of now is the champion."""
        self.promoted = self.judged[-1]

    def correct(self, judged: Sequence[Judged]) -> None:
        """Judge anew, by the episodes as they are labelled now; the champion stays."""
        if self.judged != list(judged):
            self.judged, self.best = [], None
            for one in judged:
                self.add(one)

    def _record(self, judged: Sequence[Judged]) -> Record:
        """Of the newest window."""
        window = judged[-self.window :]
        return Record(window[-1].version if window else -1, sum(one.success for one in window), len(window))


class Promotion:
    """The gate of a run: judges its online episodes and keeps the champion's parameters on disk.

    Who acted in which episode is kept beside them, so that a learner that is started again goes on where it was.
    """

    def __init__(self, run: Run, window: int) -> None:
        self.gate = ImprovementGate(window)
        self._run = run
        self._episodes = StoreReader(run.online, images=False)
        self._versions: dict[int, int] = {}  # number of an episode that has ended → the version that acted last
        self._published: dict[int, bytes] = {}  # since the last episode that ended
        if run.gate.exists():
            try:
                state = json.loads(run.gate.read_text(encoding="utf-8"))
                self.gate.promoted = None if state["promoted"] is None else Judged(*state["promoted"])
                self._versions = {int(episode): int(version) for episode, version in state["versions"]}
            except (ValueError, KeyError, TypeError) as error:
                self.gate = ImprovementGate(window)
                LOGGER.warning("%s cannot be read (%r); all episodes are judged again", run.gate, error)

    def publish(self, version: int, data: bytes) -> None:
        """Parameters that are in use while ``version`` acts, from now on."""
        self._published.pop(version, None)
        self._published[version] = data

    def judge(self) -> bool:
        """Take in the episodes that have ended, as they are labelled now; returns whether there is a new champion."""
        promoted = False
        ended = self._episodes.episodes()
        known = [info for info in ended if info.index in self._versions]
        self.gate.correct([self._judged(info) for info in known if self._judges(info)])
        new = [info for info in ended if info.index not in self._versions]
        for info in new:
            versions = self._episodes.load_episode(info.index, ("version",))["version"]
            acted = [version for version in versions.tolist() if version >= 0]
            self._versions[info.index] = version = acted[-1] if acted else -1  # no policy at all
            if self._judges(info) and self.gate.add(self._judged(info)) and version in self._published:
                self.gate.promote()
                write_atomically(self._run.champion, self._published[version])
                promoted = True
            self._forget(version if acted else next(reversed(self._published), -1))
        if new:
            state = {"promoted": self.gate.promoted, "versions": list(self._versions.items())}
            write_atomically(self._run.gate, json.dumps(state).encode())
        return promoted

    def _forget(self, version: int) -> None:
        """Leave out what was published before ``version`` was; where that is not known, what is older than it."""
        numbers = list(self._published)  # in the order of their publication, in which versions may go back
        known = version in self._published
        kept = numbers[numbers.index(version) :] if known else [one for one in numbers if one >= version]
        self._published = {number: self._published[number] for number in kept}

    def _judged(self, info: EpisodeInfo) -> Judged:
        return Judged(info.index, info.success, self._versions[info.index])

    @staticmethod
    def _judges(info: EpisodeInfo) -> bool:
        """Whether an episode tells of the policy: not if it was aborted, or a person had a hand in it."""
        return not info.interventions and info.ending is not Ending.ABORTED

    def status(self) -> dict[str, Any]:
        """Champion and policy of now, side by side; JSON values."""
        champion, now = self.gate.champion, self.gate.now
        return {
            "champion": None if champion is None else champion.version,
            "champion_success": None if champion is None else champion.rate,
            "now_success": now.rate if now.episodes else None,
            "held_back": self.gate.held_back,
        }
