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

from hardware.franka.telemetry import load_telemetry
from robot_rl.contract import Source, View
from robot_rl.data.store import StoreReader
from tests.hardware.simulated import unused_address
from tests.processes.job import PATIENCE, PATIENT, Job

pytestmark = [pytest.mark.job, pytest.mark.timeout(900)]
Start = Callable[..., Job]
CAMERAS = ("front", "wrist")


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


def test_a_task_of_another_package_is_recorded_over_ros_with_both_cameras_from_start_to_end(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lab_tasks.py").write_text(
        "from robot_rl.tasks.reach import Reach\n\n\nclass Nearby(Reach):\n    name = 'nearby'\n"
    )
    monkeypatch.chdir(tmp_path)
    seeing = [f"cameras={','.join(CAMERAS)}", "camera_rate=10", "session.image_age=2", "session.late_limit=60"]
    job = start("record", "demos=1", "session.teleop_timeout=5", *seeing, *PATIENT, task="lab_tasks:Nearby")
    assert job.wait_end() == 0, job.errors
    reader = StoreReader(job.run.demos)
    assert reader.schema is not None and reader.schema.task == "nearby"
    (info,) = [episode for episode in reader.episodes() if episode.success]
    episode = reader.load_episode(info.index)
    assert (episode["source"] == Source.PERSON).all()
    assert np.abs(np.diff(episode["q"], axis=0)).max() > 0.0
    assert set(episode.objects) == {"goal"}
    assert set(episode.images) == set(CAMERAS)
    for pictures in episode.images.values():
        assert pictures.shape == (info.steps + 1, View().size, View().size, 3)
        assert pictures[0].std() > 5.0, "a picture of something"
        assert not np.array_equal(pictures[0], pictures[-1]), "the arm has moved meanwhile"
    assert not np.array_equal(episode.images["front"][0], episode.images["wrist"][0])
    assert job.run.status_of("session")["done"]
    assert_no_fault_since(job, episode["robot_time"][-1])


def test_what_a_person_says_is_answered_in_the_terminal_and_ctrl_c_ends_everything(start: Start) -> None:
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
        assert "supervisor: stopping the arm and all processes" in job.errors
        assert job.errors[-1] == "robot-rl: stopped"
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
