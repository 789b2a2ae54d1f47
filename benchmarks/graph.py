"""The full training graph in a folder of its own, for benchmarks: simulator, arm, learner, policy and session."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from robot_rl.jobs.bringup import prepare, specs
from robot_rl.jobs.config import load_config
from robot_rl.jobs.errors import USER_ERRORS
from robot_rl.jobs.fast import run_fast
from robot_rl.jobs.locks import ros_domain
from robot_rl.jobs.run import Run
from robot_rl.jobs.supervisor import JobFailed, Supervisor

DEMOS = 2
START_AFTER = 20  # online steps before the learner begins
LEARNER_PATIENCE = 300.0  # [s] for it to compile and begin


class MeasurementOver(Exception):
    """Raised while supervising, to stop the graph."""


@dataclass(frozen=True)
class Measured:
    """A training job that was stopped: its ``run`` and the critic updates a second that its learner made."""

    run: Run
    updates_per_s: float


class LearnerWatch:
    """Ends the measurement ``seconds`` after the learner first reported updates."""

    def __init__(self, run: Run, seconds: float) -> None:
        self._run, self._seconds = run, seconds
        self._began = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._latest = (0.0, 0)

    def look(self) -> None:
        """Raises `MeasurementOver`, or `JobFailed` when the learner does not get to work."""
        now, updates = time.monotonic(), self._run.status_of("learner").get("updates", 0)
        if updates != self._latest[1]:
            self._latest = (now, updates)
            self._first = self._first or self._latest
        if self._first is not None and now - self._first[0] >= self._seconds:
            raise MeasurementOver
        if self._first is None and now - self._began > LEARNER_PATIENCE:
            raise JobFailed(f"the learner made no update within {LEARNER_PATIENCE:.0f} s")

    @property
    def updates_per_s(self) -> float:
        if self._first is None or self._latest[0] <= self._first[0]:
            return 0.0
        return (self._latest[1] - self._first[1]) / (self._latest[0] - self._first[0])


def loopback_address() -> str:
    """An address of this process alone, so that graphs of neighbours do not meet."""
    process = os.getpid()
    return f"127.{process >> 16 & 63 | 64}.{process >> 8 & 255}.{process & 255 or 1}"


@contextlib.contextmanager
def trained_graph(task: str, seconds: float) -> Iterator[Measured]:
    """Train ``task`` with every process running, for ``seconds`` with the learner at work.

    The run is removed afterwards.

    Raises:
        RuntimeError, ValueError: one of `robot_rl.jobs.errors.USER_ERRORS`. No process is left running.
    """
    settings = [f"task={task}", "steps=1000000", f"demos={DEMOS}", f"robot_ip={loopback_address()}"]
    config = load_config(None, [*settings, f"learner.start_after={START_AFTER}"])
    with tempfile.TemporaryDirectory(prefix="robot-rl-benchmark-") as folder:
        run = prepare("record", config, Path(folder))
        run_fast("record", run, config, lambda: None)
        run = prepare("train", config, run.root)
        watch = LearnerWatch(run, seconds)
        with contextlib.suppress(MeasurementOver), ros_domain(config) as domain:
            supervisor = Supervisor(run, "train", specs("train", run, config), domain.number, domain.descriptors)
            supervisor.run(watch.look)
        yield Measured(run, round(watch.updates_per_s, 1))


@contextlib.contextmanager
def errors_to_exit() -> Iterator[None]:
    """One line and exit status 2 for what the user can put right, 130 after Ctrl-C."""
    try:
        yield
    except USER_ERRORS as error:
        sys.stderr.write(f"benchmark: {error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def device() -> str:
    """Processor and number of cores."""
    with contextlib.suppress(OSError):
        if found := re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return f"{found[1]}, {os.cpu_count()} cores"
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
