"""Everything that docs/RESULTS.md says about learning, by one command.

    python -m benchmarks.experiments.tables                     # run what the results lack, print and draw
    python -m benchmarks.experiments.tables --list              # only say what that would be
    python -m benchmarks.experiments.tables --draw              # only print and draw
    python -m benchmarks.experiments.tables --tasks gear_mesh --rows script imitation --seeds 2
    python -m benchmarks.experiments.tables --tune --rows rlpd --set settings.lr=1e-3 --results runs/tuning.jsonl
    python -m benchmarks.experiments.tables --outside 'their RLPD=python rlpd.py {env} {seed} {steps} {demos} {lines}'

Each run is a line in the results file (`benchmarks.experiments.tables.lines`); one that dies is a line, too. Whoever
interrupts it loses the runs under way, and goes on with the same command. Lines of a task are of one version, or are
refused: commit the code first. Demonstrations are recorded anew for every seed and version, by scripts that drive like
people.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import sys
import time
from collections.abc import Sequence
from concurrent.futures import as_completed
from pathlib import Path

from benchmarks.experiments.tables.drawing import draw, report
from benchmarks.experiments.tables.lines import (
    Line,
    VersionError,
    append_line,
    check_versions,
    read_lines,
    version_of,
)
from benchmarks.experiments.tables.plan import BUDGETS, OWN, ROWS, TUNING, Cell, Kind, Row, cells, row_named
from benchmarks.experiments.tables.runs import Place, make_line
from benchmarks.experiments.tables.started import ONE_THREAD, fresh_processes
from robot_rl.tasks.experts.person import PERSON, STYLES

ROOT = Path(__file__).parents[3]
TASKS = (
    f"default: ours; with the extra 'public' installed also {', '.join(task for task in BUDGETS if task not in OWN)}"
)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="python -m benchmarks.experiments.tables",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", nargs="+", choices=BUDGETS, default=list(OWN), metavar="TASK", help=TASKS)
    parser.add_argument("--rows", nargs="+", metavar="ROW", help=f"default: all: {', '.join(row.name for row in ROWS)}")
    parser.add_argument("--seeds", type=int, default=0, help="so many at most (default: as many as each row wants)")
    parser.add_argument("--outside", nargs="+", default=[], metavar="NAME=COMMAND", help="rows of other programs")
    parser.add_argument("--tune", action="store_true", help=f"seeds from {TUNING} on, never those that are reported")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="of the learner, with --tune only")
    parser.add_argument("--style", choices=STYLES, default=PERSON, help="of the demonstrations (default %(default)s)")
    parser.add_argument(
        "--parallel", type=int, default=os.cpu_count() or 1, help="runs at a time (default: a core each)"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "learning.jsonl")
    parser.add_argument("--work", type=Path, default=Path("runs/tables"), help="demonstrations and logs")
    parser.add_argument("--draw", action="store_true", help="run nothing")
    parser.add_argument("--list", action="store_true", help="run nothing, and say what is lacking")
    found = parser.parse_args(arguments)
    if found.set and not found.tune:
        parser.error("--set is for tuning: settings that are reported are written into the plan; add --tune")
    if found.tune and found.results == parser.get_default("results"):
        parser.error("--tune needs a --results of its own: tuning seeds are no results")
    return found


def rows_asked_for(arguments: argparse.Namespace) -> list[Row]:
    """The rows of the command line. Raises ValueError for one that is not there, or no command."""
    outside = []
    for text in arguments.outside:
        name, equals, command = text.partition("=")
        if not (name and equals and command.strip()):
            raise ValueError(f"--outside {text!r} is no NAME=COMMAND")
        outside.append(Row(name, Kind.OUTSIDE, command=tuple(shlex.split(command))))
    known = (*ROWS, *outside)
    rows = [row_named(name, known) for name in arguments.rows] if arguments.rows else list(known)
    rows += [row for row in outside if row not in rows]
    if arguments.set:
        more = tuple(arguments.set)
        rows = [
            dataclasses.replace(row, name=" ".join((row.name, *more)), settings=(*row.settings, *more))
            for row in rows
            if row.kind is Kind.AGENT
        ]
    return rows


def run_missing(missing: Sequence[Cell], place: Place, results: Path, parallel: int) -> None:
    """Make and append the lines of ``missing``, and tell how far that is."""
    os.environ.update(ONE_THREAD)
    began = time.monotonic()
    with fresh_processes(parallel) as pool:
        runs = {pool.submit(make_line, cell, place): cell for cell in missing}
        for done, run in enumerate(as_completed(runs), start=1):
            line = run.result()
            append_line(results, line)
            elapsed = time.monotonic() - began
            left = (len(missing) - done) * elapsed / done
            _tell(f"[{done}/{len(missing)}] {summary(line)}; {_clock(elapsed)} so far, about {_clock(left)} left")


def summary(line: Line) -> str:
    """A line in words."""
    rate = f"{line.points[-1].mean:.0%}" if line.points else "–"
    return f"{line.task}, {line.row}, seed {line.seed}: {rate}, {line.ended.partition(':')[0]} in {line.wall_s:.0f} s"


def _clock(seconds: float) -> str:
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    try:
        rows = rows_asked_for(arguments)
        known = read_lines(arguments.results)
        check_versions(known)
        if not arguments.draw:
            version = version_of(ROOT)
            wanted = list(cells(arguments.tasks, rows, TUNING if arguments.tune else 0, arguments.seeds))
            have = {line.key for line in known}
            missing = [cell for cell in wanted if cell.key not in have]
            if missing:
                tasks = {cell.task for cell in missing}
                check_versions([line for line in known if line.task in tasks], version)
            _tell(f"{len(missing)} of {len(wanted)} runs are lacking, version {version}")
            if arguments.list:
                _tell("\n".join(f"{cell.task}, {cell.row.name}, seed {cell.seed}" for cell in missing))
                return 0
            arguments.work.mkdir(parents=True, exist_ok=True)
            arguments.results.parent.mkdir(parents=True, exist_ok=True)
            place = Place(arguments.work.absolute(), version, arguments.style)
            run_missing(missing, place, arguments.results, arguments.parallel)
    except (VersionError, ValueError) as error:
        sys.stderr.write(f"tables: {error}\n")
        return 2
    lines = read_lines(arguments.results)
    if lines:
        draw(lines, arguments.results.with_suffix(".png"))
        _tell("\n".join(report(lines)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
