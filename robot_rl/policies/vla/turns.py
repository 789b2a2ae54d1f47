"""Who acts, a policy as it was or what was learnt since: by what their episodes returned (`robot_rl.learner.trust`)."""

from __future__ import annotations

import numpy as np

from robot_rl.data.episode import Correction, Transitions
from robot_rl.learner.trust import Trust, Turns, better, hoped, learner_explores, learner_leads


class _Since(Turns):
    """Version 0 is the policy as it was, and all others were learnt since."""

    def learner(self, version: int) -> bool:
        return version > 0


class TurnTaking:
    """Draws who acts in the next episode, once one has ended.

    Args:
        begun_with: version of the policy as it was.
        seed: of the draws.

    Attributes:
        explores: whether what was learnt acts while learning.
        leads: whether it does in use.
        metrics: how both do, for logs.
    """

    def __init__(self, begun_with: int, seed: int) -> None:
        self.explores, self.leads = True, False
        self.metrics: dict[str, float] = {}
        self._trust, self._begun_with, self._seed, self._ended = Trust(), begun_with, seed, 0

    @property
    def words(self) -> str:
        """How both do; "" before an episode has told."""
        told = self.metrics
        return ", ".join(
            f"{words} {told[f'trust/{who}']:.2f} of {told[f'trust/{who}_episodes']:.0f} episodes"
            for who, words in (("clone", "the policy as it was returns"), ("learner", "what was learnt since"))
            if told.get(f"trust/{who}_episodes")
        )

    def add(self, part: Transitions) -> None:
        """Consecutive steps of an episode."""
        version = part["version"]
        since = np.where(version < 0, version, np.maximum(version - self._begun_with, 0))
        self._trust.add(Transitions(part.store, part.episode, part.start, {**part.columns, "version": since}))

    def correct(self, correction: Correction) -> None:
        """Label an episode anew."""
        self._trust.correct(correction)

    def take(self, version: int) -> bool:
        """Draw, at ``version`` of what was learnt, if an episode has ended; whether another acts or leads now."""
        if self._trust.ended == self._ended:
            return False
        self._ended, so_far = self._trust.ended, (self.explores, self.leads)
        before, since = self._trust.returns(_Since(), version - self._begun_with)
        chance = better(before, since)
        draw = float(np.random.default_rng((self._seed, self._ended)).random())
        self.explores = learner_explores(hoped(before, since), draw)
        self.leads = learner_leads(chance, len(since), self.leads)
        self.metrics = {"trust/chance": chance}
        for who, returns in (("clone", before), ("learner", since)):
            self.metrics[f"trust/{who}"] = float(np.mean(returns)) if returns else 0.0
            self.metrics[f"trust/{who}_episodes"] = float(len(returns))
        return so_far != (self.explores, self.leads)
