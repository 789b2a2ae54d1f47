"""SmallVLA told apart from a policy that does not read: success by words, known and new, and by wrong ones.

    python -m benchmarks.experiments.vla                          # run the seeds that the results lack, and print
    python -m benchmarks.experiments.vla --tune --seeds 1 --set vla.steps=1000 --results tuning.jsonl
    python -m benchmarks.experiments.vla --draw                   # only print

For each seed: scripts show each of the three tasks of `robot_rl.tasks.named_cube` anew, `robot-rl pretrain --vla`
learns one policy from all, and it is asked for all, by starts that chose nothing. ``known``: the phrasings and colours
of the demonstrations; ``new phrasing`` and ``new colour``: those held out of them, the colour of cube and word both.
The others are controls: with the starts and phrasings of ``known``, the words name another cube, another deed, or there
are none. Success is always what the task's own words ask for, so it must vanish there. A line for each seed, condition
and task.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version as installed
from pathlib import Path

import numpy as np

from benchmarks.experiments.tables.lines import machine, version_of
from benchmarks.experiments.tables.plan import TUNING
from benchmarks.experiments.tables.started import run_job
from controllers.core import ControllerConfig
from controllers.spatial import Pose
from hardware.sim.scene.render import SceneRenderer
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import AgentView
from robot_rl.jobs.job import job_seed
from robot_rl.perception.images import picture_size
from robot_rl.session.config import SessionConfig
from robot_rl.session.in_process import Rollout
from robot_rl.session.session import Session
from robot_rl.tasks.named_cube import ASKED, CUBES, Asked, Drawn, LiftCube, NamedCube, PushCube, TouchCube, asked_of
from robot_rl.tasks.named_cube import pose_of_asked as at

ROOT = Path(__file__).parents[2]
TASKS: dict[str, type[NamedCube]] = {"touch": TouchCube, "push": PushCube, "lift": LiftCube}


def other_cube(kind: str, objects: Mapping[str, Pose]) -> str:
    """The task's words for the next cube."""
    cube, phrasing = asked_of(objects)
    return TASKS[kind]().words({**objects, ASKED: at(Asked((cube + 1) % len(CUBES), phrasing))})


def other_deed(kind: str, objects: Mapping[str, Pose]) -> str:
    """The words of the next task for the same cube."""
    names = list(TASKS)
    return TASKS[names[(names.index(kind) + 1) % len(names)]]().words(objects)


def no_words(kind: str, objects: Mapping[str, Pose]) -> str:
    return ""


CONDITIONS: dict[str, dict[str, Drawn]] = {
    "known": {},
    "new phrasing": {"words": "held_out"},
    "new colour": {"colours": "held_out"},
}
CONTROLS: dict[str, Callable[[str, Mapping[str, Pose]], str]] = {
    "other cube": other_cube,
    "other deed": other_deed,
    "no words": no_words,
}


@dataclasses.dataclass(frozen=True)
class Line:
    """Result of some episodes: ``wrong`` of them ended by a deed that was not asked for."""

    seed: int
    condition: str
    task: str
    demos: int
    episodes: int
    successes: int
    wrong: int
    settings: tuple[str, ...]
    version: str
    machine: str
    train_s: float


def evaluate(policy_file: Path, seed: int, episodes: int) -> Iterator[tuple[str, str, int, int]]:
    """Condition, task, successes and wrong deeds, of so many episodes for each; a third of them for a control."""
    from robot_rl.policies.vla.policy import load_vla

    first = TouchCube()
    views = first.views()
    side = picture_size(views)
    data, sizes = policy_file.read_bytes(), {name: (view.size, view.size) for name, view in views.items()}
    config = first.bound(ControllerConfig())
    with (
        InProcessWorld(first.scene(), config) as world,
        SceneRenderer(first.scene(), side, side, tuple(views)) as renderer,
    ):
        world.start()
        for condition in (*CONDITIONS, *CONTROLS):
            for kind, make in TASKS.items():
                task = make(**CONDITIONS.get(condition, {}))
                if condition in CONTROLS:
                    control = CONTROLS[condition]
                    setattr(task, "words", partial(control, kind))  # noqa: B010
                policy = load_vla(data, AgentView(task), seed, sizes)
                session = Session(task, SessionConfig(), None, job_seed("eval", seed))
                rollout = Rollout(session, world, renderer=renderer)
                count = episodes if condition in CONDITIONS else max(1, episodes // 2)
                endings: list[str] = []
                while len(endings) < count:
                    ended = rollout.step(policy).ended
                    if ended is not None:
                        endings.append(ended.ending.value)
                yield condition, kind, endings.count("success"), endings.count("failure")


def run_seed(seed: int, given: argparse.Namespace) -> None:
    """Show, learn, evaluate, and append the lines of ``seed``."""
    work = given.work.absolute() / f"seed-{seed}"
    names = [f"{make.__module__}:{make.__name__}" for make in TASKS.values()]
    for kind, name in zip(TASKS, names, strict=True):
        run_job("record", ["--fast", "--task", name, "--run", str(work / kind), f"seed={seed}", f"demos={given.demos}"])
    stores = ",".join(str(work / kind / "demos") for kind in TASKS)
    began = time.monotonic()
    run = work / next(iter(TASKS))
    run_job("pretrain", ["--vla", "--run", str(run), f"seed={seed}", f"demo_stores={stores}", *given.set])
    took, version = round(time.monotonic() - began, 1), version_of(ROOT)
    where = f"{machine()}, torch {installed('torch')}"
    for condition, kind, successes, wrong in evaluate(run / "vla.params", seed, given.episodes):
        episodes = given.episodes if condition in CONDITIONS else max(1, given.episodes // 2)
        line = Line(
            seed, condition, kind, given.demos, episodes, successes, wrong, tuple(given.set), version, where, took
        )
        with given.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dataclasses.asdict(line)) + "\n")
        sys.stdout.write(f"seed {seed}, {condition}, {kind}: {successes} of {episodes}, {wrong} wrong\n")
        sys.stdout.flush()


def read(path: Path) -> list[Line]:
    if not path.exists():
        return []
    found = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    return [Line(**{**values, "settings": tuple(values["settings"])}) for values in found]


def table(lines: Sequence[Line]) -> Iterator[str]:
    """Markdown: for each condition and task the mean share of successes, and that of each seed."""
    yield f"| | {' | '.join(TASKS)} |"
    yield "|---" * (1 + len(TASKS)) + "|"
    for condition in (*CONDITIONS, *CONTROLS):
        cells = []
        for kind in TASKS:
            mine = sorted((x for x in lines if (x.condition, x.task) == (condition, kind)), key=lambda x: x.seed)
            shares = [line.successes / line.episodes for line in mine]
            each = ", ".join(f"{share:.2f}" for share in shares)
            cells.append(f"{np.mean(shares):.2f} ({each})" if shares else "–")
        yield f"| {condition} | {' | '.join(cells)} |"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="python -m benchmarks.experiments.vla",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--demos", type=int, default=80, metavar="N", help="of each task (default %(default)s)")
    parser.add_argument("--episodes", type=int, default=8, metavar="N", help="of each case; half of that of controls")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tune", action="store_true", help=f"seeds from {TUNING} on, never those that are reported")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings, with --tune only")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "vla.jsonl")
    parser.add_argument("--work", type=Path, default=Path("runs/vla"), help="demonstrations and policies")
    parser.add_argument("--draw", action="store_true", help="run nothing")
    found = parser.parse_args(arguments)
    if found.set and not found.tune:
        parser.error("--set is for tuning: settings that are reported are defaults; add --tune")
    if found.tune and found.results == parser.get_default("results"):
        parser.error("--tune needs a --results of its own: tuning seeds are no results")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    given = parse(argv)
    known = read(given.results)
    if not given.draw:
        first = TUNING if given.tune else 0
        cases = len(TASKS) * (len(CONDITIONS) + len(CONTROLS))
        for seed in range(first, first + given.seeds):
            had = sum(line.seed == seed for line in known)
            if had == cases:
                continue
            if had:
                sys.stderr.write(f"vla: {given.results} has {had} of {cases} lines of seed {seed}; take them out\n")
                return 2
            run_seed(seed, given)
        known = read(given.results)
    sys.stdout.write("\n".join(table(known)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
