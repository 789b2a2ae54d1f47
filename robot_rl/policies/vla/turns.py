"""Who acts, a policy as it was or what was learnt since: by what their episodes returned (`robot_rl.learner.trust`)."""

from __future__ import annotations

import numpy as np

from robot_rl.data.episode import Correction, Transitions
from robot_rl.learner.trust import Trust, Turns, better, hoped, learner_explores, learner_leads


class _Since(Turns):
    """What was learnt acts by all versions after the one that it began with."""

    def __init__(self, begun_with: int) -> None:
        super().__init__()
        self._begun_with = begun_with

    def learner(self, version: int) -> bool:
        return version > self._begun_with


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
        self._trust, self._seed, self._since, self._ended = Trust(), seed, _Since(begun_with), 0

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
        self._trust.add(part)

    def correct(self, correction: Correction) -> None:
        """Label an episode anew."""
        self._trust.correct(correction)

    def take(self, version: int) -> bool:
        """Draw, at ``version`` of what was learnt, if an episode has ended; whether it is another's turn."""
        if self._trust.ended == self._ended:
            return False
        self._ended, acted = self._trust.ended, self.explores
        before, since = self._trust.returns(self._since, version)
        chance = better(before, since)
        draw = float(np.random.default_rng((self._seed, self._ended)).random())
        self.explores = learner_explores(hoped(before, since), draw)
        self.leads = learner_leads(chance, len(since), self.leads)
        self.metrics = {"trust/chance": chance}
        for who, returns in (("clone", before), ("learner", since)):
            self.metrics[f"trust/{who}"] = float(np.mean(returns)) if returns else 0.0
            self.metrics[f"trust/{who}_episodes"] = float(len(returns))
        return acted != self.explores
