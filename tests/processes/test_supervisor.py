"""The supervisor with real children: a simulated robot is a process that runs until it is told to stop."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from robot_rl.jobs import supervisor
from robot_rl.jobs.bringup import NodeSpec
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.forked import Forked, Forks
from robot_rl.jobs.locks import LOCK, RunLock
from robot_rl.jobs.run import Run
from robot_rl.jobs.supervisor import JobFailed, Supervisor
from tests.conftest import session_processes
from tests.hardware.simulated import unused_address

pytestmark = pytest.mark.job

ENDS_WELL = ("config",)
USER_ERROR = ("config", "sede=1")


class Job:
    """A run with processes; each one that lasts serves at an address of its own."""

    def __init__(self, folder: Path) -> None:
        self.run = Run.create(RunConfig(task="reach"), folder)
        self.specs: list[NodeSpec] = []
        self.addresses: dict[str, str] = {}

    def add(self, name: str, arguments: tuple[str, ...] = (), required: bool = True) -> None:
        """A process that ends by itself with ``arguments``, one that lasts without."""
        if not arguments:
            self.addresses[name] = unused_address()
            arguments = ("sim", "--task", "reach", f"robot_ip={self.addresses[name]}")
        self.specs.append(NodeSpec(name, arguments, required, respawn=not required))

    def supervise(self, each: Callable[[], None] = lambda: None) -> None:
        Supervisor(self.run, "train", self.specs, int(os.environ["ROS_DOMAIN_ID"])).run(each)

    def log(self, name: str) -> str:
        path = self.run.logs / f"train-{name}.log"
        return path.read_text() if path.exists() else ""

    def serving(self, name: str, times: int = 1) -> bool:
        """Whether the process has come up so many times."""
        return self.log(name).count("simulated FR3") == times

    def process_id(self, name: str) -> int:
        (found,) = [pid for pid, line in session_processes().items() if f"robot_ip={self.addresses[name]}" in line]
        return found

    def running(self) -> list[str]:
        """Command lines of what is left of the job."""
        return [line for line in session_processes().values() if any(a in line for a in self.addresses.values())]


class SharedForks(Forks):
    """A server of several jobs in turn, which no job ends."""

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """One server for all, or each test would import everything anew."""
    shared = SharedForks()
    yield shared
    Forks.close(shared)


def servers() -> set[int]:
    return {pid for pid, line in session_processes().items() if "robot_rl.jobs.fork_server" in line}


@pytest.fixture
def job(tmp_path: Path, forks: Forks, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setattr(supervisor, "Forks", lambda: forks)
    return Job(tmp_path / "run")


class Signals:
    """Sends each signal once its condition holds, in order; call it five times a second."""

    def __init__(self, job: Job, *plan: tuple[Callable[[], bool], str, signal.Signals]) -> None:
        self.job, self.plan = job, list(plan)

    def __call__(self) -> None:
        if self.plan and self.plan[0][0]():
            _, name, number = self.plan.pop(0)
            os.kill(self.job.process_id(name) if name else os.getpid(), number)


def test_the_end_of_the_session_ends_the_job_and_everything_in_it(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "Forks", Forks)
    others = servers()
    job.add("arm")
    job.add("session")
    seen: set[int] = set()

    def ready() -> bool:
        seen.update(servers() - others)
        return job.serving("arm") and job.serving("session")

    job.supervise(Signals(job, (ready, "session", signal.SIGTERM)))
    assert not job.running()
    assert seen and servers() == others


def test_processes_keep_the_locks_of_their_job(job: Job) -> None:
    job.add("session")
    held: list[list[str]] = []

    def look() -> None:
        if not held and job.serving("session"):
            process = job.process_id("session")
            held.append([os.readlink(path) for path in Path(f"/proc/{process}/fd").iterdir()])
            os.kill(process, signal.SIGTERM)

    with RunLock("train") as lock:
        lock.take(job.run.root)
        domain = int(os.environ["ROS_DOMAIN_ID"])
        Supervisor(job.run, "train", job.specs, domain, lock.descriptors).run(look)
    assert str(job.run.root / LOCK) in held[0]


def test_a_user_error_of_a_process_is_the_jobs_error(job: Job) -> None:
    job.add("sim")
    job.add("arm", USER_ERROR)
    with pytest.raises(JobFailed, match=r"^unknown key sede; did you mean seed\?"):
        job.supervise()
    assert not job.running()


@pytest.mark.parametrize("required", [True, False])
def test_no_process_is_started_again_after_a_user_error(job: Job, required: bool) -> None:
    job.add("policy", USER_ERROR, required)
    job.add("session")
    with pytest.raises(JobFailed, match="sede"):
        job.supervise()
    assert job.log("policy").count("sede") == 1
    assert not job.running()


def test_a_killed_process_that_is_required_ends_the_job(job: Job) -> None:
    job.add("arm")
    job.add("session")
    with pytest.raises(JobFailed, match=r"^arm ended with status -9: simulated FR3.*\(log: .*train-arm\.log\)"):
        job.supervise(Signals(job, (lambda: job.serving("arm"), "arm", signal.SIGKILL)))
    assert not job.running()


def test_another_process_that_was_killed_is_started_again(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    job.add("policy", required=False)
    job.add("session")
    job.supervise(
        Signals(
            job,
            (lambda: job.serving("policy"), "policy", signal.SIGKILL),
            (lambda: job.serving("policy", times=2), "session", signal.SIGTERM),
        )
    )
    assert "policy ended with status -9; starting it again" in caplog.text
    assert not job.running()


def test_a_process_that_keeps_crashing_is_given_up(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RESTARTS", 1)
    job.add("policy", required=False)
    job.add("session")
    crashes = [
        (lambda: job.serving("policy"), "policy", signal.SIGKILL),
        (lambda: job.serving("policy", times=2), "policy", signal.SIGKILL),
    ]
    with pytest.raises(JobFailed, match=r"policy ended with status -9.*started 1 times again"):
        job.supervise(Signals(job, *crashes))
    assert not job.running()


def test_a_job_goes_on_without_a_process_that_it_does_not_need(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    job.specs.append(NodeSpec("console", USER_ERROR, required=False, respawn=True, optional=True))
    job.add("session")
    gone = "the job goes on without it"
    job.supervise(Signals(job, (lambda: gone in caplog.text and job.serving("session"), "session", signal.SIGTERM)))
    assert job.log("console").count("sede") == 1
    assert not job.running()


def test_a_signal_to_the_job_stops_everything(job: Job) -> None:
    before = signal.getsignal(signal.SIGTERM)
    job.add("arm")
    with pytest.raises(KeyboardInterrupt):
        job.supervise(Signals(job, (lambda: job.serving("arm"), "", signal.SIGTERM)))
    assert not job.running()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_ctrl_c_kills_the_learner_and_stops_the_others_in_order(
    job: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "robot_rl")
    monkeypatch.setattr(supervisor, "SAY_PERIOD", 0.0)  # whenever it waits, it says for whom
    for name in ("sim", "arm", "learner", "session"):
        job.add(name)
    names: dict[int, str] = {}
    told: list[tuple[str, set[str]]] = []  # who was told to end, and who had not ended then

    def noting(send: Callable[[Any, int], None]) -> Callable[[Any, int], None]:
        def note(process: subprocess.Popen[bytes] | Forked, number: int) -> None:
            told.append((names[process.pid], {names[pid] for pid in names if Path(f"/proc/{pid}").exists()}))
            send(process, number)
            if names[process.pid] == "session":  # Ctrl-C again, while it is waited for
                os.kill(os.getpid(), signal.SIGINT)

        return note

    def ready() -> bool:
        if not all(job.serving(name) for name in job.addresses):
            return False
        names.update({job.process_id(name): name for name in job.addresses})
        for kind in (subprocess.Popen, Forked):
            monkeypatch.setattr(kind, "send_signal", noting(kind.send_signal))
        os.kill(job.process_id("learner"), signal.SIGSTOP)  # it never listens
        return True

    with pytest.raises(KeyboardInterrupt):
        job.supervise(Signals(job, (ready, "", signal.SIGINT)))
    assert [name for name, _ in told] == ["session", "learner", "arm", "sim"]
    assert [left for _, left in told][2:] == [{"sim", "arm"}, {"sim"}], "each once those before it have ended"
    assert "stopping the arm and all processes; learner makes its last updates" in caplog.text
    assert "still waiting for session" in caplog.text
    assert caplog.text.count("learner is killed") == 1
    assert not job.running()


def test_a_terminal_is_given_back_as_it_was_when_who_reads_its_keys_is_killed(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    monkeypatch.setattr(sys, "stdin", os.fdopen(terminal, "rb", buffering=0))
    monkeypatch.setattr(os, "tcgetpgrp", lambda descriptor: os.getpgrp())
    job.add("session", ENDS_WELL)
    job.supervise(lambda: tty.setraw(terminal))
    assert termios.tcgetattr(terminal) == before
    os.close(hands)


def test_a_process_that_does_not_listen_is_killed(
    job: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(supervisor.PATIENCE, "arm", 0.2)
    job.add("arm")
    job.add("session")
    job.supervise(
        Signals(
            job,
            (lambda: job.serving("arm"), "arm", signal.SIGSTOP),
            (lambda: job.serving("session"), "session", signal.SIGTERM),
        )
    )
    assert caplog.text.count("arm did not end by itself and was killed") == 1
    assert not job.running()


def test_processes_hear_only_their_own_domain(job: Job) -> None:
    def seen() -> bool:
        if not job.serving("session"):
            return False
        environment = Path(f"/proc/{job.process_id('session')}/environ").read_bytes().split(b"\0")
        domains.extend(line for line in environment if line.startswith(b"ROS_"))
        return True

    domains: list[bytes] = []
    job.add("session")
    job.supervise(Signals(job, (seen, "session", signal.SIGTERM)))
    assert f"ROS_DOMAIN_ID={os.environ['ROS_DOMAIN_ID']}".encode() in domains
    assert b"ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST" in domains


def test_a_job_whose_session_has_nothing_to_do_ends_at_once(job: Job) -> None:
    shown: list[int] = []
    job.add("session", ENDS_WELL)
    job.supervise(lambda: shown.append(len(shown)))
    assert shown, "the last state is shown"
