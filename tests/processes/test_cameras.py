"""Whole jobs that see: drawn cameras in a process of their own, their images over ROS to session, policy and store."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from robot_rl.contract import Ending, View
from robot_rl.data.store import StoreReader
from robot_rl.tasks import make_task
from tests.fault_table import FaultTable
from tests.processes.job import Job
from tests.processes.witness import PATIENCE, Witness
from tests.robot_rl.publishing import policy
from tests.ros.conftest import Ros

pytestmark = [pytest.mark.job, pytest.mark.timeout(900)]
CAMERAS = ("front", "wrist")
SEEING = [
    f"cameras={','.join(CAMERAS)}",
    "session.image_age=2",  # [s] on a busy machine, drawing takes long
    "session.teleop_timeout=5",
    "session.policy_wait=5",
    "session.late_limit=60",
]


def test_demonstrations_are_recorded_with_the_images_of_both_cameras(tmp_path: Path) -> None:
    job = Job(tmp_path / "run", "record", "demos=1", *SEEING)
    try:
        assert job.wait_end() == 0, job.errors
    finally:
        job.stop()
    reader = StoreReader(job.run.demos)
    (info,) = [episode for episode in reader.episodes() if episode.success]
    images = reader.load_episode(info.index).images
    assert set(images) == set(CAMERAS)
    for pictures in images.values():
        assert pictures.shape == (info.steps + 1, View().size, View().size, 3)
        assert pictures[0].std() > 5.0, "a picture of something"
        assert not np.array_equal(pictures[0], pictures[-1]), "the arm has moved meanwhile"
    assert not np.array_equal(images["front"][0], images["wrist"][0])


def test_a_lost_camera_ends_the_episode_and_not_the_job(ros: Ros, tmp_path: Path, fault_table: FaultTable) -> None:
    """Its process stands still first, and is killed then."""
    task = make_task("reach")
    (tmp_path / "still.params").write_bytes(policy(task))
    job = Job(tmp_path / "run", "eval", f"policy={tmp_path / 'still.params'}", "session.horizon=100000", *SEEING)
    witness = Witness(ros, job=job)
    try:
        job.wait(lambda: job.run.status_of("session"), "the session")
        witness.wait(0.0, "phase:running")
        camera = job.node("camera")
        _, lost, _ = witness.aborted(
            " lost: its last image is",
            lambda: os.kill(camera, signal.SIGSTOP),
            lambda: os.kill(camera, signal.SIGCONT),
        )
        happened = "episode aborted: camera lost (here after session.image_age=2); the next begins when it sends"
        fault_table.add("camera process stands still", happened, lost)
        assert job.node("camera") == camera
        assert job.errors == []

        job.kill("camera")
        ros.spin_until(lambda: job.errors, PATIENCE)
        assert "camera ended with status -9; starting it again" in job.errors[0]
        ros.spin_until(lambda: job.node("camera") != camera, PATIENCE)
        witness.wait(time.monotonic(), "chunk")  # the policy acts, and so has its images
        job.process.send_signal(signal.SIGINT)
        assert job.wait_end() == 130
    finally:
        job.stop()
    episodes = StoreReader(job.run.evaluation).episodes()
    lost = [episode for episode in episodes if episode.ending is Ending.ABORTED and "lost" in episode.reason]
    assert lost
