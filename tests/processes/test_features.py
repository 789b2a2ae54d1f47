"""Whole jobs that see by an encoder: its features over ROS to session, store, policy; its death and its coming back."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest

from robot_rl.contract import Ending
from robot_rl.data.parameters import unpack
from robot_rl.data.store import StoreReader
from robot_rl.jobs.cli import main
from tests.processes.job import Job
from tests.processes.witness import PATIENCE, Witness
from tests.robot_rl.colours import Colours
from tests.ros.conftest import Ros

pytestmark = [pytest.mark.job, pytest.mark.timeout(1500)]
SEEING = [
    "cameras=front",
    f"encoder={Colours.name}",
    "session.image_age=2",  # [s] on a busy machine, drawing takes long
    "session.teleop_timeout=5",
    "session.policy_wait=5",
    "session.late_limit=60",
]
LEARNING = [
    *("steps=100000", "session.horizon=100000", "learner.agent=rlpd", "learner.settings.hidden=8", "learner.utd=1"),
    *("learner.batch_size=4", "learner.start_after=2", "learner.imitate=5", "learner.max_debt=1000000"),
]


@pytest.mark.slow  # in each `make test` an encoder stands still and is killed in `test_faults_sensors`
def test_training_by_features_goes_on_after_its_encoder_was_killed(ros: Ros, tmp_path: Path) -> None:
    assert main(["record", "--fast", "--task", "reach", "--run", str(tmp_path / "run"), "demos=1", *SEEING]) == 0
    job = Job(tmp_path / "run", "train", *LEARNING)
    witness = Witness(ros, job=job)
    try:
        witness.wait(0.0, "phase:running")
        witness.aborted("the encoder is gone", lambda: job.kill("encoder"))
        ros.spin_until(lambda: job.errors, PATIENCE)
        assert "encoder ended with status -9; starting it again" in job.errors[0]
        witness.wait(time.monotonic(), "chunk")
        job.kill("learner")  # it would take its time for a last checkpoint
        job.process.send_signal(signal.SIGINT)
        assert job.wait_end() == 130
    finally:
        job.stop()
    assert unpack(job.run.parameters.read_bytes()).meta["encoder"] == Colours.digest
    reader = StoreReader(job.run.online)
    (aborted,) = [
        one for one in reader.episodes() if one.ending is Ending.ABORTED and "its last features are" in one.reason
    ]
    episode = reader.load_episode(aborted.index)
    np.testing.assert_array_equal(episode["features/front"], Colours().encode(episode.images["front"]))
    assert episode["features/front"][0].std() > 0.01, "of something"
