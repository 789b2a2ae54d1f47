"""Starts the processes of a job, watches them, and stops them in order; nothing is left running."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from robot_rl.jobs.bringup import NodeSpec
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.job import job_of
from robot_rl.jobs.logs import Follower
from robot_rl.jobs.run import Run

LOGGER = logging.getLogger(__name__)
POLL = 0.2  # [s]
RESTARTS = 5  # of one process, before the job is given up
# [s] to end by itself after SIGTERM: the learner writes a checkpoint, the arm may be in the middle of connecting.
PATIENCE = {"learner": 60.0, "arm": 30.0}
DEFAULT_PATIENCE = 20.0
LAST = ("session", "teach")  # the job is done when one of them has ended well


class JobFailed(RuntimeError):
    """A process that the job needs ended with an error; the message is the last line it wrote."""


@dataclass(eq=False)
class _Child:
    spec: NodeSpec
    process: subprocess.Popen[bytes]
    log: Path
    follower: Follower
    restarts: int = 0


class Supervisor:
    """Runs the processes of a job.

    Args:
        run: its folder; output of each process goes to ``logs/<job>-<name>.log``, its warnings to stderr as well.
        nodes: what to start, in this order.
        domain: ROS domain of the graph, so that neighbours do not hear it.
    """

    def __init__(self, run: Run, job: str, nodes: list[NodeSpec], domain: int) -> None:
        self._run, self._job, self._nodes = run, job, nodes
        self._environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST"),
            "PYTHONUNBUFFERED": "1",
        }
        self._children: list[_Child] = []

    def run(self, each: Callable[[], None]) -> None:
        """Start everything, call ``each`` five times a second, return when the session has ended well.

        Raises:
            JobFailed: a required process ended with an error, or another one crashed too often.
        """
        with _terminate_as_interrupt():
            try:
                for spec in self._nodes:
                    self._children.append(self._start(spec))
                while not self._session_ended():
                    self._relay()
                    each()
                    time.sleep(POLL)
                each()
            finally:
                self._stop_all()
                self._relay()

    def _start(self, spec: NodeSpec) -> _Child:
        path = self._run.logs / f"{self._job}-{spec.name}.log"
        follower = Follower(path)
        rules = [f"__ns:=/{spec.namespace.strip('/')}"] if spec.namespace else []
        rules += [f"{name}:={topic}" for name, topic in spec.remappings]
        remapped = ["--ros-args", *(word for rule in rules for word in ("-r", rule))] if rules else []
        with path.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "robot_rl", *spec.arguments, *remapped],
                stdin=None if spec.terminal else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=not spec.terminal,
            )
        return _Child(spec, process, path, follower)

    def _relay(self) -> None:
        """Tell the person what the processes warn of."""
        for child in self._children:
            for message in child.follower.warnings():
                sys.stderr.write(f"{child.spec.name}: {message}\n")

    def _session_ended(self) -> bool:
        for child in self._children:
            status = child.process.poll()
            if status is None:
                continue
            name = child.spec.name
            if name in LAST and status == 0:
                return True
            if child.spec.optional and (status in (0, 2) or child.restarts == RESTARTS):
                LOGGER.warning("%s; the job goes on without it", _last_words(child, status))
                self._children.remove(child)
                return False
            if child.spec.required or status in (0, 2):
                raise JobFailed(_last_words(child, status))
            child.restarts += 1
            if child.restarts > RESTARTS:
                raise JobFailed(f"{_last_words(child, status)} (started {RESTARTS} times again, in vain)")
            LOGGER.warning("%s ended with status %d; starting it again (log: %s)", name, status, child.log)
            child.process = self._start(child.spec).process
        return False

    def _stop_all(self) -> None:
        for child in reversed(self._children):
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
                try:
                    child.process.wait(PATIENCE.get(child.spec.name, DEFAULT_PATIENCE))
                except subprocess.TimeoutExpired:
                    LOGGER.warning("%s did not end by itself and was killed (log: %s)", child.spec.name, child.log)
                    child.process.kill()
                    child.process.wait()


def _last_words(child: _Child, status: int) -> str:
    lines = [line for line in child.log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("robot-rl: ")]
    said = (errors or lines or ["it said nothing"])[-1].removeprefix("robot-rl: ")
    return said if errors else f"{child.spec.name} ended with status {status}: {said} (log: {child.log})"


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM stops a job as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def ros_domain(config: RunConfig, job: str = "") -> int:
    """The ROS domain of a job: the environment's, or one of its own for a simulated arm that is nobody else's.

    Who serves an arm to other programs, has a namespace, joins a simulator or shares a learner is there to be found.
    """
    alone = not config.namespace and not config.learner.shared
    private = config.arm == "sim" and config.simulator == "own" and alone and not (job and not job_of(job).node)
    if "ROS_DOMAIN_ID" in os.environ or not private:
        return int(os.environ.get("ROS_DOMAIN_ID", "0"))
    return 1 + os.getpid() % 100
