"""``robot-rl`` jobs as processes, for tests: the simulated arm over its own protocol, ROS, real kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from robot_rl.jobs.run import Run
from tests.conftest import require_job_mark, session_processes
from tests.hardware.simulated import unused_address
from tests.processes.network import Host

# Settings of a learner that is soon compiled and whose updates cost next to nothing: these tests are of jobs,
# not of learning.
SMALL = (
    "learner.agent=rlpd",
    "learner.batch_size=8",
    "learner.utd=1",
    "learner.settings.hidden=8",
    "learner.settings.critics=2",
    "learner.imitate=50",
    "learner.start_after=10",
    "learner.publish_every=2",
    "learner.max_debt=1000000",  # on a busy machine, episodes would wait for the learner
)
PATIENT = ("controller.hold_after=4", "controller.damp_after=8")  # [s]: a busy machine is no stale setpoint
PATIENCE = 600.0  # [s] before a test gives up waiting; never what it measures


class Job:
    """``robot-rl`` as a process, on an arm of its own, and on the computer ``host`` of a test's network."""

    def __init__(
        self,
        folder: Path,
        command: str,
        *overrides: str,
        address: str | None = None,
        stdin: int = subprocess.DEVNULL,
        host: Host | None = None,
        task: str = "reach",
    ) -> None:
        require_job_mark()
        self.run = Run(folder)
        self.address = address or unused_address()
        folder.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / "stdout", folder / "stderr"
        arguments = ["--task", task, "--run", str(folder), f"robot_ip={self.address}", "console.show=never"]
        arguments += overrides
        with self._out.open("wb") as out, self._err.open("wb") as err:
            words = [sys.executable, "-m", "robot_rl", command, *arguments]
            words = words if host is None else host.command(*words)
            self.process = subprocess.Popen(words, stdin=stdin, stdout=out, stderr=err)

    @property
    def output(self) -> str:
        return self._out.read_text()

    @property
    def errors(self) -> list[str]:
        return self._err.read_text().splitlines()

    @property
    def steps(self) -> int:
        return self.run.status_of("session").get("steps", 0)

    def checkpoints(self) -> list[int]:
        """Numbers of the learner's checkpoints."""
        return [int(path.stem) for path in self.run.checkpoints.glob("*.checkpoint")]

    def log(self, name: str) -> str:
        return "".join(path.read_text() for path in self.run.logs.glob(f"*-{name}.log"))

    def node(self, name: str) -> int:
        """Process id of a node; waits for one that is being started."""
        mark = f"node {name} --run {self.run.root}"
        found: list[int] = []

        def look() -> bool:
            found[:] = [pid for pid, line in session_processes().items() if mark in line]
            return len(found) == 1

        self.wait(look, f"one process of the node {name}")
        return found[0]

    def kill(self, name: str) -> None:
        os.kill(self.node(name), signal.SIGKILL)

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait until ``condition`` holds, while the job goes on."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, f"the job ended before {what}: {self.errors}"
            assert time.monotonic() < deadline, (
                f"waited {PATIENCE:g} s in vain for {what}; stderr: {self.errors}; "
                f"the end of stdout: {self.output.splitlines()[-10:]}"
            )
            time.sleep(0.05)

    def wait_end(self) -> int:
        """Exit status of the job, which leaves no process behind."""
        status = self.process.wait(PATIENCE)
        assert not self.remains()
        return status

    def remains(self) -> list[str]:
        return [line for line in session_processes().values() if str(self.run.root) in line]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
