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
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from typing import Any

from robot_rl.contract import Ending
from robot_rl.contract.files import write_atomically
from robot_rl.data.episode import EpisodeInfo
from robot_rl.data.reader import StoreReader
from robot_rl.jobs.run import Run

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """How a policy did: ``successes`` in ``episodes``; ``version`` is of the parameters that acted last."""

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


class ImprovementGate:
    """Judges after each episode.

    Args:
        window: episodes that a judgement looks at; before as many there is none, and no champion.
        level: probability below which a drop is significant.

    Attributes:
        champion: of the promoted policy, when it was promoted; None before the first.
        best: the best window so far, the newest of several that are equally good.
    """

    def __init__(self, window: int, level: float = 0.005) -> None:
        if window < 1 or not 0.0 < level < 1.0:
            raise ValueError(f"a gate needs a window of at least one episode, not {window}, and a level in (0, 1)")
        self.window = window
        self.level = level
        self.champion: Record | None = None
        self.best: Record | None = None
        self._recent: deque[bool] = deque(maxlen=window)
        self._version = -1

    @property
    def now(self) -> Record:
        """The policy of now, over the episodes of the window."""
        return Record(self._version, sum(self._recent), len(self._recent))

    @property
    def held_back(self) -> bool:
        """Whether the policy of now is significantly worse than the best was."""
        return self.best is not None and drop_probability(self.now, self.best) < self.level

    def add(self, success: bool, version: int) -> bool:
        """Judge after an episode that the policy drove alone; returns whether ``version`` may be promoted."""
        self._recent.append(success)
        self._version = version
        if len(self._recent) < self.window or self.held_back:
            return False
        if self.best is None or self.now.rate >= self.best.rate:
            self.best = self.now
        return True

    def promote(self) -> None:
        """The policy of now is the champion."""
        self.champion = self.now

    def state(self) -> dict[str, Any]:
        """JSON values for a checkpoint."""
        records = {"champion": self.champion, "best": self.best}
        return {name: None if record is None else vars(record) for name, record in records.items()} | {
            "recent": list(self._recent),
            "version": self._version,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.champion, self.best = (
            None if state[name] is None else Record(**state[name]) for name in ("champion", "best")
        )
        self._recent = deque((bool(success) for success in state["recent"]), maxlen=self.window)
        self._version = int(state["version"])


class Promotion:
    """The gate of a run: judges its online episodes and keeps the champion's parameters on disk.

    Whatever was judged is kept beside them, so that a learner that is started again goes on where it was.
    """

    def __init__(self, run: Run, window: int) -> None:
        self.gate = ImprovementGate(window)
        self._run = run
        self._episodes = StoreReader(run.online, images=False)
        self._judged = 0
        self._published: dict[int, bytes] = {}  # since the last episode that ended
        if run.gate.exists():
            try:
                state = json.loads(run.gate.read_text(encoding="utf-8"))
                self.gate.restore(state["gate"])
                self._judged = int(state["judged"])
            except (ValueError, KeyError, TypeError) as error:
                self.gate = ImprovementGate(window)
                LOGGER.warning("%s cannot be read (%r); all episodes are judged again", run.gate, error)

    def publish(self, version: int, data: bytes) -> None:
        """Parameters that may act from now on."""
        self._published[version] = data

    def judge(self) -> bool:
        """Take in the episodes that have ended; returns whether there is a new champion."""
        promoted = False
        ended = self._episodes.episodes()
        for info in ended[self._judged :]:
            versions = self._episodes.load_episode(info.index, ("version",))["version"]
            acted = [version for version in versions.tolist() if version >= 0]
            version = acted[-1] if acted else -1  # no policy at all
            if self._judges(info) and self.gate.add(info.success, version) and version in self._published:
                self.gate.promote()
                write_atomically(self._run.champion, self._published[version])
                promoted = True
            oldest = version if acted else max(self._published, default=-1)
            self._published = {number: data for number, data in self._published.items() if number >= oldest}
        if len(ended) > self._judged:
            self._judged = len(ended)
            state = {"judged": self._judged, "gate": self.gate.state()}
            write_atomically(self._run.gate, json.dumps(state).encode())
        return promoted

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
