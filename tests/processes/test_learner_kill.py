"""A learner process killed with SIGKILL at random instants, and resumed, is the learner that was never killed.

First on a store that is complete: what it has learnt in the end must be bit for bit what an undisturbed process learns
from the same store. Then on one that grows meanwhile: whatever the kills do to when its steps arrive, in the end all of
them have, each once, and have earned their updates.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from robot_rl.config import load_config
from robot_rl.contract import Outcome
from robot_rl.data.store import EpisodeStore
from robot_rl.learner.checkpoint import Checkpoint, load
from robot_rl.learner.factory import make_learner
from robot_rl.progress import schema_of
from robot_rl.run import Run
from robot_rl.tasks import make_task
from tests.robot_rl.recording import steps

pytestmark = pytest.mark.timeout(900)
PATIENCE = 300.0  # [s] before the test gives up waiting; never what it measures
START_AFTER, DEMOS, RECORDED, LIVE = 20, 30, 100, 24
CONFIG = load_config(
    None,
    [
        "task=reach",
        f"learner.start_after={START_AFTER}",
        "learner.checkpoint_every=1",
        "learner.publish_every=1",
        "learner.threads=1",
        "learner.batch_size=8",
        "learner.settings.hidden=8,8",
        "learner.settings.critics=2",
    ],
)


class Learner:
    """The learner process of a run, which can be killed and started again."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "robot_rl", "node", "learner", "--run", str(self.run.root), "--job", "train"]
        # Compiled once for all; the threads of compilation would only get in each other's way.
        cache = {"JAX_COMPILATION_CACHE_DIR": str(self.run.root.parent / "jax")}
        cache["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        with (self.run.logs / "learner.log").open("ab") as log:
            self._process = subprocess.Popen(command, env=os.environ | cache, stdout=log, stderr=log)

    def kill(self) -> None:
        assert self._process is not None and self._process.poll() is None, self.log
        self.end()

    def end(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(PATIENCE)
            self._process = None

    @property
    def log(self) -> str:
        return (self.run.logs / "learner.log").read_text()

    @property
    def newest(self) -> int:
        """Number of the newest checkpoint; 0 when there is none."""
        return max((int(path.stem) for path in self.run.checkpoints.glob("*.checkpoint")), default=0)

    def wait(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not reached():
            assert self._process is not None and self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.002)

    def checkpoint(self) -> Checkpoint:
        return load(self.run.checkpoints / f"{self.newest:012d}.checkpoint")


def run_with_stores(root: Path) -> Run:
    """Demonstrations and online episodes, both of them complete."""
    run = Run.create(CONFIG, root)
    record(run.demos, DEMOS, 10)
    record(run.online, RECORDED, 25)
    return run


def record(path: Path, count: int, length: int) -> None:
    schema = schema_of(make_task("reach"), CONFIG)
    with EpisodeStore.create_or_open(path, schema) as store:
        for seed in range(count // length):
            writer = store.begin()
            for step in steps(length, seed, schema=schema):
                writer.append(step)
            writer.finish()


@pytest.fixture
def learners(tmp_path: Path) -> Iterator[tuple[Learner, Learner]]:
    run = run_with_stores(tmp_path / "killed")
    shutil.copytree(run.root, tmp_path / "undisturbed")
    both = Learner(run), Learner(Run(tmp_path / "undisturbed"))
    yield both
    for learner in both:
        learner.end()


def test_a_learner_killed_at_random_instants_is_the_learner_that_was_not(learners: tuple[Learner, Learner]) -> None:
    killed, undisturbed = learners
    rng = random.Random(0)
    calls = RECORDED - START_AFTER  # each step earns four critic updates: one call
    points = sorted(rng.sample(range(2, calls), 3))

    undisturbed.start()
    seen = []
    for point in points:
        killed.start()
        killed.wait(lambda point=point: killed.newest >= point)
        seen.append(killed.newest)
        killed.kill()
    killed.start()
    for learner in (undisturbed, killed):
        learner.wait(lambda learner=learner: learner.newest == calls)
    undisturbed.end()
    ours, theirs = killed.checkpoint(), undisturbed.checkpoint()
    assert ours.meta == theirs.meta  # counters, arrivals, digests of the buffers, random state
    assert ours.leaves.keys() == theirs.leaves.keys()
    for name, leaf in ours.leaves.items():
        assert np.array_equal(leaf, theirs.leaves[name]), name
    assert all(now >= then for now, then in zip(resumed(killed), seen, strict=True)), "nothing checkpointed is lost"

    total = RECORDED
    schema = schema_of(make_task("reach"), CONFIG)
    with EpisodeStore.create_or_open(killed.run.online, schema) as store:
        for part in range(3):
            writer = store.begin()
            for number, step in enumerate(steps(LIVE // 3, 100 + part, Outcome.timeout(), schema)):
                writer.append(step)
                total += 1
                if part < 2 and number == rng.randrange(2, 6):
                    killed.kill()  # in the midst of an episode, and of an update
                    killed.start()
            writer.finish()
            killed.wait(lambda total=total: killed.newest == total - START_AFTER)
    killed.end()
    found = killed.checkpoint()
    assert found.meta["governor"] == {"received": total, "made": 4 * (total - START_AFTER), "forgiven": 0}
    assert np.isfinite(list(found.meta["info"].values())).all()
    assert any(not np.array_equal(leaf, ours.leaves[name]) for name, leaf in found.leaves.items()), "it learns on"
    afresh = make_learner(killed.run, CONFIG)
    afresh.poll()  # demonstrations, then all online steps in their order
    assert found.meta["digests"] == afresh.sources.digests
    assert found.meta["arrivals"] == afresh.sources.arrivals == [["demo", 0, DEMOS], ["online", 0, total]]


def resumed(learner: Learner) -> list[int]:
    """After how many calls each process of the learner went on, the first aside."""
    return [int(part.split()[0]) for part in learner.log.split("going on after ")[1:]]
