"""Starts the processes of a job, watches them, and stops them in order; nothing is left running."""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from robot_rl.jobs.bringup import NodeSpec
from robot_rl.jobs.forked import Forked, Forks
from robot_rl.jobs.interrupt import Requests, requests_to_stop
from robot_rl.jobs.logs import Follower, warn
from robot_rl.jobs.run import Run

LOGGER = logging.getLogger(__name__)
POLL = 0.2  # [s]
RESTARTS = 5  # of one process, before the job is given up
# [s] to end by itself after SIGTERM: the learner writes a checkpoint, the arm may be in the middle of connecting.
PATIENCE = {"learner": 60.0, "arm": 30.0}
DEFAULT_PATIENCE = 20.0
# The job is done when one of these has ended well; in any case they go first.
LAST = ("session", "teach", "survey", "sheet", "shots", "report")
FIRST = ("sim",)  # started before all others, and stopped after them
UNHURRIED = {"learner": "makes its last updates and writes a checkpoint, for a minute at most"}
# Not forked: what a forked process first writes to is copied then, and the torque loop has no time for that.
EXECUTED = ("arm",)
SAY_PERIOD = 10.0  # [s] between words about whom is waited for
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
    process: subprocess.Popen[bytes] | Forked
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
        self._forks = Forks()
        self._ends_by_request = False  # and the person has been told what is waited for

    def run(self, each: Callable[[], None]) -> None:
        """Start everything, call ``each`` five times a second, return when the session has ended well.

        Whatever ends it, everything is stopped first, in order: the session, so that nobody commands the arm; then the
        arm, the learner and the others together; the simulator last. A second Ctrl-C kills the learner instead of
        waiting for its checkpoint, and changes nothing else.

        Raises:
            JobFailed: a required process ended with an error, or another one crashed too often.
            KeyboardInterrupt: Ctrl-C or SIGTERM, once all have ended.
        """
        with requests_to_stop() as requests, _terminal_kept():
            try:
                for spec in self._nodes:
                    self._children.append(self._start(spec))
                while not (requests.count or self._session_ended()):
                    self._relay()
                    each()
                    time.sleep(POLL)
                if not requests.count:
                    each()
            finally:
                self._stop_all(requests)
                self._relay()
                self._forks.close()
        if requests.count:
            raise KeyboardInterrupt

    def _start(self, spec: NodeSpec) -> _Child:
        path = self._run.logs / f"{self._job}-{spec.name}.log"
        follower = Follower(path, spec.talks)
        rules = [f"__ns:=/{spec.namespace.strip('/')}"] if spec.namespace else []
        rules += [f"{name}:={topic}" for name, topic in spec.remappings]
        remapped = ["--ros-args", *(word for rule in rules for word in ("-r", rule))] if rules else []
        arguments = [*spec.arguments, *remapped]
        environment = self._environment | dict(spec.environment)
        if spec.terminal or spec.name in EXECUTED:
            with path.open("ab") as log:
                process: subprocess.Popen[bytes] | Forked = subprocess.Popen(
                    [sys.executable, "-m", "robot_rl", *arguments],
                    stdin=None if spec.terminal else subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    pass_fds=self._inherited,
                    start_new_session=not spec.terminal,
                )
        else:
            process = self._forks.start(arguments, environment, path, self._inherited)
        return _Child(spec, process, path, follower)

    def _relay(self) -> None:
        """Tell the person what the processes warn of."""
        for child in self._children:
            for message in child.follower.warnings():
                warn(child.spec.name, message)

    def _session_ended(self) -> bool:
        for child in self._children:
            status = child.process.poll()
            if status is None:
                continue
            name, end = child.spec.name, end_of(child.spec, status, child.restarts)
            if end is End.DONE:
                return True
            if end is End.FAILED and child.spec.optional:
                LOGGER.warning("%s; the job goes on without it", _last_words(child, status))
                self._children.remove(child)
                return False
            if end is End.FAILED:
                in_vain = f" (started {child.restarts} times again, in vain)" if child.restarts else ""
                raise JobFailed(f"{_last_words(child, status)}{in_vain}")
            child.restarts += 1
            LOGGER.warning("%s ended with status %d; starting it again (log: %s)", name, status, child.log)
            child.process = self._start(child.spec).process
        return False

    def _stop_all(self, requests: Requests) -> None:
        """End all processes by SIGTERM, stage by stage; one that does not listen is killed in the end."""
        for stage in (LAST, None, FIRST):
            ending = [child for child in self._children if child.process.poll() is None and _of(stage, child)]
            for child in ending:
                child.process.send_signal(signal.SIGTERM)
            self._await(ending, requests)

    def _await(self, ending: list[_Child], requests: Requests) -> None:
        """Wait for processes that were told to end, and say for whom."""
        began = said = time.monotonic()
        killed: list[_Child] = []
        while ending := [child for child in ending if child.process.poll() is None]:
            now = time.monotonic()
            if requests.count and not self._ends_by_request:
                self._ends_by_request = True
                self._say_what_ends()
            for child in ending:
                if now - began > PATIENCE.get(child.spec.name, DEFAULT_PATIENCE) and child not in killed:
                    killed.append(child)  # once: to end may take a killed one some time, too
                    LOGGER.warning("%s did not end by itself and was killed (log: %s)", child.spec.name, child.log)
                    child.process.kill()
            if requests.count > 1:
                self._kill_hurriedly()
            if now - said > SAY_PERIOD:
                said = now
                names = ", ".join(child.spec.name for child in ending)
                LOGGER.info("still waiting for %s, %.0f s now", names, now - began)
            self._relay()
            time.sleep(0.25 * POLL)

    def _kill_hurriedly(self) -> None:
        for child in self._children:
            if child.spec.name in UNHURRIED and child.process.poll() is None:
                LOGGER.warning("%s is killed; a run that goes on learns from its last checkpoint on", child.spec.name)
                child.process.kill()
                child.process.wait()

    def _say_what_ends(self) -> None:
        running = {child.spec.name for child in self._children if child.process.poll() is None}
        unhurried = running & UNHURRIED.keys()
        words = ["stopping the arm and all processes"]
        words += [f"{name} {UNHURRIED[name]}" for name in sorted(unhurried)]
        if unhurried:
            words.append("Ctrl-C again does not wait for that")
        LOGGER.info("; ".join(words))


def _of(stage: tuple[str, ...] | None, child: _Child) -> bool:
    """Whether ``child`` ends in ``stage``; None is that of all that no other one names."""
    return child.spec.name in stage if stage is not None else child.spec.name not in (*LAST, *FIRST)


def _last_words(child: _Child, status: int) -> str:
    lines = [line for line in child.log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("robot-rl: ")]
    said = (errors or lines or ["it said nothing"])[-1].removeprefix("robot-rl: ")
    return said if errors else f"{child.spec.name} ended with status {status}: {said} (log: {child.log})"


@contextlib.contextmanager
def _terminal_kept() -> Iterator[None]:
    """Give the terminal back as it was: a process that reads keys may have been killed."""
    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (AttributeError, OSError, ValueError, termios.error):  # no terminal
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError, termios.error):  # it is gone
            if os.tcgetpgrp(descriptor) == os.getpgrp():  # in the background it is not ours to change
                termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
