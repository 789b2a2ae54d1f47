"""The rule by which the default agent follows from the tables, written before they were made.

Eligible is a row of an agent that has run on every task of the tables and is never below imitation: on each task its
success at the end, evaluated either way, has an interval that reaches imitation's mean. Of these it is the one with the
largest area under the curve of success in use, averaged over the tasks. When none is eligible, none is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.experiments.tables.lines import Line
from benchmarks.experiments.tables.plan import BUDGETS, REFERENCE, STEPS_PER_MINUTE
from benchmarks.experiments.tables.statistics import area_under_curve, bootstrap, interquartile_mean

WAYS = (False, True)  # to evaluate: in use; as it acts while learning


def default_agent(lines: Sequence[Line]) -> str:
    """The row that the rule chooses, or ""."""
    tasks = [task for task in BUDGETS if any(line.task == task for line in lines)]
    names = dict.fromkeys(line.row for line in lines if line.critic_steps)
    areas = {name: mean_area(lines, name, tasks) for name in names if is_eligible(lines, name, tasks)}
    return max(areas, key=lambda name: areas[name], default="")


def is_eligible(lines: Sequence[Line], name: str, tasks: Sequence[str]) -> bool:
    """Whether the row ``name`` has run on all ``tasks`` and is below imitation on none."""
    for task in tasks:
        runs, reference = runs_of(lines, task, name), runs_of(lines, task, REFERENCE)
        if not runs or not reference:
            return False
        least = interquartile_mean(scores(reference, acting=False))
        if any(bootstrap([scores(runs, acting)], interquartile_mean).high < least for acting in WAYS):
            return False
    return bool(tasks)


def mean_area(lines: Sequence[Line], name: str, tasks: Sequence[str]) -> float:
    """Area under the curves of a row, averaged over ``tasks``."""
    return float(np.mean([interquartile_mean(areas(runs_of(lines, task, name), task)) for task in tasks]))


def areas(runs: Sequence[Line], task: str) -> np.ndarray:
    """Area under each run's curve ``(runs,)``; 0 for one without an evaluation."""
    end = BUDGETS[task].steps / STEPS_PER_MINUTE
    curves = [([point.minutes for point in run.points], run.rates(acting=False)) for run in runs]
    return np.array([area_under_curve(minutes, rates, end) if minutes else 0.0 for minutes, rates in curves])


def runs_of(lines: Sequence[Line], task: str, row: str) -> list[Line]:
    return [line for line in lines if (line.task, line.row) == (task, row)]


def scores(runs: Sequence[Line], acting: bool) -> np.ndarray:
    """Success at the end ``(runs, 1)``."""
    return np.array([[run.score(acting)] for run in runs])
