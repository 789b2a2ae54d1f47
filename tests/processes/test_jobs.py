"""Whole jobs, as a user starts them: the simulated arm over its own protocol, ROS, real processes, real kills."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from robot_rl.cli import main
from robot_rl.contract import Source
from robot_rl.data.store import StoreReader
from robot_rl.policies.loading import describe
from robot_rl.policies.parameters import pack
from robot_rl.run import Run
from robot_rl.tasks import make_task
from tests.conftest import session_processes
from tests.hardware.simulated import unused_address

pytestmark = pytest.mark.timeout(300)  # a learner niced on a busy machine compiles slowly
PATIENCE = 120.0  # [s] before a test gives up waiting; never what it measures


class Job:
    """``robot-rl`` as a process, on an arm of its own."""

    def __init__(self, folder: Path, command: str, *overrides: str, address: str | None = None) -> None:
        self.run = Run(folder)
        self.address = address or unused_address()
        folder.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / "stdout", folder / "stderr"
        arguments = ["--task", "reach", "--run", str(folder), f"robot_ip={self.address}", *overrides]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "robot_rl", command, *arguments], stdout=out, stderr=err
            )

    @property
    def errors(self) -> list[str]:
        return self._err.read_text().splitlines()

    @property
    def steps(self) -> int:
        return self.run.heard("session").get("steps", 0)

    def checkpoints(self) -> list[int]:
        """Numbers of the learner's checkpoints."""
        return [int(path.stem) for path in self.run.checkpoints.glob("*.checkpoint")]

    def log(self, name: str) -> str:
        return "".join(path.read_text() for path in self.run.logs.glob(f"*-{name}.log"))

    def node(self, name: str) -> int:
        """Process id of a node."""
        mark = f"node {name} --run {self.run.root}"
        (found,) = [pid for pid, line in session_processes().items() if mark in line]
        return found

    def kill(self, name: str) -> None:
        os.kill(self.node(name), signal.SIGKILL)

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait until ``condition`` holds, while the job goes on."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, f"the job ended before {what}: {self.errors}"
            assert time.monotonic() < deadline, f"waited {PATIENCE:g} s in vain for {what}; stderr: {self.errors}"
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


Start = Callable[..., Job]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    jobs: list[Job] = []

    def begin(command: str, *overrides: str, **kwargs: str) -> Job:
        jobs.append(Job(tmp_path / "run", command, *overrides, **kwargs))
        return jobs[-1]

    yield begin
    for job in jobs:
        job.stop()


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of demonstrations, made in process."""
    folder = tmp_path_factory.mktemp("demonstrations")
    assert main(["record", "--fast", "--task", "reach", "--run", str(folder), "demos=3"]) == 0
    return folder / "demos"


def test_record_over_ros_from_start_to_end(start: Start) -> None:
    job = start("record", "demos=1")
    assert job.wait_end() == 0, job.errors
    reader = StoreReader(job.run.demos)
    (info,) = [episode for episode in reader.episodes() if episode.success]
    episode = reader.load_episode(info.index)
    assert (episode["source"] == Source.PERSON).all()
    assert np.abs(np.diff(episode["q"], axis=0)).max() > 0.0
    assert set(episode.objects) == {"goal"}
    assert job.run.heard("session")["done"]


def test_training_survives_its_learner_which_goes_on_from_its_checkpoint(start: Start, demonstrations: Path) -> None:
    settings = ["learner.start_after=10", "learner.checkpoint_every=5", "learner.publish_every=2", "steps=100000"]
    job = start("train", f"demo_stores={demonstrations}", *settings)
    job.wait(job.checkpoints, "the first checkpoint")
    job.kill("learner")
    steps = job.steps
    job.wait(lambda: "going on after" in job.log("learner"), "the learner going on")
    resumed = int(job.log("learner").split("going on after ")[1].split()[0])
    assert resumed in job.checkpoints()
    job.wait(lambda: job.steps > steps, "an episode after the kill")
    assert job.errors == [line for line in job.errors if "learner" in line]
    assert "learner ended with status -9; starting it again" in job.errors[0]
    job.kill("learner")  # it would take its time for a last checkpoint
    job.process.send_signal(signal.SIGINT)
    assert job.wait_end() == 130


def test_evaluation_survives_its_policy_but_not_its_session(start: Start, tmp_path: Path) -> None:
    task = make_task("reach")
    width = 2 * task.action.size
    params = {"w0": np.zeros((task.state_size, width), np.float32), "b0": np.zeros(width, np.float32)}
    (tmp_path / "still.params").write_bytes(pack(params, 1, describe(task)))
    job = start("eval", f"policy={tmp_path / 'still.params'}", "episodes=1000", "session.horizon=10")
    job.wait(lambda: job.steps, "an episode")

    first = job.node("policy")
    job.kill("policy")
    job.wait(lambda: job.errors, "the policy's end")
    assert "policy ended with status -9; starting it again" in job.errors[0]
    steps = job.steps
    job.wait(lambda: job.steps > steps + 10, "an episode with the new policy")
    assert job.node("policy") != first

    steps = job.steps
    job.kill("session")
    assert job.wait_end() == 2
    assert job.errors[1].startswith("robot-rl: session ended with status -9")
    reader = StoreReader(job.run.evaluation)
    assert sum(map(len, reader.poll())) >= steps, "what was recorded before the kill is there"
    assert not reader.messages


def test_a_killed_arm_ends_the_job_with_a_clear_line(start: Start) -> None:
    job = start("teleop", "source=topic")
    job.wait(lambda: job.run.heard("session"), "the session")
    job.kill("arm")
    assert job.wait_end() == 2
    (line,) = job.errors
    assert line.startswith("robot-rl: arm ended with status -9")


def test_ctrl_c_ends_everything(start: Start) -> None:
    job = start("teleop", "source=topic")
    job.wait(lambda: job.run.heard("session"), "the session")
    job.process.send_signal(signal.SIGINT)
    assert job.wait_end() == 130
    assert job.errors == ["robot-rl: stopped"]


def test_a_taken_port_ends_the_job_with_a_clear_line(start: Start) -> None:
    address = unused_address()
    with socket.create_server((address, 1337)):
        job = start("record", "demos=1", address=address)
        assert job.wait_end() == 2
    (line,) = job.errors
    assert f"port 1337 at {address} is taken" in line


def test_no_arm_at_the_address_ends_the_job_with_a_clear_line(start: Start) -> None:
    job = start("teleop", "arm=fr3", "source=topic")
    assert job.wait_end() == 2
    (line,) = job.errors
    assert job.address in line


def test_nothing_outlives_a_killed_job(start: Start) -> None:
    job = start("teleop", "source=topic")
    job.wait(lambda: job.run.heard("session"), "the session")
    job.process.kill()
    job.process.wait()
    deadline = time.monotonic() + PATIENCE
    while job.remains():
        assert time.monotonic() < deadline, job.remains()
        time.sleep(0.05)
