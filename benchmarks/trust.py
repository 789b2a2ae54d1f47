"""When what was learnt may act in the clone's place: rules of `robot_rl.learner.trust` on drawn episodes.

Episodes succeed or fail, the clone's by a rate that stays, the learner's by one that rises along a line. For each case
and rule one JSON line of 400 runs of 40 or 100 episodes: the mean rate in use (``area``), how far the rate in use falls
below the clone's at its worst in a run (``dip``), and the rate after the last episode (``end``). The chances are known
here, so nothing is evaluated. ``rule``: P from which the learner leads, and below which it does not any more.
"""

from __future__ import annotations

import itertools
import json
import random
from typing import NamedTuple

import numpy as np

from robot_rl.learner import trust

RUNS = 400
RULES = ((0.5, 0.5), (0.75, 0.75), (0.7, 0.5), (0.75, 0.5), (0.8, 0.5), (0.9, 0.5))


class Case(NamedTuple):
    """Rates: the clone's, the learner's at first and at last, which it comes to after ``rise`` of all ``episodes``."""

    clone: float
    first: float
    last: float
    rise: int
    episodes: int


CASES = (
    Case(0.6, 0.1, 0.8, 60, 40),
    Case(0.6, 0.3, 0.95, 20, 40),
    Case(0.25, 0.1, 0.85, 30, 40),
    Case(0.87, 0.5, 1.0, 15, 40),
    Case(0.9, 0.5, 0.8, 20, 40),
    Case(0.5, 0.2, 0.9, 50, 100),
)


def run(case: Case, earned: float, lost: float, rng: random.Random) -> list[float]:
    """The rate in use after each episode."""
    trust.EARNED, trust.LOST = earned, lost
    told: list[tuple[bool, int, float]] = []  # whose, which, return
    leads, rates = False, []
    for number in range(case.episodes):
        rate = case.first + (case.last - case.first) * min(1.0, number / case.rise)
        clone = [value for learner, _, value in told if not learner]
        learner = [value for learner, then, value in told if learner and 2 * then >= number][-trust.WINDOW :]
        chance = trust.better(clone, learner)
        leads = trust.learner_leads(chance, len(learner), leads)
        rates.append(rate if leads else case.clone)
        explores = trust.learner_explores(trust.hoped(clone, learner), rng.random())
        told.append((explores, number, float(rng.random() < (rate if explores else case.clone))))
    return rates


def main() -> None:
    for case, rule in itertools.product(CASES, RULES):
        rng = random.Random(0)
        rates = np.array([run(case, *rule, rng) for _ in range(RUNS)])
        measured = {
            "area": round(float(rates.mean()), 3),
            "dip": round(float(np.minimum(0.0, rates.min(axis=1) - case.clone).mean()), 3),
            "end": round(float(rates[:, -1].mean()), 3),
        }
        print(json.dumps({**case._asdict(), "rule": rule, **measured}))


if __name__ == "__main__":
    main()
