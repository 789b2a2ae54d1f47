"""Reward shaped by progress: what each step earns beside the task's reward for the stages that are held after it.

With Φ the progress of `ClassifierJudge`, the share of the stages that are held, w the weight and γ the discount of the
learner,

    r = r_task + w (γ Φ(s′) − Φ(s)),      Φ(s′) = 0 where s′ is terminal

the potential-based shaping of Ng, Harada and Russell (1999), with the end of an episode as Grześ (2017) has it. Along
an episode the discounted terms add up to −w Φ(s₀), whatever was done, also where Φ depends on what was before: so what
is optimal stays so. A step that runs out of time is bootstrapped, and keeps its Φ(s′). A stage that is lost costs what
it brought, and lingering in one costs w (1 − γ) Φ a step. With w ≤ 1 the step of success earns 1 − w Φ(s) ≥ 0.

It is worked out from the recorded signals when steps are read, so that it holds for whatever a step is relabelled to.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robot_rl.contract import Reading
from robot_rl.rewards.judge import ClassifierJudge
from robot_rl.rewards.saved import ClassifierError, Saved


class Shaping:
    """Shaping by the classifier in ``folder``, for one reader of a store.

    Args:
        weight: w, above 0 and at most 1.
        discount: γ.

    Raises `ClassifierError` when the classifier cannot be used, or has no stages.
    """

    def __init__(self, folder: Path, weight: float, discount: float) -> None:
        self._judge, self._saved = ClassifierJudge(folder), Saved.read(folder)
        if not self._saved.earlier:
            raise ClassifierError(
                f"learner.shaping={weight:g} takes a classifier with stages, and that at {folder} has none; "
                "collect them with session.stages=…, or say learner.shaping=0"
            )
        self._weight, self._discount = weight, discount

    def potentials(self, start: int, readings: Sequence[Reading]) -> np.ndarray:
        """Φ ``(n,)`` of an episode's readings from number ``start`` on, which follow on those of the last call.

        A reading without signals has the Φ of the one before. Raises `ClassifierError` where none of them has any.
        """
        if not any(self._saved.signal in reading.signals for reading in readings):
            raise ClassifierError(
                f"learner.shaping={self._weight:g} takes episodes that the classifier has looked at, and these have no "
                f"signal {self._saved.signal}; record them with its judge, or say learner.shaping=0"
            )
        if not start:
            self._judge.begin()
        found = []
        for reading in readings:
            self._judge.judge(reading)
            found.append(self._judge.progress)
        return np.array(found)

    def added(self, potentials: np.ndarray, terminated: np.ndarray) -> np.ndarray:
        """Shaping ``(n,)`` float32 of n steps with ``potentials (n + 1,)``, of which some are ``terminated (n,)``."""
        after = np.where(terminated, 0.0, potentials[1:])
        added: np.ndarray = (self._weight * (self._discount * after - potentials[:-1])).astype(np.float32)
        return added
