"""ALOE on a SmallVLA, with a person who takes over: before and after, beside imitation weighted by returns.

    python -m benchmarks.experiments.vla_aloe                      # run what the results lack, and print
    python -m benchmarks.experiments.vla_aloe --arms advantage --seeds 0
    python -m benchmarks.experiments.vla_aloe --draw               # only print

For each seed a script that drives like a person shows the task anew, `robot-rl pretrain --vla` imitates, and each arm
goes on from that policy, in process: ``advantage`` and ``return`` learn, see ``aloe.weight``, while a scripted person
watches, takes over and gives back (`benchmarks.experiments.people`). Before the first step, when it is the frozen
policy, and after every ``--every`` steps of the robot, the person's included, what was learnt acts alone, from starts
that chose nothing, whatever trust says; at the end, what is in use does, too, and the champion, which the improvement
gate hands on.

Each run is a line of JSON: arm, seed, task, how many demonstrations, style of the person, settings, version, digest of
the policy that it began with, machine; points: robot minutes and success; in_use, champion: their success at the end;
episodes, takeovers, by_person, reflexes, cpu_s, wall_s as in `benchmarks.experiments.people`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.experiments.people import NOBODY, Bench, Tally
from benchmarks.experiments.tables.lines import digest, machine, version_of
from benchmarks.experiments.tables.plan import STEPS_PER_MINUTE, TUNING
from benchmarks.experiments.tables.started import ONE_THREAD, cpu_time, fresh_processes, run_job
from robot_rl.data.store import EpisodeStore
from robot_rl.jobs.config import load_config
from robot_rl.jobs.run import Run, read_parameters
from robot_rl.jobs.training import Trainer
from robot_rl.jobs.vla import make_improver
from robot_rl.policies.base import Newest
from robot_rl.tasks.experts.supervisor import STYLES, Supervisor

ROOT = Path(__file__).parents[2]
ARMS = ("return", "advantage")
WORDS = {"pick_cube_images": "lift the cube", "peg_insertion_images": "insert the peg"}


@dataclass(frozen=True)
class Line:
    """A run; see the module."""

    arm: str
    seed: int
    task: str
    demos: int
    style: str
    settings: tuple[str, ...]
    steps: int
    every: int
    version: str
    base: str
    machine: str
    points: tuple[tuple[float, float], ...]
    in_use: float
    champion: float | None
    starts: int
    episodes: int
    takeovers: int
    by_person: float
    reflexes: int
    cpu_s: float
    wall_s: float

    @property
    def key(self) -> tuple[object, ...]:
        return key_of(self)


@dataclass(frozen=True)
class Cell:
    """One run, and what it needs: ``steps`` of the robot, evaluations of ``starts`` after ``every``."""

    task: str
    arm: str
    demos: int
    seed: int
    style: str
    settings: tuple[str, ...]
    steps: int
    every: int
    starts: int
    work: Path
    version: str

    @property
    def key(self) -> tuple[object, ...]:
        return key_of(self)


def key_of(run: Line | Cell) -> tuple[object, ...]:
    """All that tells a run from others of its version, the arm and the seed last."""
    return (run.task, run.demos, run.style, run.settings, run.steps, run.every, run.starts, run.arm, run.seed)


def imitated(cell: Cell) -> Path:
    """The run that holds demonstrations and the policy that imitates them; both are made where they are not there."""
    root = cell.work / cell.version / f"{cell.task}-{cell.demos}-seed-{cell.seed}"
    if not (root / "vla.params").exists():
        shutil.rmtree(root, ignore_errors=True)
        given = ("--run", str(root), f"seed={cell.seed}")
        shown = (f"demos={cell.demos}", "demo_style=person", f"session.instruction={WORDS[cell.task]}")
        run_job("record", ["--fast", "--task", cell.task, *given, *shown])
        run_job("pretrain", ["--vla", *given])
    return root


def make_line(cell: Cell) -> Line:
    """The run of ``cell``."""
    shown = imitated(cell)
    began, before = time.monotonic(), cpu_time()
    base = shown / "vla.params"
    overrides = [f"task={cell.task}", f"seed={cell.seed}", f"demo_stores={shown / 'demos'}", f"learner.base={base}"]
    overrides += [f"session.instruction={WORDS[cell.task]}", f"steps={cell.steps}", f"aloe.weight={cell.arm}"]
    overrides += cell.settings
    name = digest(repr(cell.key).encode())
    root = cell.work / cell.version / f"{cell.task}-{cell.arm}-seed-{cell.seed}-{name}"
    shutil.rmtree(root, ignore_errors=True)  # what an interrupted run has left
    bench = Bench(load_config(None, overrides))
    points: list[tuple[float, float]] = [(0.0, bench.success(base.read_bytes(), cell.starts))]
    tally, run = Tally(), Run.create(bench.config, root)
    for minutes, learnt in learn(cell, bench, run, tally):
        points.append((minutes, bench.success(learnt, cell.starts)))
    in_use = bench.success(run.parameters.read_bytes(), cell.starts)
    champion = bench.success(read_parameters(run, bench.config), cell.starts) if run.champion.exists() else None
    return Line(
        arm=cell.arm,
        seed=cell.seed,
        task=cell.task,
        demos=cell.demos,
        style=cell.style,
        settings=cell.settings,
        steps=cell.steps,
        every=cell.every,
        version=cell.version,
        base=digest(base.read_bytes()),
        machine=machine(),
        points=tuple(points),
        in_use=in_use,
        champion=champion,
        starts=cell.starts,
        episodes=tally.episodes,
        takeovers=tally.takeovers,
        by_person=round(tally.by_person / max(tally.steps, 1), 3),
        reflexes=tally.reflexes,
        cpu_s=round(cpu_time() - before, 1),
        wall_s=round(time.monotonic() - began, 1),
    )


def learn(cell: Cell, bench: Bench, run: Run, tally: Tally) -> Iterator[tuple[float, bytes]]:
    """Robot minutes at which it is to be evaluated, and what was learnt by then."""
    with contextlib.closing(EpisodeStore.create_or_open(run.online, bench.schema)) as store:
        acting = Newest(bench.loader(deterministic=False))
        loop = make_improver(run, bench.config, Path(bench.config.learner.base).read_bytes())
        trainer = Trainer(run, bench.config, loop, acting.take)
        trainer.start()
        trainer.warm_up()
        person = None if cell.style == NOBODY else Supervisor(bench.task, cell.style, cell.seed)
        with bench.rollout(cell.seed, store, person) as rollout:
            while tally.steps < cell.steps:
                directive = rollout.step(acting)
                if directive.step is not None:
                    tally.step(directive.step.source)
                if directive.ended is not None:
                    tally.end(directive.ended.reason)
                if directive.step is None:
                    continue
                while trainer.step():
                    pass
                if tally.steps % cell.every == 0 or tally.steps == cell.steps:
                    yield tally.steps / STEPS_PER_MINUTE, loop.newest()
        trainer.publish()
        trainer.close()


def planned(given: argparse.Namespace, version: str) -> Iterator[Cell]:
    """The runs asked for, seed by seed."""
    for seed, task, arm in itertools.product(given.seeds, given.tasks, given.arms):
        settings, work = tuple(given.set), given.work.absolute()
        budget = given.steps, given.every, given.starts
        yield Cell(task, arm, given.demos, seed, given.style, settings, *budget, work, version)


def table(lines: Sequence[Line], task: str) -> Iterator[str]:
    """Markdown: a row for each arm, means over the seeds and what each came to."""
    found = [line for line in lines if line.task == task]
    if len({line.key[:-2] for line in found}) > 1:
        raise ValueError(f"the lines of {task} are of runs that differ in more than arm and seed; name other --results")
    minutes = sorted({minute for line in found for minute, _ in line.points})
    yield (
        f"| `{task}` | Seeds | {' | '.join(f'{minute:.1f} min' for minute in minutes)} | In use | Champion | "
        "Takeovers an episode | Steps by the person | Reflexes | CPU [s] |"
    )
    yield "|---" * (8 + len(minutes)) + "|"
    for arm in ARMS:
        runs = sorted((one for one in found if one.arm == arm), key=lambda one: one.seed)
        if not runs:
            continue
        at = [_each([dict(run.points)[minute] for run in runs if minute in dict(run.points)]) for minute in minutes]
        cells = [
            ", ".join(str(run.seed) for run in runs),
            *at,
            _each([run.in_use for run in runs]),
            _each([run.champion for run in runs if run.champion is not None]),
            _each([run.takeovers / max(run.episodes, 1) for run in runs]),
            _each([run.by_person for run in runs]),
            ", ".join(str(run.reflexes) for run in runs),
            f"{np.mean([run.cpu_s for run in runs]):.0f}",
        ]
        yield f"| {arm} | {' | '.join(cells)} |"


def _each(values: Sequence[float]) -> str:
    """The mean, and in brackets each; a dash for none."""
    return f"{np.mean(values):.2f} ({', '.join(f'{value:.2f}' for value in values)})" if values else "–"


def read_lines(path: Path) -> list[Line]:
    """The lines in ``path``; none where there is no file."""
    found = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    return [
        Line(**(one | {"settings": tuple(one["settings"]), "points": tuple((m, r) for m, r in one["points"])}))
        for one in found
    ]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="python -m benchmarks.experiments.vla_aloe",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", nargs="+", choices=tuple(WORDS), default=["pick_cube_images"], metavar="TASK")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument("--demos", type=int, default=10, metavar="N", help="(default %(default)s)")
    parser.add_argument("--style", choices=(NOBODY, *STYLES), default="good", help="of the person who watches")
    parser.add_argument("--steps", type=int, default=3000, help="of the robot (default %(default)s)")
    parser.add_argument("--every", type=int, default=1000, help="steps between evaluations (default %(default)s)")
    parser.add_argument("--starts", type=int, default=25, help="of an evaluation (default %(default)s)")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help=f"for seeds from {TUNING} on")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "vla_aloe.jsonl")
    parser.add_argument("--work", type=Path, default=Path("runs/vla_aloe"), help="demonstrations and runs")
    parser.add_argument("--draw", action="store_true", help="run nothing")
    found = parser.parse_args(arguments)
    if found.results == parser.get_default("results") and (found.set or max(found.seeds) >= TUNING):
        parser.error(f"--set, and seeds from {TUNING} on, are for choosing; they need a --results of their own")
    if found.set and min(found.seeds) < TUNING:
        parser.error(f"--set is for choosing, with seeds from {TUNING} on")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    given = parse(argv)
    if not given.draw:
        lines, version = read_lines(given.results), version_of(ROOT)
        if others := sorted({line.version for line in lines} - {version}):
            sys.stderr.write(f"vla_aloe: the results are of version {', '.join(others)}, this is {version}; ")
            sys.stderr.write("name another --results\n")
            return 2
        os.environ.update(ONE_THREAD)
        have = {line.key for line in lines}
        with fresh_processes(1) as pool:
            for line in pool.map(make_line, (cell for cell in planned(given, version) if cell.key not in have)):
                with open(given.results, "ab", buffering=0) as file:
                    file.write((json.dumps(dataclasses.asdict(line)) + "\n").encode())
    lines = read_lines(given.results)
    for task in given.tasks:
        sys.stdout.write("\n".join(table(lines, task)) + "\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
