"""Success of imitation alone against the number of demonstrations, for each kind of policy.

    python -m benchmarks.experiments.imitation                       # run what the results lack, and print
    python -m benchmarks.experiments.imitation --tasks peg_search --models flow clone --demos 20 --seeds 1
    python -m benchmarks.experiments.imitation --draw                # only print

``clone`` is what the default agent starts from, ``drawn`` what it can start from, the others are models of the agent
`bc` with its defaults; ``energy`` and ``usual``, its flow that draws 16 chunks and acts by the one most like what
was shown, have to be asked for. Demonstrations are by scripts that drive like people, of public tasks by scripts with a
noise that is held, recorded anew for every seed and number. Each run is a line as those of the tables
(`benchmarks.experiments.tables`): 25 starts, which chose nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.experiments.tables.__main__ import run_missing
from benchmarks.experiments.tables.lines import Line, VersionError, check_versions, read_lines, version_of
from benchmarks.experiments.tables.plan import BUDGETS, TUNING, Cell, Kind, Row, cells
from benchmarks.experiments.tables.runs import Place
from robot_rl.tasks.experts.person import PERSON, STYLES

ROOT = Path(__file__).parents[2]
TASKS = ("peg_search", "gear_mesh")
COUNTS = (5, 10, 20, 50)
MODELS: dict[str, tuple[str, tuple[str, ...]]] = {
    "clone": ("flash_sac", ()),
    "drawn": ("flash_sac", ("settings.clone=drawn",)),
}
MODELS |= {model: ("bc", (f"settings.model={model}",)) for model in ("gaussian", "flow", "diffusion", "energy")}
ASKED = ("energy", "usual")
MODELS["usual"] = ("bc", ("settings.model=flow", "settings.candidates=16"))


def row(model: str, demos: int, more: Sequence[str] = ()) -> Row:
    """The runs of ``model`` with so many demonstrations; ``more``: settings of the learner."""
    agent, settings = MODELS[model]
    name = " ".join((f"{model}, {demos}", *more))
    return Row(name, Kind.CLONE, agent, (*settings, *more), seeds=100, demos=demos, acting=False)


def planned(given: argparse.Namespace) -> Iterator[Cell]:
    """The runs asked for, number of demonstrations by number, each seed by seed."""
    for demos in given.demos:
        rows = [row(model, demos, given.set) for model in given.models]
        yield from cells(given.tasks, rows, TUNING if given.tune else 0, given.seeds)


def table(lines: Sequence[Line], task: str, cases: Sequence[str], counts: Sequence[int]) -> Iterator[str]:
    """Markdown: for each of ``cases``, a model with what was set, and count, mean success and that of each seed."""
    yield f"| `{task}` | {' | '.join(f'{count} demonstrations' for count in counts)} |"
    yield "|---" * (1 + len(counts)) + "|"
    for case in cases:
        model, _, more = case.partition(" ")
        found = []
        for count in counts:
            name = " ".join(filter(None, (f"{model}, {count}", more)))
            runs = sorted((line for line in lines if (line.task, line.row) == (task, name)), key=lambda line: line.seed)
            scores = [run.score(acting=False) for run in runs]
            each = ", ".join(f"{score:.2f}" for score in scores)
            found.append(f"{np.mean(scores):.2f} ({each})" if scores else "–")
        yield f"| {case} | {' | '.join(found)} |"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="python -m benchmarks.experiments.imitation",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", nargs="+", choices=BUDGETS, default=list(TASKS), metavar="TASK")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[name for name in MODELS if name not in ASKED])
    parser.add_argument("--demos", nargs="+", type=int, default=list(COUNTS), metavar="N", help="in this order")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tune", action="store_true", help=f"seeds from {TUNING} on, never those that are reported")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="of the learner, with --tune only")
    parser.add_argument("--style", choices=STYLES, default=PERSON, help="of the demonstrations (default %(default)s)")
    parser.add_argument("--parallel", type=int, default=1, help="runs at a time")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "imitation.jsonl")
    parser.add_argument("--work", type=Path, default=Path("runs/imitation"), help="demonstrations and logs")
    parser.add_argument("--draw", action="store_true", help="run nothing")
    found = parser.parse_args(arguments)
    if found.set and not found.tune:
        parser.error("--set is for tuning: settings that are reported are defaults; add --tune")
    if found.tune and found.results == parser.get_default("results"):
        parser.error("--tune needs a --results of its own: tuning seeds are no results")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    given = parse(argv)
    try:
        known = read_lines(given.results)
        check_versions(known)
        if not given.draw:
            version = version_of(ROOT)
            have = {line.key for line in known}
            missing = [cell for cell in planned(given) if cell.key not in have]
            check_versions([line for line in known if line.task in {cell.task for cell in missing}], version)
            given.work.mkdir(parents=True, exist_ok=True)
            run_missing(missing, Place(given.work.absolute(), version, given.style), given.results, given.parallel)
    except (VersionError, ValueError) as error:
        sys.stderr.write(f"imitation: {error}\n")
        return 2
    lines = read_lines(given.results)
    cases = [" ".join((model, *given.set)) for model in given.models]
    for task in given.tasks:
        sys.stdout.write("\n".join(table(lines, task, cases, given.demos)) + "\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
