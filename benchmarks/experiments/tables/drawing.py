"""Lines → Markdown and a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.experiments.tables.lines import DONE, Line
from benchmarks.experiments.tables.plan import BUDGETS, REFERENCE, STEPS_PER_MINUTE, Budget
from benchmarks.experiments.tables.rule import WAYS, areas, default_agent, scores
from benchmarks.experiments.tables.statistics import (
    Estimate,
    bootstrap,
    interquartile_mean,
    minutes_to_stay,
    probability_of_improvement,
)

Rows = dict[str, list[Line]]  # row → its lines of one task, by seed
HEADS = (
    "Row",
    "Seeds",
    "Success at the end (IQM, 95 %), in use",
    "as it learns",
    "Area under the curve",
    "Beats imitation",
    "Minutes to the aim and staying, in use",
    "as it learns",
    "Aim",
    "Critic, actor steps",
    "Reflexes",
    "Wall, CPU [s]",
)


def report(lines: Sequence[Line]) -> Iterator[str]:
    """Markdown: provenance, then a table for each task, then the runs that died."""
    machines = sorted({line.machine for line in lines})
    wall = sum(line.wall_s for line in lines) / 3600.0
    yield f"{len(lines)} runs, {wall:.1f} h of wall time, on {'; '.join(machines)}."
    for task, budget in BUDGETS.items():
        rows = rows_of(lines, task)
        if rows:
            yield ""
            yield (
                f"`{task}`, {budget.steps / STEPS_PER_MINUTE:g} robot minutes; the aim: {budget.aim:.0%} within "
                f"{budget.within:g}, and staying, evaluated either way; version {next(iter(rows.values()))[0].version}"
            )
            yield ""
            yield f"| {' | '.join(HEADS)} |"
            yield "|---" * len(HEADS) + "|"
            for name, runs in rows.items():
                yield f"| {' | '.join(_cells(name, runs, rows.get(REFERENCE, []), budget))} |"
    yield ""
    yield f"The default by the rule (`benchmarks/experiments/tables/rule.py`): {default_agent(lines) or 'none'}."
    died = [line for line in lines if line.ended != DONE]
    if died:
        yield ""
        yield f"{len(died)} runs died, and count as 0 at the end:"
        yield ""
        yield from (f"- `{line.task}`, {line.row}, seed {line.seed}: {_one_line(line.ended)}" for line in died)


def rows_of(lines: Sequence[Line], task: str) -> Rows:
    """The lines of a task, by row, in the order in which rows first appear; each by seed."""
    rows: Rows = {}
    for line in sorted((line for line in lines if line.task == task), key=lambda line: line.seed):
        rows.setdefault(line.row, []).append(line)
    return rows


def _cells(name: str, runs: list[Line], reference: list[Line], budget: Budget) -> Iterator[str]:
    yield name
    yield str(len(runs))
    for acting in WAYS:
        yield _estimate(bootstrap([scores(runs, acting)], interquartile_mean))
    yield f"{interquartile_mean(areas(runs, runs[0].task)):.2f}"
    if reference and reference is not runs:
        better = bootstrap([scores(runs, False), scores(reference, False)], probability_of_improvement)
        yield _estimate(better)
    else:
        yield "–"
    stays = [_minutes_to_stay(runs, budget.aim, acting) for acting in WAYS]
    for each in stays:
        yield f"{_minutes(median(each))} ({', '.join(map(_minutes, each))})"
    yield "met" if max(map(median, stays)) <= budget.within else "missed"
    yield f"{median(run.critic_steps for run in runs):.0f}, {median(run.actor_steps for run in runs):.0f}"
    yield ", ".join(str(run.reflexes) for run in runs)
    yield f"{median(run.wall_s for run in runs):.0f}, {median(run.cpu_s for run in runs):.0f}"


def _minutes_to_stay(runs: Sequence[Line], aim: float, acting: bool) -> list[float]:
    """Robot minutes from which on each run stays at the aim; infinite for one that never does, or died."""
    return [
        minutes_to_stay([point.minutes for point in run.points], run.rates(acting), aim)
        if run.ended == DONE
        else np.inf
        for run in runs
    ]


def _minutes(value: float) -> str:
    return "–" if value == float("inf") else f"{value:.1f}"


def _estimate(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ({estimate.low:.2f}–{estimate.high:.2f})"


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")


def draw(lines: Sequence[Line], picture: Path) -> None:
    """A panel for each task: interquartile mean over the seeds, in use solid, as it learns dashed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    tasks = [task for task in BUDGETS if rows_of(lines, task)]
    names = list(dict.fromkeys(line.row for line in lines))
    columns = min(3, len(tasks))
    shape = -(-len(tasks) // columns), columns
    figure, axes = plt.subplots(*shape, figsize=(4.6 * columns, 3.6 * shape[0]), sharey=True, squeeze=False)
    for axis in axes.flat[len(tasks) :]:
        axis.axis("off")
    for axis, task in zip(axes.flat, tasks, strict=False):
        end = BUDGETS[task].steps / STEPS_PER_MINUTE
        for name, runs in rows_of(lines, task).items():
            colour = f"C{names.index(name) % 10}"
            for acting in WAYS:
                minutes, middle = _curve(runs, acting)
                if len(minutes) == 1:
                    axis.axhline(100 * middle[0], color=colour, linestyle="-.", linewidth=1, label=name)
                    break
                style = {"linestyle": "--", "linewidth": 0.9} if acting else {"marker": "o", "markersize": 3}
                axis.plot(minutes, 100 * middle, color=colour, label=None if acting else name, **style)
        axis.axhline(100 * BUDGETS[task].aim, color="0.5", linestyle=":", linewidth=1)
        axis.set(title=task, xlabel="robot minutes", ylim=(-4, 104), xlim=(0, 1.02 * end))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, loc="best")
    axes[0][0].set_ylabel("success [%]")
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def _curve(runs: Sequence[Line], acting: bool) -> tuple[np.ndarray, np.ndarray]:
    """Robot minutes of the evaluations that all runs have, and the interquartile mean of success there."""
    most = max(runs, key=lambda run: len(run.points)).points
    minutes = [point.minutes for point in most]
    rates = [[run.rates(acting)[i] if i < len(run.points) else 0.0 for run in runs] for i in range(len(minutes))]
    return np.array(minutes), np.array([interquartile_mean(np.array(column)) for column in rates])
