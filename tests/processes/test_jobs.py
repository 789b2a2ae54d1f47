"""Whole jobs, as a user starts them: the simulated arm over its own protocol, ROS, real processes, real kills."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hardware.franka.telemetry import load_telemetry
from robot_rl.contract import PREFERENCE, Ending, Source
from robot_rl.data.columns import columns_to_readings
from robot_rl.data.store import StoreReader
from robot_rl.rewards.preference import Ensemble, save, weights
from robot_rl.rewards.preferred import Card, Preference, layout_of
from robot_rl.rewards.saved import digest_of
from robot_rl.tasks import make_task
from tests.hardware.simulated import unused_address
from tests.processes.job import PATIENCE, PATIENT, Job
from tests.robot_rl.publishing import policy

pytestmark = [pytest.mark.job, pytest.mark.timeout(1500)]  # a learner niced on a busy machine compiles slowly
Start = Callable[..., Job]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    jobs: list[Job] = []

    def begin(command: str, *overrides: str, **kwargs: Any) -> Job:
        jobs.append(Job(tmp_path / "run", command, *overrides, **kwargs))
        return jobs[-1]

    yield begin
    for job in jobs:
        job.stop()


def assert_no_fault_since(job: Job, robot_time: float) -> None:
    """A busy machine may have kept the session from commanding before, but the end of the job is no fault."""
    for file in job.run.logs.glob("fault-*.npz"):
        fault = load_telemetry(file)
        assert fault.ticks["time"][-1] < robot_time, fault.reason


def untaught(folder: Path) -> Preference:
    """A preference in `reach` that nobody has taught."""
    task = make_task("reach")
    torch.manual_seed(0)
    data = weights(Ensemble(task.state_size, width=4, members=1))
    save(folder, Card("reach", layout_of(task), (), digest_of(data), (0, 0, 0), None, None), data)
    return Preference(folder, task)


def test_record_over_ros_from_start_to_end(start: Start) -> None:
    job = start("record", "demos=1", "session.teleop_timeout=5", *PATIENT)
    assert job.wait_end() == 0, job.errors
    reader = StoreReader(job.run.demos)
    (info,) = [episode for episode in reader.episodes() if episode.success]
    episode = reader.load_episode(info.index)
    assert (episode["source"] == Source.PERSON).all()
    assert np.abs(np.diff(episode["q"], axis=0)).max() > 0.0
    assert set(episode.objects) == {"goal"}
    assert job.run.status_of("session")["done"]
    assert_no_fault_since(job, episode["robot_time"][-1])


def test_evaluation_survives_its_policy_but_not_its_session(start: Start, tmp_path: Path) -> None:
    (tmp_path / "still.params").write_bytes(policy(make_task("reach")))
    preferred = untaught(tmp_path / "preference")
    settings = ["episodes=1000", "session.horizon=10", f"preference={tmp_path / 'preference'}"]
    job = start("eval", f"policy={tmp_path / 'still.params'}", *settings)
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
    assert sum(map(len, reader.poll().new)) >= steps, "what was recorded before the kill is there"
    assert not list(job.run.evaluation.rglob("*.corrupt"))
    info = next(episode for episode in reader.episodes() if episode.ending is Ending.TIMEOUT)
    assert info.meta[PREFERENCE] == preferred.digest
    episode = reader.load_episode(info.index)
    earned = 0.5 / 10 * preferred.of(list(columns_to_readings(episode.columns))[1:])
    np.testing.assert_allclose(episode["reward"], earned, rtol=1e-5)


def test_what_a_person_says_is_answered_in_the_terminal(start: Start) -> None:
    hands, terminal = pty.openpty()
    try:
        job = start("teleop", "source=keyboard", stdin=terminal)
        os.write(hands, b"p")
        job.wait(lambda: "label 1 (pause) by /teleop: paused" in job.output, "the answer to a pause")
        os.write(hands, b"\r")
        early = "label 2 (success) by /teleop: refused: there has been no episode yet"
        job.wait(lambda: early in job.output, "the answer to a label before the first episode")
        os.write(hands, b"t")
        job.wait(lambda: "label 3 (take_over) by /teleop: you drive" in job.output, "the answer to taking over")

        def finish() -> object:
            os.write(hands, b"\r")
            return re.search(r"by /teleop: episode \d+ ends with step", job.output)  # a stall may abort the first

        job.wait(finish, "an episode's end")
        job.process.send_signal(signal.SIGINT)
        assert job.wait_end() == 130
    finally:
        os.close(hands)
        os.close(terminal)


def test_a_killed_arm_ends_the_job_with_a_clear_line(start: Start) -> None:
    job = start("teleop", "source=topic")
    job.wait(lambda: job.run.status_of("session"), "the session")
    job.kill("arm")
    assert job.wait_end() == 2
    (line,) = job.errors
    assert line.startswith("robot-rl: arm ended with status -9")


def test_ctrl_c_ends_everything(start: Start) -> None:
    job = start("teleop", "source=topic")
    job.wait(lambda: job.run.status_of("session"), "the session")
    job.process.send_signal(signal.SIGINT)
    assert job.wait_end() == 130
    first, *_, last = job.errors
    assert (first, last) == ("supervisor: stopping the arm and all processes", "robot-rl: stopped")


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
    job.wait(lambda: job.run.status_of("session"), "the session")
    job.process.kill()
    job.process.wait()
    deadline = time.monotonic() + PATIENCE
    while job.remains():
        assert time.monotonic() < deadline, job.remains()
        time.sleep(0.05)
