"""Two imitated policies as one: success of each alone, of both together by weight, and of one that had all they had.

    python -m benchmarks.experiments.composing                       # run what the results lack, and print
    python -m benchmarks.experiments.composing --tasks peg_search --models flow diffusion --seeds 0
    python -m benchmarks.experiments.composing --draw                # only print

Of 20 demonstrations by a script that drives like a person, each policy imitates ten of its own; ``all`` is of the first
one's kind and imitates both tens. Then ``policy=composed:FILE`` acts by weights of the second policy from 0 to 1, and
``all`` acts, from the same 25 starts, which chose nothing. Nothing is learnt meanwhile, and no weight is chosen here.

Each seed is a line of JSON:

task, models, seed        what ran
version, demos, machine   as in `benchmarks.experiments.tables.lines`
rates                     success by the second policy's weight
all                       success of the one that imitated everything
cpu_s, wall_s             of the whole line, demonstrations not included
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.experiments.tables.lines import VersionError, check_versions, digest_of_files, machine, version_of
from benchmarks.experiments.tables.plan import BUDGETS, EPISODES, OWN
from benchmarks.experiments.tables.runs import EVALUATION, Place, demonstrations
from benchmarks.experiments.tables.started import ONE_THREAD, cpu_time, run_job
from robot_rl.tasks.experts.person import PERSON

ROOT = Path(__file__).parents[2]
HALF = 10  # demonstrations of each policy
OTHER = 50  # added to the seed of the second one's demonstrations
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
MODELS = ("flow", "diffusion")


@dataclass(frozen=True)
class Line:
    """One seed; see the module for its fields."""

    task: str
    models: tuple[str, ...]
    seed: int
    version: str
    demos: tuple[str, ...]
    machine: str
    rates: dict[str, float]
    all: float
    cpu_s: float
    wall_s: float

    @property
    def key(self) -> tuple[str, tuple[str, ...], int]:
        return self.task, self.models, self.seed


def run(task: str, models: tuple[str, ...], seed: int, place: Place) -> Line:
    """The line of one seed. Raises `subprocess.CalledProcessError` when a command of it fails."""
    stores = [demonstrations(task, seed + more, place, HALF) for more in (0, OTHER)]
    began, before = time.monotonic(), cpu_time()
    folder = place.work / place.version / f"{task}-{'-'.join(models)}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    given = ((models[0], stores[:1]), (models[1], stores[1:]), (models[0], stores))
    first, second, everything = (
        _pretrained(folder / str(number), task, seed, model, used) for number, (model, used) in enumerate(given)
    )
    rates = {}
    for weight in WEIGHTS:
        file = folder / f"{weight}.yaml"
        shares = ((first, 1.0 - weight), (second, weight))
        lines = [f"  - {{file: {path}, weight: {share}}}" for path, share in shares]
        file.write_text("\n".join(["policies:", *lines, ""]))
        rates[str(weight)] = _success(folder, task, seed, f"composed:{file}")
    return Line(
        task=task,
        models=models,
        seed=seed,
        version=place.version,
        demos=tuple(digest_of_files(store) for store in stores),
        machine=machine(),
        rates=rates,
        all=_success(folder, task, seed, str(everything)),
        cpu_s=round(cpu_time() - before, 1),
        wall_s=round(time.monotonic() - began, 1),
    )


def _pretrained(folder: Path, task: str, seed: int, model: str, stores: Sequence[Path]) -> Path:
    """The parameters of a policy that imitated ``stores``."""
    settings = [f"demo_stores={','.join(map(str, stores))}", "learner.agent=bc", f"learner.settings.model={model}"]
    arguments = ["--run", str(folder), "--task", task, "--seed", str(seed), *settings]
    run_job("pretrain", arguments, folder.with_suffix(".log"))
    return folder / "clone.params"


def _success(folder: Path, task: str, seed: int, policy: str) -> float:
    """Success of ``policy``, from starts that are the same for all of this seed."""
    run = folder / f"eval-{Path(policy).stem if policy.startswith('composed') else 'all'}"
    arguments = ["--fast", "--run", str(run), "--task", task, "--seed", str(seed + EVALUATION)]
    run_job("eval", [*arguments, f"episodes={EPISODES}", f"policy={policy}"], run.with_name(f"{run.name}.log"))
    rate: float = json.loads((run / "summary.json").read_text())["success_rate"]
    return rate


def read(path: Path) -> list[Line]:
    """The lines in ``path``; none where there is no file."""
    texts = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    values = [json.loads(text) for text in texts]
    return [Line(**(one | {"models": tuple(one["models"]), "demos": tuple(one["demos"])})) for one in values]


def table(lines: Sequence[Line]) -> Iterator[str]:
    """Markdown: a row for each task and pair, with the mean over seeds and each of them."""
    yield f"| Task | Policies | {' | '.join(f'w = {weight}' for weight in WEIGHTS)} | one of all 20 |"
    yield "|---" * (3 + len(WEIGHTS)) + "|"
    for task, models in dict.fromkeys((line.task, line.models) for line in lines):
        runs = sorted((line for line in lines if line.key[:2] == (task, models)), key=lambda line: line.seed)
        columns = [[one.rates[str(weight)] for one in runs] for weight in WEIGHTS] + [[one.all for one in runs]]
        cells = [f"{np.mean(each):.2f} ({', '.join(f'{rate:.2f}' for rate in each)})" for each in columns]
        yield f"| `{task}` | {', '.join(models)} | {' | '.join(cells)} |"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="python -m benchmarks.experiments.composing",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own = [task for task in OWN if not BUDGETS[task].encoder]
    parser.add_argument("--tasks", nargs="+", choices=own, default=["peg_search"], metavar="TASK")
    parser.add_argument("--models", nargs=2, choices=MODELS, default=["flow", "flow"], help="of either policy")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "composing.jsonl")
    parser.add_argument("--work", type=Path, default=Path("runs/composing"), help="demonstrations, policies and logs")
    parser.add_argument("--draw", action="store_true", help="run nothing")
    given = parser.parse_args(argv)
    try:
        known = read(given.results)
        check_versions(known)
        if not given.draw:
            os.environ.update(ONE_THREAD)
            place = Place(given.work.absolute(), version_of(ROOT), PERSON)
            missing = [
                (task, tuple(given.models), seed)
                for task in given.tasks
                for seed in given.seeds
                if (task, tuple(given.models), seed) not in {line.key for line in known}
            ]
            check_versions([line for line in known if line.task in {task for task, *_ in missing}], place.version)
            for number, (task, models, seed) in enumerate(missing, start=1):
                line = run(task, models, seed, place)
                with given.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(dataclasses.asdict(line)) + "\n")
                sys.stdout.write(f"[{number}/{len(missing)}] {task}, seed {seed}: {line.rates}, all {line.all}\n")
                sys.stdout.flush()
    except (VersionError, ValueError) as error:
        sys.stderr.write(f"composing: {error}\n")
        return 2
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"composing: {' '.join(map(str, error.cmd[3:]))} failed; see the log beside its run\n")
        return 1
    sys.stdout.write("\n".join(table(read(given.results))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
