"""A lab's own task from pictures and force, judged by a classifier: the story of docs/OWN_TASK.md, for several seeds.

    python -m benchmarks.experiments.own_task                 # run what the results lack, and print the table
    python -m benchmarks.experiments.own_task --seeds 0 --rewards classifier
    python -m benchmarks.experiments.own_task --draw          # only print

The task is examples/hole.yaml. Where a person would look, drive and say success, the program `Known` does, which knows
where the hole is; training by a classifier is not told of it. All is done by the commands that the page shows, in
process, and by seed:

1. 20 demonstrations and 40 episodes to make a classifier of, by a script that drives like a person;
2. ``reward train`` and ``reward eval``;
3. training by the classifier's word, and beside it the same by the truth;
4. 50 fresh starts of the clone, and of what was learnt from there, judged by the truth.

Each run is a line of JSON. The truth is that the peg is 15 mm deep, measured on the simulated arm.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.experiments.story import ROOT, Story, make_parser, read_json, run_lacking
from benchmarks.experiments.tables.lines import digest, machine, version_of
from hardware.interfaces import TeleopCommand
from robot_rl.contract import Ending, Outcome, Reading
from robot_rl.data.columns import columns_to_readings
from robot_rl.data.store import StoreReader
from robot_rl.rewards.saved import Saved
from robot_rl.tasks.experts.peg_insertion import align_then_insert
from robot_rl.tasks.file import FileTask
from robot_rl.tasks.keys import read_file
from robot_rl.tasks.peg_insertion import PegInsertion

NAME = "own_task"
FILE = ROOT / "examples" / "hole.yaml"
KNOWN = "benchmarks.experiments.own_task:Known"
CLASSIFIER, TRUTH = REWARDS = ("classifier", "truth")
SEEING = ("encoder=efficientnet_lite0",)
UNTIL = ("shown", "reward", "train")
DEMOS, EPISODES, STEPS, STARTS = 20, 40, 1200, 50


class Known(FileTask):
    """The task of the file as who sees everything knows it: a script that can do it, and whether it is done."""

    def __init__(self) -> None:
        super().__init__(read_file(FILE), FILE.parent)
        self.judge = "task"
        self._insertion = PegInsertion()

    @property
    def has_expert(self) -> bool:
        return True

    def outcome(self, reading: Reading) -> Outcome:
        return self._insertion.outcome(reading)

    def expert(self, reading: Reading) -> TeleopCommand:
        return align_then_insert(reading, self._insertion.nominal, self.control_period)


@dataclass(frozen=True)
class Line:
    """A run.

    Attributes:
        reward: whose word it learnt by, of `REWARDS`.
        version: commit that last changed the code.
        success, clone: shares of the starts, by the truth: at the end, and of what imitated the demonstrations.
        robot_minutes: of learning, without resets.
        episodes: of learning, and of these
        agreed: in which word and truth were the same,
        false: that were called a success while the peg was less than 15 mm deep when they ended,
        missed: in which it was, and nobody said so.
        depths: of the peg [mm] where it was less.
        failure_hours: robot time [h] of the episodes before the truth was reached.
        threshold, promise: of the classifier; none for the truth.
        machine: processor, number of cores, packages.
        wall_s: of learning.
    """

    seed: int
    reward: str
    version: str
    success: float
    clone: float
    robot_minutes: float
    episodes: int
    agreed: int
    false: int
    missed: int
    depths: tuple[float, ...]
    failure_hours: float
    threshold: float | None
    promise: str
    machine: str
    wall_s: float

    @property
    def key(self) -> tuple[int, str]:
        return self.seed, self.reward

    @property
    def false_per_hour(self) -> float:
        """False successes by hour of failure time."""
        return self.false / self.failure_hours


class OwnTask(Story):
    """The runs of one seed."""

    def __init__(self, work: Path, seed: int, steps: int) -> None:
        super().__init__(NAME, work, seed, steps)
        self._classifier = self._shown / "classifier"

    def show(self) -> None:
        """Demonstrations, and episodes for the classifier."""
        person = ("demo_style=person", *SEEING)
        self._do("record", "record", self._shown, f"demos={DEMOS}", *person, task=KNOWN)
        self._do("collect", "reward collect", self._shown, f"episodes={EPISODES}", *person, task=KNOWN)

    def learn_reward(self) -> None:
        """The classifier, its threshold and its report."""
        self._do("reward-train", "reward train", self._shown)
        self._do("reward-eval", "reward eval", self._shown, statuses=(0, 1))  # 1: too few failures for a promise

    def train(self, reward: str) -> None:
        """Learn by ``reward``."""
        judge = f"classifier:{self._classifier}" if reward == CLASSIFIER else "task"
        task = str(FILE) if reward == CLASSIFIER else KNOWN
        demos = f"demo_stores={self._shown / 'demos'}"
        self._do(f"train-{reward}", "train", self._work / reward, f"judge={judge}", demos, *SEEING,
                 f"steps={self._steps}", task=task)  # fmt: skip

    def judge(self, reward: str, *names: str) -> float:
        """Success, by the truth, of the first of these parameters that ``reward`` has left; of the same ones once."""
        files = [self._work / reward / f"{name}.params" for name in names]
        file = next(file for file in files if file.exists())
        name = f"eval-{digest(file.read_bytes())}"
        self._do(name, "eval", self._work / name, f"policy={file}", f"episodes={STARTS}", *SEEING, task=KNOWN)
        episodes = StoreReader(self._work / name / "evaluation", images=False).episodes()
        return float(np.mean([one.ending is Ending.SUCCESS for one in episodes]))

    def line(self, reward: str) -> Line:
        """The whole story with ``reward``."""
        self.show()
        if reward == CLASSIFIER:
            self.learn_reward()
        self.train(reward)
        clone, success = self.judge(reward, "clone"), self.judge(reward, "champion", "policy")
        saved = Saved.read(self._classifier) if reward == CLASSIFIER else None
        learnt = list(compared(self._work / reward / "online"))
        return Line(
            seed=self._seed,
            reward=reward,
            version=version_of(ROOT),
            success=success,
            clone=clone,
            robot_minutes=round(sum(one.seconds for one in learnt) / 60.0, 2),
            episodes=len(learnt),
            agreed=sum(one.said == one.true for one in learnt),
            false=sum(one.said and not one.true for one in learnt),
            missed=sum(one.true and not one.said for one in learnt),
            depths=tuple(one.depth for one in learnt if one.said and not one.true),
            failure_hours=round(sum(one.failing for one in learnt) / 3600.0, 4),
            threshold=saved.thresholds.success if saved is not None and saved.thresholds is not None else None,
            promise=saved.promise if saved is not None else "",
            machine=machine(),
            wall_s=self._seconds(f"train-{reward}"),
        )


@dataclass(frozen=True)
class Compared:
    """An episode as it was called, and as it was: whether it succeeded, `depth` [mm] at its end, robot time [s]."""

    said: bool
    true: bool
    depth: float
    seconds: float
    failing: float


def compared(store: Path) -> Iterator[Compared]:
    """Episodes that somebody has judged, beside the truth."""
    truth = Known()
    reader = StoreReader(store, images=False)
    for info in reader.episodes():
        if info.ending is Ending.ABORTED:
            continue
        readings = list(columns_to_readings(reader.load_episode(info.index).columns))
        inside = [truth.outcome(reading).ending is Ending.SUCCESS for reading in readings]
        true = any(inside)
        failing = inside.index(True) if true else len(readings) - 1
        depth = 1000.0 * float(PegInsertion.nominal.translation[2] - readings[-1].pose.translation[2])
        period = truth.control_period
        yield Compared(info.success, true, round(depth, 1), info.steps * period, failing * period)


def table(lines: Sequence[Line]) -> Iterator[str]:
    """Markdown, a row for each run."""
    yield (
        "| Seed | Reward | Clone | At the end | Robot minutes | Episodes | Agreed | False, an hour of failure | Missed "
        "| Wall time [s] |"
    )
    yield "|---" * 10 + "|"
    for line in sorted(lines, key=lambda one: (REWARDS.index(one.reward), one.seed)):
        yield (
            f"| {line.seed} | {line.reward} | {line.clone:.2f} | {line.success:.2f} | {line.robot_minutes:.1f} | "
            f"{line.episodes} | {line.agreed / line.episodes:.1%} | {line.false}, {line.false_per_hour:.1f} | "
            f"{line.missed} | {line.wall_s:.0f} |"
        )


def read_lines(path: Path) -> list[Line]:
    """The lines in ``path``; none where there is no file."""
    return [Line(**(value | {"depths": tuple(value["depths"])})) for value in read_json(path)]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(NAME, __doc__, REWARDS, STEPS)
    parser.add_argument("--until", choices=UNTIL, help="go no further; the same command goes on")
    return parser.parse_args(arguments)


def main(argv: Sequence[str] | None = None) -> int:
    given = parse(argv)

    def tell(seed: int, reward: str) -> Line | None:
        story = OwnTask(given.work.absolute(), seed, given.steps)
        if not given.until:
            return story.line(reward)
        stages: list[Callable[[], None]] = [story.show, story.learn_reward, partial(story.train, reward)]
        for stage in stages[: UNTIL.index(given.until) + 1]:
            stage()
        return None

    return run_lacking(given, tell, read_lines, table)


if __name__ == "__main__":
    sys.exit(main())
