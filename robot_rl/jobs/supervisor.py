"""Starts the processes of a job, watches them, and stops them in order; nothing is left running."""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from robot_rl.jobs.bringup import NodeSpec
from robot_rl.jobs.logs import Follower
from robot_rl.jobs.run import Run

LOGGER = logging.getLogger(__name__)
POLL = 0.2  # [s]
RESTARTS = 5  # of one process, before the job is given up
# [s] to end by itself after SIGTERM: the learner writes a checkpoint, the arm may be in the middle of connecting.
PATIENCE = {"learner": 60.0, "arm": 30.0}
DEFAULT_PATIENCE = 20.0
LAST = ("session", "teach", "report")  # the job is done when one of them has ended well
WELL, USER_ERROR = 0, 2  # exit statuses that would come again; the second is something the user can put right


class End(enum.Enum):
    """The meaning for a job that one of its processes has ended."""

    DONE = "done"
    FAILED = "failed"
    AGAIN = "again"


def end_of(spec: NodeSpec, status: int, restarts: int) -> End:
    """The meaning of the process ``spec`` ending with exit ``status``, after it was started ``restarts`` times again.

    The same for `robot-rl` and ``ros2 launch``. What the user has to put right, such as a device that is not there or
    was lost, is not tried again.
    """
    if spec.name in LAST and status == WELL:
        return End.DONE
    if spec.required or status in (WELL, USER_ERROR) or restarts >= RESTARTS:
        return End.FAILED
    return End.AGAIN


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
        inherited: descriptors that all processes keep open, such as those of locks.
    """

    def __init__(self, run: Run, job: str, nodes: list[NodeSpec], domain: int, inherited: Sequence[int] = ()) -> None:
        self._run, self._job, self._nodes, self._inherited = run, job, nodes, inherited
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
        follower = Follower(path, spec.talks)
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
                pass_fds=self._inherited,
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
            name, end = child.spec.name, end_of(child.spec, status, child.restarts)
            if end is End.DONE:
                return True
            if end is End.FAILED:
                in_vain = f" (started {child.restarts} times again, in vain)" if child.restarts else ""
                raise JobFailed(f"{_last_words(child, status)}{in_vain}")
            child.restarts += 1
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
