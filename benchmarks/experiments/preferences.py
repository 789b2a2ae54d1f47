"""A force that nobody names but by preference: `wipe_line` with and without a person's preferences, for several seeds.

    python -m benchmarks.experiments.preferences              # run what the results lack, and print the table
    python -m benchmarks.experiments.preferences --seeds 0
    python -m benchmarks.experiments.preferences --draw       # only print

The task asks for contact along a line, with any force. The script presses with 3 to 20 N, another force in each
demonstration. In the place of a person the function `prefers` says which of two snippets it likes better: the one whose
force is nearer to 8 N. All is done by the commands that docs/YOUR_REWARD.md shows, in process, and by seed:

1. 20 demonstrations;
2. ``reward prefer`` with 60 answers about pairs of their snippets, and ``reward rank``;
3. training by the task's reward alone, and with the preference added;
4. 20 fresh starts of the clone, with which both begin, and of what each came to: success, and the force in contact.

Both are trained with the default agent and ``learner.settings.edit_cost=0.05``, a tenth of the default: a step earns
little by the preference beside a success, and an edit of the clone as large as it takes would cost more.
Each run is a line of JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.experiments.story import ROOT, Story, make_parser, read_json, run_lacking
from benchmarks.experiments.tables.lines import digest, machine, version_of
from robot_rl.contract import Ending
from robot_rl.data.columns import columns_to_readings
from robot_rl.data.store import StoreReader
from robot_rl.rewards.answers import EQUAL, FIRST, SECOND, Snippet
from robot_rl.rewards.preferred import Card
from robot_rl.tasks.wipe_line import IN_CONTACT, LANDING, LINE_Y, SURFACE, pad, pressing

NAME = "preferences"
TASK = "wipe_line"
PREFERRED = 8.0  # [N]
SAME = 0.5  # [N] by which one snippet has to be nearer to be preferred
DEMOS, ANSWERS, STEPS, STARTS = 20, 60, 1200, 20
WEIGHT, EDIT_COST = 0.9, 0.05
TASK_ALONE, WITH_PREFERENCE = REWARDS = ("task", "preference")
BY = "benchmarks.experiments.preferences:prefers"


def prefers(first: Snippet, second: Snippet) -> int:
    """The scripted person: the snippet whose force is nearer to `PREFERRED`, step by step, is the better one."""
    off = [np.mean([abs(pressing(reading) - PREFERRED) for reading in one.readings]) for one in (first, second)]
    if abs(off[0] - off[1]) < SAME:
        return EQUAL
    return FIRST if off[0] < off[1] else SECOND


class Measured(NamedTuple):
    """A policy's episodes: share that succeeded, mean force along the line [N], its mean distance from `PREFERRED`."""

    success: float
    force: float
    off: float


@dataclass(frozen=True)
class Line:
    """A run.

    Attributes:
        reward: that it learnt by, of `REWARDS`.
        version: commit that last changed the code.
        agreement: of the preference with the judging pairs, which it was not learnt from.
        steps: of learning.
        demos, clone, learnt: success, force and its distance from what is preferred, as in `Measured`: of the
            demonstrations, of what imitated them, at the end.
        machine: processor, number of cores, packages.
        wall_s: of learning.
    """

    seed: int
    reward: str
    version: str
    agreement: float | None
    steps: int
    demos: Measured
    clone: Measured
    learnt: Measured
    machine: str
    wall_s: float

    @property
    def key(self) -> tuple[int, str]:
        return self.seed, self.reward


class Preferring(Story):
    """The runs of one seed."""

    def __init__(self, work: Path, seed: int, steps: int) -> None:
        super().__init__(NAME, work, seed, steps)
        self._preference = self._shown / "preference"

    def line(self, reward: str) -> Line:
        """The whole story with ``reward``."""
        self._do("record", "record", self._shown, f"demos={DEMOS}", task=TASK)
        self._do("prefer", "reward prefer", self._shown, f"by={BY}", f"answers={ANSWERS}")
        self._do("rank", "reward rank", self._shown)
        run, name = self._work / reward, f"train-{reward}"
        added = (f"preference={self._preference}", f"preference_weight={WEIGHT}") if reward == WITH_PREFERENCE else ()
        learning = (f"learner.settings.edit_cost={EDIT_COST}", f"steps={self._steps}")
        demos = f"demo_stores={self._shown / 'demos'}"
        self._do(name, "train", run, demos, *learning, *added, task=TASK)
        return Line(
            seed=self._seed,
            reward=reward,
            version=version_of(ROOT),
            agreement=Card.read(self._preference).agreement,
            steps=self._steps,
            demos=measured(self._shown / "demos"),
            clone=self._judged(run / "clone.params"),
            learnt=self._judged(run / "policy.params"),
            machine=machine(),
            wall_s=self._seconds(name),
        )

    def _judged(self, file: Path) -> Measured:
        """The policy of these parameters from fresh starts; of the same ones once."""
        name = f"eval-{digest(file.read_bytes())}"
        self._do(name, "eval", self._work / name, f"policy={file}", f"episodes={STARTS}", task=TASK)
        return measured(self._work / name / "evaluation")


def measured(store: Path) -> Measured:
    """The episodes in ``store``; the force is that of the readings in contact along the line, all together."""
    reader = StoreReader(store, images=False)
    infos = [info for info in reader.episodes() if info.ending is not Ending.ABORTED]
    forces = [
        pressing(reading)
        for info in infos
        for reading in columns_to_readings(reader.load_episode(info.index).columns)
        if pad(reading.pose)[2] - SURFACE < IN_CONTACT and pad(reading.pose)[1] > LINE_Y[0] + LANDING
    ]
    success = float(np.mean([info.success for info in infos]))
    off = float(np.mean([abs(force - PREFERRED) for force in forces]))
    return Measured(round(success, 3), round(float(np.mean(forces)), 2), round(off, 2))


def table(lines: Sequence[Line]) -> Iterator[str]:
    """Markdown, a row for each run."""
    yield (
        "| Seed | Reward | Agreement | Demonstrations: success, force [N], off 8 N by | The clone | At the end | Steps "
        "| Wall time [s] |"
    )
    yield "|---" * 8 + "|"
    for line in sorted(lines, key=lambda one: (REWARDS.index(one.reward), one.seed)):
        cells = [f"{one.success:.2f}, {one.force:.1f}, {one.off:.1f}" for one in (line.demos, line.clone, line.learnt)]
        agreement = "–" if line.agreement is None else f"{line.agreement:.2f}"
        yield (
            f"| {line.seed} | {line.reward} | {agreement} | {' | '.join(cells)} | {line.steps} | {line.wall_s:.0f} |"
        )


def read_lines(path: Path) -> list[Line]:
    """The lines in ``path``; none where there is no file."""
    kinds = ("demos", "clone", "learnt")
    return [Line(**(value | {kind: Measured(*value[kind]) for kind in kinds})) for value in read_json(path)]


def main(argv: Sequence[str] | None = None) -> int:
    given = make_parser(NAME, __doc__, REWARDS, STEPS).parse_args(argv)
    return run_lacking(
        given,
        lambda seed, reward: Preferring(given.work.absolute(), seed, given.steps).line(reward),
        read_lines,
        table,
    )


if __name__ == "__main__":
    sys.exit(main())
