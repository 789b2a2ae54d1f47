"""A learner as a process, for tests: it learns what its run's stores have to teach until it is killed."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from robot_rl.jobs.learning import make_learner
from robot_rl.jobs.run import Run
from robot_rl.jobs.training import Trainer
from robot_rl.learner.checkpoint import Checkpoint, load

PATIENCE = 300.0  # [s] before a test gives up waiting; never what it measures


class LearnerProcess:
    """Trains on a run, resuming from its newest checkpoint; can be killed and started again."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._context = multiprocessing.get_context("forkserver")  # the libraries are imported once
        self._context.set_forkserver_preload([__name__])
        self._process: BaseProcess | None = None

    def start(self) -> None:
        self._process = self._context.Process(target=learn, args=(self.run.root,))
        self._process.start()

    def kill(self) -> None:
        """With SIGKILL, while it is alive."""
        assert self._process is not None and self._process.is_alive(), "it ended by itself"
        self.end()

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join(PATIENCE)
            self._process = None

    @property
    def newest(self) -> int:
        """Number of the newest checkpoint; 0 when there is none."""
        return max((int(path.stem) for path in self.run.checkpoints.glob("*.checkpoint")), default=0)

    @property
    def resumed(self) -> list[int]:
        """After how many calls its processes went on."""
        path = self.run.logs / "resumed"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def wait(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not reached():
            assert self._process is not None and self._process.is_alive(), "it ended by itself"
            assert time.monotonic() < deadline, f"after {PATIENCE:g} s it was at checkpoint {self.newest}"
            time.sleep(0.002)

    def checkpoint(self) -> Checkpoint:
        return load(self.run.checkpoints / f"{self.newest:012d}.checkpoint")


def learn(root: Path) -> None:
    run, config = Run.open(root)
    learner = make_learner(run, config)
    trainer = Trainer(run, config, learner, lambda data: None)
    trainer.start()
    with (run.logs / "resumed").open("a") as file:
        file.write(f"{learner.version}\n")
    while True:
        if not trainer.step():
            time.sleep(0.01)
