"""The algorithms on every task, over several seeds: success of the deterministic policy over robot minutes.

    python -m benchmarks.experiments.learning_curves            # learn what the results lack, then draw
    python -m benchmarks.experiments.learning_curves --tasks reach --agents rlpd expo --seeds 3
    python -m benchmarks.experiments.learning_curves --tasks peg_search --agents flash_sac --without force moment
    python -m benchmarks.experiments.learning_curves --draw                # only the table and the picture

Each run is `robot-rl gym` on the task in process, from 20 demonstrations of its script that all agents of a seed share.
Finished runs are kept in the results file, one line each; a run that was interrupted is made again from its beginning.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from textwrap import fill
from typing import Any

AGENTS = ("rlpd", "hil", "flash_sac", "chunked", "expo")
DEMOS = 20
EPISODES = 50  # of an evaluation
STEPS_PER_MINUTE = 600  # of robot time
WITHOUT = "without="  # before what a curve's settings hide
ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Budget:
    """Steps that a task may learn for, and the success to come to."""

    env: str
    steps: int
    every: int  # steps between evaluations
    success: float  # aimed at


BUDGETS = {
    "reach": Budget("robot_rl/Reach-v0", 1800, 300, 0.95),
    "peg_insertion": Budget("robot_rl/PegInsertion-v0", 1200, 200, 0.95),
    "pick_cube": Budget("robot_rl/PickCube-v0", 3000, 500, 0.95),
    "peg_search": Budget("robot_rl/PegSearch-v0", 9000, 1500, 0.90),
}


@dataclass(frozen=True)
class Curve:
    """One run: ``points`` are the lines that `robot-rl gym` wrote."""

    task: str
    agent: str
    seed: int
    settings: tuple[str, ...]
    points: tuple[dict[str, Any], ...]

    @property
    def key(self) -> tuple[str, str, int, tuple[str, ...]]:
        return self.task, self.agent, self.seed, self.settings

    @property
    def success(self) -> float:
        """At the end."""
        return float(self.points[-1]["success_rate"])

    @property
    def minutes_to_target(self) -> float:
        """Robot minutes until the first evaluation that meets the task's aim; infinite when none does."""
        aim = BUDGETS[self.task].success
        met = (point["step"] / STEPS_PER_MINUTE for point in self.points if point["success_rate"] >= aim)
        return next(met, float("inf"))


def learn(task: str, agent: str, seed: int, settings: tuple[str, ...], work: Path) -> Curve:
    """One run, on one thread. Raises `subprocess.CalledProcessError` when it fails."""
    budget = BUDGETS[task]
    name = "-".join((task, agent, str(seed), *settings)).replace("/", "_")
    lines = work / f"{name}.jsonl"
    lines.unlink(missing_ok=True)
    arguments = ["--env", budget.env, "--agent", agent, "--seed", str(seed), "--steps", str(budget.steps)]
    arguments += ["--eval-every", str(budget.every), "--eval-episodes", str(EPISODES)]
    demos = _demonstrations(task, seed, work) / "demos"
    arguments += ["--demos", str(demos), "--json", str(lines), *map(_as_key, settings)]
    _robot_rl("gym", arguments, work / f"{name}.log")
    return Curve(task, agent, seed, settings, tuple(json.loads(line) for line in lines.read_text().splitlines()))


def _as_key(setting: str) -> str:
    """A curve's setting as the learner's: ``without=force`` is ``learner.without=force``."""
    return f"learner.{setting}" if setting.startswith(WITHOUT) else setting


def _demonstrations(task: str, seed: int, work: Path) -> Path:
    """The run with the demonstrations of ``seed``, whatever is hidden from those who learn from them."""
    name = f"demos-{task}-{seed}"
    arguments = ["--fast", "--task", task, "--seed", str(seed), "--run", str(work / name), f"demos={DEMOS}"]
    _robot_rl("record", arguments, work / f"{name}.log")  # goes on where it was, if it was
    return work / name


def _robot_rl(job: str, arguments: Sequence[str], log: Path) -> None:
    with log.open("wb") as output:
        command = [sys.executable, "-m", "robot_rl", job, *arguments]
        subprocess.run(command, check=True, stdout=output, stderr=subprocess.STDOUT, env=os.environ | ONE_THREAD)


def read(results: Path) -> list[Curve]:
    """The finished runs."""
    if not results.exists():
        return []
    curves = (json.loads(line) for line in results.read_text().splitlines())
    return [Curve(c["task"], c["agent"], c["seed"], tuple(c["settings"]), tuple(c["points"])) for c in curves]


def write(results: Path, curve: Curve) -> None:
    """Append a finished run; of each point, what a curve needs."""
    kept = ("step", "success_rate", "return_mean", "wall_s", "utd", "updates_per_s")
    line = vars(curve) | {"points": [{name: point[name] for name in kept} for point in curve.points]}
    with results.open("a") as file:
        file.write(json.dumps(line) + "\n")


def table(curves: Sequence[Curve]) -> Iterator[str]:
    """Lines of a Markdown table: a row for each task and agent, with the median over the seeds (and each)."""
    heads = ("Task (aim)", "Agent", "Seeds", "Success at the end", "Robot minutes to the aim", "Wall time")
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for task, budget in BUDGETS.items():
        for agent, runs in _by_agent(curves, task):
            success = ", ".join(f"{run.success:.2f}" for run in runs)
            minutes = ", ".join(_minutes(run.minutes_to_target) for run in runs)
            aim = f"{budget.success:.0%} in {budget.steps / STEPS_PER_MINUTE:g} min"
            ended = runs[0].points[-1]["step"]  # with another budget, perhaps
            when = "" if ended == budget.steps else f" after {ended / STEPS_PER_MINUTE:.2g} min"
            cells = (
                f"`{task}` ({aim})",
                f"`{agent}`",
                str(len(runs)),
                f"{median(r.success for r in runs):.2f} ({success}){when}",
                f"{_minutes(median(r.minutes_to_target for r in runs))} ({minutes})",
                f"{median(r.points[-1]['wall_s'] for r in runs):.0f} s",
            )
            yield f"| {' | '.join(cells)} |"


def draw(curves: Sequence[Curve], picture: Path) -> None:
    """A panel for each task: median over seeds, each seed faintly."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    tasks = [task for task in BUDGETS if any(curve.task == task for curve in curves)]
    names = sorted({name for task in tasks for name, _ in _by_agent(curves, task)})
    colours = {name: f"C{number}" for number, name in enumerate(names)}
    figure, axes = plt.subplots(1, len(tasks), figsize=(4 * len(tasks), 3.6), sharey=True, squeeze=False)
    for axis, task in zip(axes[0], tasks, strict=True):
        for agent, runs in _by_agent(curves, task):
            steps = [point["step"] for point in runs[0].points]
            minutes = [step / STEPS_PER_MINUTE for step in steps]
            rates = [[100 * point["success_rate"] for point in run.points] for run in runs]
            middle = [median(column) for column in zip(*rates, strict=True)]
            label = fill(f"{agent} ({len(runs)})", 30)
            axis.plot(minutes, middle, colours[agent], marker="o", markersize=3, label=label)
            for rate in rates:
                axis.plot(minutes, rate, colours[agent], alpha=0.3, linewidth=0.8)
        axis.axhline(100 * BUDGETS[task].success, color="0.5", linestyle=":", linewidth=1)
        axis.set_title(task)
        axis.set_xlabel("robot minutes")
        axis.set_ylim(-4, 104)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="best", title="agent (seeds)", title_fontsize=8)
    axes[0][0].set_ylabel("success of the deterministic policy [%]")
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def _by_agent(curves: Sequence[Curve], task: str) -> Iterator[tuple[str, list[Curve]]]:
    """The runs of a task, in the order of seeds; other settings make another agent."""
    names = sorted({(curve.agent, curve.settings) for curve in curves if curve.task == task})
    for agent, settings in names:
        chosen = [c for c in curves if (c.task, c.agent, c.settings) == (task, agent, settings)]
        name = " ".join((agent, *settings)).replace(WITHOUT, "without ").replace(",", ", ")
        yield name, sorted(chosen, key=lambda curve: curve.seed)


def _minutes(value: float) -> str:
    return "–" if value == float("inf") else f"{value:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="python -m benchmarks.experiments.learning_curves",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", nargs="+", choices=BUDGETS, default=list(BUDGETS))
    parser.add_argument("--agents", nargs="+", default=list(AGENTS))
    parser.add_argument("--seeds", type=int, default=5, help="so many, from 0 (default 5)")
    parser.add_argument("--settings", nargs="*", default=[], metavar="learner.key=value", help="for every agent")
    parser.add_argument(
        "--without", nargs="*", default=[], metavar="FIELD", help="hide these of the state, for every agent"
    )
    parser.add_argument(
        "--parallel", type=int, default=os.cpu_count() or 1, help="runs at a time (default: a core each)"
    )
    parser.add_argument("--results", type=Path, default=Path("docs/learning-curves.jsonl"))
    parser.add_argument("--work", type=Path, default=Path("runs/learning-curves"), help="demonstrations and logs")
    parser.add_argument("--draw", action="store_true", help="learn nothing")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if not arguments.draw:
        _learn_missing(arguments)
    curves = read(arguments.results)
    if curves:
        draw(curves, arguments.results.with_suffix(".png"))
    sys.stdout.write("\n".join(table(curves)) + "\n")


def _learn_missing(arguments: argparse.Namespace) -> None:
    """Seeds in the outer loop: whatever is cut off, the agents have the same number of them."""
    hidden = ",".join(sorted(set(arguments.without)))
    settings = (*arguments.settings, *([WITHOUT + hidden] if hidden else []))
    known = {curve.key for curve in read(arguments.results)}
    for task in arguments.tasks:
        for seed in range(arguments.seeds):
            wanted = [agent for agent in arguments.agents if (task, agent, seed, settings) not in known]
            if not wanted:
                continue
            _demonstrations(task, seed, arguments.work)
            with ThreadPoolExecutor(arguments.parallel) as pool:
                runs = [pool.submit(learn, task, agent, seed, settings, arguments.work) for agent in wanted]
                for run in as_completed(runs):
                    curve = run.result()
                    write(arguments.results, curve)
                    aim = _minutes(curve.minutes_to_target)
                    sys.stdout.write(f"{task} {curve.agent} seed {seed}: {curve.success:.0%}, aim after {aim} min\n")
                    sys.stdout.flush()


if __name__ == "__main__":
    main()
