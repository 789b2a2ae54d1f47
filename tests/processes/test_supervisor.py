"""The supervisor with real children: a simulated robot is a process that runs until it is told to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from robot_rl.jobs import supervisor
from robot_rl.jobs.bringup import NodeSpec
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.run import Run
from robot_rl.jobs.supervisor import JobFailed, Supervisor
from tests.conftest import session_processes
from tests.hardware.simulated import unused_address

pytestmark = pytest.mark.robot

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


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / "run")


class Signals:
    """Sends each signal once its condition holds, in order; call it five times a second."""

    def __init__(self, job: Job, *plan: tuple[Callable[[], bool], str, signal.Signals]) -> None:
        self.job, self.plan = job, list(plan)

    def __call__(self) -> None:
        if self.plan and self.plan[0][0]():
            _, name, number = self.plan.pop(0)
            os.kill(self.job.process_id(name) if name else os.getpid(), number)


def test_the_end_of_the_session_ends_the_job_and_everything_in_it(job: Job) -> None:
    job.add("arm")
    job.add("session")
    job.supervise(Signals(job, (lambda: job.serving("arm") and job.serving("session"), "session", signal.SIGTERM)))
    assert not job.running()


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


def test_a_process_that_does_not_listen_is_killed(
    job: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "DEFAULT_PATIENCE", 0.2)
    job.add("arm")
    job.add("session")
    job.supervise(
        Signals(
            job,
            (lambda: job.serving("arm"), "arm", signal.SIGSTOP),
            (lambda: job.serving("session"), "session", signal.SIGTERM),
        )
    )
    assert "arm did not end by itself and was killed" in caplog.text
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
