"""Interventions of people who are not oracles: three rules of learning from them, against three styles of a person.

    python -m benchmarks.experiments.people                          # run what the results lack, and print
    python -m benchmarks.experiments.people --styles clumsy --rules plain cut --seeds 0
    python -m benchmarks.experiments.people --draw                   # only print

A scripted person (`robot_rl.tasks.experts.supervisor`; ``nobody`` for none) watches the policy while it learns in
process, takes over and gives back. The rules are those of ``learner.interventions``. Demonstrations, 20 of them, are by
a script that drives like a person, recorded anew for every seed, and all runs of a seed start from one clone. After
every ``--every`` steps of the robot, the person's included, what was learnt acts alone and without noise, whatever
trust says, from starts that chose nothing and with nobody beside it; at the end once more as it would in use, where the
clone may be trusted more.

Each run is a line of JSON:

task, style, rule, seed   what ran
agent, settings           of the learner
version, demos, machine   as in `benchmarks.experiments.tables.lines`
points                    robot minutes, success of what was learnt (the first: of the clone)
in_use                    success at the end in use
episodes, takeovers       while learning; and the share of its steps that the person decided: by_person
reflexes, cpu_s, wall_s
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.experiments.tables.lines import VersionError, digest, digest_of_files, machine, version_of
from benchmarks.experiments.tables.plan import BUDGETS, STEPS_PER_MINUTE, TUNING
from benchmarks.experiments.tables.runs import EVALUATION, Place, demonstrations
from benchmarks.experiments.tables.started import ONE_THREAD, cpu_time, fresh_processes
from benchmarks.experiments.tables.statistics import minutes_to_stay
from hardware.interfaces import TeleopCommand
from hardware.sim.scene.render import SceneRenderer
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import Ending, Policy, Reading, Source
from robot_rl.contract.files import write_atomically
from robot_rl.data.parameters import pack, unpack
from robot_rl.data.store import EpisodeStore
from robot_rl.jobs.config import RunConfig, load_config
from robot_rl.jobs.learning import make_learner
from robot_rl.jobs.policies import Loader
from robot_rl.jobs.progress import encoder_of, schema_of, view_of
from robot_rl.jobs.run import Run
from robot_rl.jobs.vla import vla_base
from robot_rl.learner.config import Interventions
from robot_rl.learner.loop import LearnerLoop
from robot_rl.perception.encoders import use_one_thread
from robot_rl.perception.images import picture_size
from robot_rl.policies.base import Newest
from robot_rl.policies.loading import ActorLoader
from robot_rl.session.directive import Phase
from robot_rl.session.in_process import Rollout, Teleop
from robot_rl.session.recovery import REFLEX
from robot_rl.session.session import Session
from robot_rl.tasks import make_task
from robot_rl.tasks.base import scene_of
from robot_rl.tasks.experts.person import PERSON
from robot_rl.tasks.experts.supervisor import STYLES, Supervisor

ROOT = Path(__file__).parents[2]
TASKS = ("peg_search", "pick_cube_images")
NOBODY = "nobody"
RULES = get_args(Interventions)


@dataclass(frozen=True)
class Cell:
    """One run: who watches, which rule, what for."""

    task: str
    style: str
    rule: Interventions
    seed: int
    agent: str
    settings: tuple[str, ...]
    steps: int
    every: int
    starts: int
    place: Place

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.task, self.style, self.rule, self.seed


@dataclass(frozen=True)
class Line:
    """A run; see the module."""

    task: str
    style: str
    rule: str
    seed: int
    agent: str
    settings: tuple[str, ...]
    version: str
    demos: str
    machine: str
    points: tuple[tuple[float, float], ...]
    in_use: float
    starts: int
    episodes: int
    takeovers: int
    by_person: float
    reflexes: int
    cpu_s: float
    wall_s: float

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.task, self.style, self.rule, self.seed

    @property
    def stays(self) -> float:
        """Robot minutes to the task's aim and staying there; infinite where it did not."""
        minutes, rates = zip(*self.points, strict=True)
        return minutes_to_stay(minutes, rates, BUDGETS[self.task].aim)


@dataclass(eq=False)
class Tally:
    """Counts while learning: steps, those that the person decided, takeovers, episodes, and those a reflex ended."""

    steps: int = 0
    by_person: int = 0
    takeovers: int = 0
    episodes: int = 0
    reflexes: int = 0
    last: Source = Source.POLICY

    def step(self, source: Source) -> None:
        self.steps += 1
        self.by_person += source is Source.PERSON
        self.takeovers += source is Source.PERSON and self.last is Source.POLICY
        self.last = source

    def end(self, reason: str) -> None:
        self.episodes += 1
        self.reflexes += REFLEX in reason
        self.last = Source.POLICY


class Bench:
    """The task of a run, in process."""

    def __init__(self, config: RunConfig) -> None:
        self.config, self.task = config, make_task(config.task)
        self.view, self.schema = view_of(self.task, config), schema_of(self.task, config)

    @contextlib.contextmanager
    def rollout(self, seed: int, store: EpisodeStore | None = None, person: Teleop | None = None) -> Iterator[Rollout]:
        """Episodes of ``seed``, recorded into ``store``, with a ``person`` who is asked while they run."""
        scene, config = scene_of(self.task), self.config
        with contextlib.ExitStack() as stack:
            world = stack.enter_context(InProcessWorld(scene, self.task.bound(config.controller)))
            world.start()
            encoder = encoder_of(config)
            renderer: SceneRenderer | None = None
            if encoder is not None:
                encoder.load()
                use_one_thread()
            if views := self.task.views(config.cameras):
                side = picture_size(views)
                renderer = stack.enter_context(SceneRenderer(scene, side, side, tuple(views)))
            session = Session(self.task, config.session, store, seed, view=self.view)

            def watches(reading: Reading) -> TeleopCommand | None:
                return person(reading) if person is not None and session.phase is Phase.RUNNING else None

            yield Rollout(session, world, watches, renderer, encoder=encoder)

    def loader(self, deterministic: bool) -> Callable[[bytes], Policy]:
        """Makes a policy of the parameters that the run's learner publishes."""
        seen = self.view.images(self.schema.seen)
        if vla_base(self.config) is not None:
            return Loader(self.config, self.task, self.schema)
        return ActorLoader(self.view, self.config.seed, deterministic, seen, self.schema.encoder)

    def success(self, data: bytes, starts: int) -> float:
        """Share of so many starts, none of which was seen in learning, from which the policy of ``data`` succeeds."""
        policy = self.loader(deterministic=True)(data)
        ended: list[bool] = []
        with self.rollout(self.config.seed + EVALUATION) as rollout:
            while len(ended) < starts:
                if (episode := rollout.step(policy).ended) is not None:
                    ended.append(episode.ending is Ending.SUCCESS)
        return float(np.mean(ended))


def alone(data: bytes) -> bytes:
    """Parameters by which what was learnt acts without noise, though the clone may be trusted more."""
    found = unpack(data)
    leads = {name: np.ones_like(value) for name, value in found.params.items() if name.endswith("/leads")}
    return pack({**found.params, **leads}, found.version, found.meta)


def make_line(cell: Cell) -> Line:
    """The run of ``cell``, from its demonstrations on."""
    demos = demonstrations(cell.task, cell.seed, cell.place)
    began, before = time.monotonic(), cpu_time()
    overrides = [f"task={cell.task}", f"seed={cell.seed}", f"demo_stores={demos}", f"steps={cell.steps}"]
    overrides += [f"learner.agent={cell.agent}", f"learner.interventions={cell.rule}"]
    overrides += [f"learner.{setting}" for setting in cell.settings]
    clone = demos.parent / f"clone-{digest(repr((cell.agent, cell.settings)).encode())}.params"
    overrides += [f"learner.base={clone}"] if clone.exists() else []
    overrides += [f"encoder={BUDGETS[cell.task].encoder}"] if BUDGETS[cell.task].encoder else []
    root = cell.place.work / cell.place.version / "-".join(map(str, cell.key))
    shutil.rmtree(root, ignore_errors=True)  # what an interrupted run has left
    bench = Bench(load_config(None, overrides))
    run = Run.create(bench.config, root)
    points: list[tuple[float, float]] = []
    tally = Tally()
    with contextlib.closing(EpisodeStore.create_or_open(run.online, bench.schema)) as store:
        loop = make_learner(run, bench.config)
        _catch_up(loop)  # imitate, unless another run of the seed has
        if loop.has_clone and not clone.exists():
            write_atomically(clone, loop.parameters())
        for minutes in _learn(cell, bench, loop, store, tally):
            points.append((minutes, bench.success(alone(loop.parameters()), cell.starts)))
    in_use = bench.success(loop.parameters(), cell.starts)
    return Line(
        task=cell.task,
        style=cell.style,
        rule=cell.rule,
        seed=cell.seed,
        agent=cell.agent,
        settings=cell.settings,
        version=cell.place.version,
        demos=digest_of_files(demos),
        machine=machine(),
        points=tuple(points),
        in_use=in_use,
        starts=cell.starts,
        episodes=tally.episodes,
        takeovers=tally.takeovers,
        by_person=round(tally.by_person / max(tally.steps, 1), 3),
        reflexes=tally.reflexes,
        cpu_s=round(cpu_time() - before, 1),
        wall_s=round(time.monotonic() - began, 1),
    )


def _learn(cell: Cell, bench: Bench, loop: LearnerLoop, store: EpisodeStore, tally: Tally) -> Iterator[float]:
    """Robot minutes at which it is evaluated: before the first step, after every ``cell.every``, and at the end."""
    yield 0.0
    policy, published = Newest(bench.loader(deterministic=False)), loop.version
    policy.take(loop.parameters())
    person = None if cell.style == NOBODY else Supervisor(bench.task, cell.style, cell.seed)
    with bench.rollout(cell.seed, store, person) as rollout:
        while tally.steps < cell.steps:
            directive = rollout.step(policy)
            if directive.step is not None:
                tally.step(directive.step.source)
            if directive.ended is not None:
                tally.end(directive.ended.reason)
            if directive.step is None:
                continue
            _catch_up(loop)
            if loop.version - published >= bench.config.learner.publish_every:
                policy.take(loop.parameters())
                published = loop.version
            if tally.steps % cell.every == 0 or tally.steps == cell.steps:
                yield tally.steps / STEPS_PER_MINUTE


def _catch_up(loop: LearnerLoop) -> None:
    while loop.step():
        pass


def planned(given: argparse.Namespace, place: Place) -> Iterator[Cell]:
    """The runs asked for, seed by seed."""
    for seed, task, style, rule in itertools.product(given.seeds, given.tasks, given.styles, given.rules):
        if style != NOBODY or rule == "plain":  # with nobody there is nothing to differ in but the imitation
            settings = tuple(given.set)
            yield Cell(task, style, rule, seed, given.agent, settings, given.steps, given.every, given.starts, place)


def table(lines: Sequence[Line], task: str) -> Iterator[str]:
    """Markdown: a row for each style and rule, means over the seeds and what each came to."""
    yield (
        f"| `{task}`: person | Rule | Seeds | The clone | What was learnt, at the end | In use | Minutes to "
        f"{BUDGETS[task].aim:.0%} and staying | Robot minutes | Takeovers an episode | Steps by the person |"
    )
    yield "|---" * 10 + "|"
    for style, rule in itertools.product((NOBODY, *STYLES), RULES):
        runs = sorted((one for one in lines if one.key[:3] == (task, style, rule)), key=lambda one: one.seed)
        if not runs:
            continue
        stays = ", ".join("–" if run.stays == float("inf") else f"{run.stays:.1f}" for run in runs)
        cells = [
            ", ".join(str(run.seed) for run in runs),
            _each([run.points[0][1] for run in runs]),
            _each([run.points[-1][1] for run in runs]),
            _each([run.in_use for run in runs]),
            stays,
            f"{runs[0].points[-1][0]:.1f}",
            _each([run.takeovers / max(run.episodes, 1) for run in runs]),
            _each([run.by_person for run in runs]),
        ]
        yield f"| {style} | {rule} | {' | '.join(cells)} |"


def _each(values: Sequence[float]) -> str:
    """The mean, and in brackets each, where there are several."""
    mean = f"{np.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ({', '.join(f'{value:.2f}' for value in values)})"


def read_lines(path: Path) -> list[Line]:
    """The lines in ``path``; none where there is no file."""
    if not path.exists():
        return []
    return [_line(json.loads(text)) for text in path.read_text(encoding="utf-8").splitlines()]


def _line(values: dict[str, Any]) -> Line:
    points = tuple((minutes, rate) for minutes, rate in values.pop("points"))
    return Line(**(values | {"settings": tuple(values["settings"])}), points=points)


def check_versions(lines: Sequence[Line], version: str) -> None:
    """Raises `VersionError` when ``lines`` of other code than ``version``'s would come into one table with it."""
    others = sorted({line.version for line in lines} - {version})
    if others:
        raise VersionError(f"the results are of version {', '.join(others)}, this is {version}; name another --results")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="python -m benchmarks.experiments.people",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK")
    parser.add_argument("--styles", nargs="+", choices=(NOBODY, *STYLES), default=[NOBODY, *STYLES])
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument("--agent", default="flash_sac")
    parser.add_argument("--steps", type=int, default=3000, help="of the robot (default %(default)s)")
    parser.add_argument("--every", type=int, default=500, help="steps between evaluations (default %(default)s)")
    parser.add_argument("--starts", type=int, default=25, help="of an evaluation (default %(default)s)")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help=f"of the learner; seeds from {TUNING}"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "people.jsonl")
    parser.add_argument("--work", type=Path, default=Path("runs/people"), help="demonstrations and runs")
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
        try:
            check_versions(lines, version)
        except VersionError as error:
            sys.stderr.write(f"people: {error}\n")
            return 2
        os.environ.update(ONE_THREAD)
        have = {line.key for line in lines}
        place = Place(given.work.absolute(), version, PERSON)
        with fresh_processes(1) as pool:
            for line in pool.map(make_line, (cell for cell in planned(given, place) if cell.key not in have)):
                with open(given.results, "ab", buffering=0) as file:
                    file.write((json.dumps(dataclasses.asdict(line)) + "\n").encode())
    lines = read_lines(given.results)
    for task in given.tasks:
        sys.stdout.write("\n".join(table(lines, task)) + "\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
