"""Experiments that are stories of commands: each command given once, a line of JSON for each run, a table of them all.

A module with such an experiment has a `Story` of its own, which says what its commands are, a dataclass for its lines,
and a `main` of `make_parser` and `run_lacking`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from benchmarks.experiments.tables.started import ONE_THREAD, status_of

ROOT = Path(__file__).parents[2]


class Told(Protocol):
    """A run as a dataclass whose fields JSON has; `key` is its seed and the reward that it learnt by."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    @property
    def key(self) -> tuple[int, str]: ...


Line = TypeVar("Line", bound=Told)


class Story:
    """The runs of one seed, in a folder of ``work``. Each step that has been done is not done again.

    Args:
        experiment: its name, for messages.
        steps: of learning.
    """

    def __init__(self, experiment: str, work: Path, seed: int, steps: int) -> None:
        self._experiment, self._seed, self._steps = experiment, seed, steps
        self._work = work / f"seed-{seed}"
        self._shown = self._work / "shown"

    def _do(
        self, step: str, job: str, run: Path, *settings: str, task: str = "", statuses: Sequence[int] = (0,)
    ) -> None:
        """Give a command of `robot-rl`, unless it has been given; its output is in ``<step>.log``.

        With ``task`` in process, by the story's seed; without, about what the run has. Raises `SystemExit` when it ends
        with a status that is none of ``statuses``.
        """
        done = self._times()
        if step in done:
            return
        self._work.mkdir(parents=True, exist_ok=True)
        of_task = () if not task else ("--fast", "--task", task, "--seed", str(self._seed))
        command = [sys.executable, "-m", "robot_rl", *job.split(), "--run", str(run), *of_task, *settings]
        began = time.monotonic()
        with (self._work / f"{step}.log").open("ab") as log:
            log.write(f"$ robot-rl {' '.join(command[3:])}\n".encode())
            log.flush()
            status = status_of(command, log)
        if status not in statuses:
            raise SystemExit(
                f"{self._experiment}: {job} of seed {self._seed} ended with status {status}; see {log.name}"
            )
        self._wall.write_text(json.dumps(done | {step: round(time.monotonic() - began, 1)}))

    def _seconds(self, step: str) -> float:
        """Wall time [s] of a step that has been done."""
        return self._times()[step]

    def _times(self) -> dict[str, float]:
        found: dict[str, float] = json.loads(self._wall.read_text()) if self._wall.exists() else {}
        return found

    @property
    def _wall(self) -> Path:
        return self._work / "wall.json"


def read_json(path: Path) -> list[dict[str, Any]]:
    """The objects in ``path``, one a line; none where there is no file."""
    return [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def make_parser(experiment: str, doc: str | None, rewards: Sequence[str], steps: int) -> argparse.ArgumentParser:
    """The arguments that all stories have; ``rewards`` and ``steps`` are the defaults."""
    parser = argparse.ArgumentParser(
        description=doc,
        prog=f"python -m benchmarks.experiments.{experiment}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument("--rewards", nargs="+", choices=rewards, default=list(rewards))
    parser.add_argument("--steps", type=int, default=steps, help="to learn for (default %(default)s)")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / f"{experiment}.jsonl")
    parser.add_argument("--work", type=Path, default=Path(f"runs/{experiment}"), help="runs and logs")
    parser.add_argument("--draw", action="store_true", help="run nothing")
    return parser


def run_lacking(
    given: argparse.Namespace,
    tell: Callable[[int, str], Line | None],
    read_lines: Callable[[Path], list[Line]],
    table: Callable[[Sequence[Line]], Iterable[str]],
) -> int:
    """Run what the results lack of the seeds and rewards in ``given``, and print the table; returns the exit status.

    Args:
        tell: goes through the story of a seed with a reward; None: it has gone no further than it was asked to.
        read_lines: lines of a file of results.
        table: lines to print.
    """
    if not given.draw:
        os.environ.update(ONE_THREAD)
        have = {line.key for line in read_lines(given.results)}
        for seed, reward in ((seed, reward) for seed in given.seeds for reward in given.rewards):
            line = None if (seed, reward) in have else tell(seed, reward)
            if line is None:
                continue
            with given.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dataclasses.asdict(line)) + "\n")
    sys.stdout.write("\n".join(table(read_lines(given.results))) + "\n")
    return 0
