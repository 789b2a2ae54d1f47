"""Makes one run and its line, in a process of its own."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.experiments.public import demos as public_demos
from benchmarks.experiments.tables.lines import DONE, Line, Point, digest, digest_of_files, machine
from benchmarks.experiments.tables.plan import BUDGETS, DEMOS, EPISODES, STEPS_PER_MINUTE, Cell, Kind
from benchmarks.experiments.tables.started import cpu_time, run_checked, run_job
from controllers.core import ControllerConfig
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import Ending
from robot_rl.jobs.config import load_config
from robot_rl.learner.factory import make_loop_config
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import EpisodeSummary
from robot_rl.session.errors import ResetError
from robot_rl.session.in_process import Rollout
from robot_rl.session.session import Session
from robot_rl.tasks import make_task
from robot_rl.tasks.base import Task, scene_of
from robot_rl.tasks.experts.person import Driver, make_driver

EVALUATION = 100_003  # added to the seed of the script's starts, so that they are not those it was recorded from
PUBLIC_DEMOS = "demos.hdf5"
LAST_WORDS = 200  # characters of a dead run's log that its line keeps


@dataclass(frozen=True)
class Place:
    """Circumstances of a run: ``work`` folder for demonstrations and logs, ``version`` of the code, ``style`` of the
    demonstrations."""

    work: Path
    version: str
    style: str


@dataclass(frozen=True)
class Outcome:
    """Result of a run: counts as `robot-rl gym` writes them, evaluations, and how it ended."""

    points: tuple[Point, ...]
    ended: str = DONE
    steps: int = 0
    critic_steps: int = 0
    actor_steps: int = 0
    reflexes: int = 0


def make_line(cell: Cell, place: Place) -> Line:
    """The run of ``cell``, whatever comes of it. Raises `subprocess.CalledProcessError` without demonstrations."""
    demos = demonstrations(cell.task, cell.seed, place, cell.row.demos)
    began, before = time.monotonic(), cpu_time()
    outcome = _MADE_BY[cell.row.kind](cell, place, demos)
    return Line(
        task=cell.task,
        row=cell.row.name,
        seed=cell.seed,
        version=place.version,
        settings=cell.row.settings,
        config=_config_digest(cell, place),
        demos=digest_of_files(demos.parent if demos.is_file() else demos),
        machine=machine(),
        wall_s=round(time.monotonic() - began, 1),
        cpu_s=round(cpu_time() - before, 1),
        robot_minutes=round(outcome.steps / STEPS_PER_MINUTE, 3),
        critic_steps=outcome.critic_steps,
        actor_steps=outcome.actor_steps,
        reflexes=outcome.reflexes,
        ended=outcome.ended,
        points=outcome.points,
    )


def demonstrations(task: str, seed: int, place: Place, count: int = 0) -> Path:
    """``count`` demonstrations (0: `DEMOS`) of ``seed``, a store or a public task's file, by this version.

    Whoever is first records them.
    """
    number = f"-{count}" if count else ""
    run = place.work / place.version / f"demos-{task}-{place.style}-{seed}{number}"
    found = run / PUBLIC_DEMOS if BUDGETS[task].module else run / "demos"
    run.parent.mkdir(parents=True, exist_ok=True)
    complete = run.with_suffix(".complete")
    with run.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            if BUDGETS[task].module:
                run.mkdir(exist_ok=True)
                arguments = [task, "--seed", str(seed), "--count", str(count or DEMOS), "--file", str(found)]
                run_checked([sys.executable, "-m", public_demos.__name__, *arguments], run.with_suffix(".log"))
            else:
                arguments = ["--fast", "--task", task, "--seed", str(seed), "--run", str(run)]
                settings = [f"demos={count or DEMOS}", f"demo_style={place.style}"]
                run_job("record", [*arguments, *settings], run.with_suffix(".log"))  # goes on where it was, if it was
            complete.touch()
    return found


def _script(cell: Cell, place: Place, demos: Path) -> Outcome:
    succeeded = itertools.islice(_successes(cell.task, cell.seed + EVALUATION, place.style), EPISODES)
    return Outcome((Point(0.0, float(np.mean(list(succeeded)))),))


def _successes(name: str, seed: int, style: str) -> Iterator[bool]:
    """Whether the script's episodes succeed, without end."""
    if BUDGETS[name].module:
        return (demo.succeeded for demo in public_demos.play(name, seed))
    task = make_task(name)
    return (episode.ending is Ending.SUCCESS for episode in play(task, seed, make_driver(task, style, seed)))


def play(task: Task, seed: int, driver: Driver) -> Iterator[EpisodeSummary]:
    """Episodes without end. Where the arm does not get back, the world begins anew."""
    for number in itertools.count():
        with contextlib.suppress(ResetError):
            yield from _play(task, seed + number * EVALUATION, driver)


def _play(task: Task, seed: int, driver: Driver) -> Iterator[EpisodeSummary]:
    """Episodes until a reset fails. Raises `ResetError` then."""
    with InProcessWorld(scene_of(task), task.bound(ControllerConfig())) as world:
        world.start()
        rollout = Rollout(Session(task, SessionConfig(ask_policy=False), None, seed), world, driver)
        while True:
            if (ended := rollout.step().ended) is not None:
                yield ended


def _agent(cell: Cell, place: Place, demos: Path) -> Outcome:
    budget = BUDGETS[cell.task]
    steps = 0 if cell.row.kind is Kind.CLONE else budget.steps
    arguments = ["--env", budget.env, "--agent", cell.row.agent, "--seed", str(cell.seed), "--steps", str(steps)]
    arguments += ["--eval-every", str(budget.every), "--eval-episodes", str(EPISODES)]
    arguments += ["--eval-acting"] if cell.row.acting else []
    arguments += ["--module", budget.module] if budget.module else []
    arguments += ["--encoder", budget.encoder] if budget.encoder and not cell.row.blind else []
    arguments += ["--demos", str(demos), *(f"learner.{setting}" for setting in cell.row.settings)]

    def run(lines: Path, log: Path) -> None:
        run_job("gym", [*arguments, "--json", str(lines), "--run", str(lines.with_suffix(""))], log)

    return _followed(cell, place, run)


def _outside(cell: Cell, place: Place, demos: Path) -> Outcome:
    budget = BUDGETS[cell.task]

    def run(lines: Path, log: Path) -> None:
        values = {"env": budget.env, "task": cell.task, "seed": cell.seed, "steps": budget.steps, "every": budget.every}
        values |= {"episodes": EPISODES, "demos": demos, "lines": lines}
        run_checked([part.format(**values) for part in cell.row.command], log)

    return _followed(cell, place, run)


def _followed(cell: Cell, place: Place, run: Callable[[Path, Path], None]) -> Outcome:
    """The outcome of a program that writes lines as `robot-rl gym` does, be it that it dies."""
    name = f"{cell.task}-{cell.row.name}-{cell.seed}".replace("/", "_").replace(" ", "_")
    lines, log = (place.work / place.version / f"{name}.{kind}" for kind in ("jsonl", "log"))
    lines.unlink(missing_ok=True)
    ended = DONE
    try:
        run(lines, log)
    except (subprocess.CalledProcessError, OSError) as error:
        status = getattr(error, "returncode", error)
        words = log.read_text(errors="replace").strip()[-LAST_WORDS:] if log.exists() else ""
        ended = f"died ({status}): {words}"
    written = lines.read_text(encoding="utf-8").splitlines() if lines.exists() else []
    return outcome_of([json.loads(text) for text in written], ended)


def outcome_of(lines: Sequence[dict[str, Any]], ended: str) -> Outcome:
    """The outcome that ``lines`` of `robot-rl gym` tell of; what an outside program leaves out counts 0."""
    points = tuple(
        Point(line["step"] / STEPS_PER_MINUTE, line["success_rate"], line.get("acting_success_rate")) for line in lines
    )
    last = lines[-1] if lines else {}
    counts = {"steps": "step", "critic_steps": "updates", "actor_steps": "actor_updates", "reflexes": "reflexes"}
    if not points and ended == DONE:
        ended = "died: it ended without an evaluation"
    return Outcome(points, ended, **{name: int(last.get(key, 0)) for name, key in counts.items()})


_MADE_BY: dict[Kind, Callable[[Cell, Place, Path], Outcome]] = {
    Kind.SCRIPT: _script,
    Kind.CLONE: _agent,
    Kind.AGENT: _agent,
    Kind.OUTSIDE: _outside,
}


def _config_digest(cell: Cell, place: Place) -> str:
    """Of all that decides what is run, but code and seed."""
    parts: list[object] = [cell.row, BUDGETS[cell.task], DEMOS, EPISODES, place.style]
    if cell.row.agent:
        learner = [f"learner.agent={cell.row.agent}", *(f"learner.{setting}" for setting in cell.row.settings)]
        config = load_config(None, learner).learner
        images = bool(BUDGETS[cell.task].encoder) and not cell.row.blind
        parts += [config, make_loop_config(config, 0, images)[0].config]
    return digest(repr(parts).encode())
