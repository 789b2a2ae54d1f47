"""A job that a classifier judges, on the graph: its process dies or stands still, and the job goes on."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from robot_rl.contract import Ending
from robot_rl.data.store import StoreReader
from robot_rl.perception.encoders import make_encoder
from robot_rl.rewards.classifier import Head, Preparation, save, weights
from robot_rl.rewards.filtering import FilterSettings, Thresholds
from robot_rl.rewards.saved import Saved, Seen, digest_of
from robot_rl.tasks import make_task
from tests.fault_table import FaultTable
from tests.processes.job import PATIENCE, Job
from tests.processes.test_cameras import SEEING
from tests.processes.witness import Witness
from tests.robot_rl.publishing import policy
from tests.ros.conftest import Ros

pytestmark = [pytest.mark.job, pytest.mark.timeout(900)]


def untrained(folder: Path) -> Saved:
    """A classifier that takes nothing for a success: its probabilities are near 0."""
    torch.manual_seed(0)
    preparation = Preparation(Seen(make_task("reach").views(("front",))), make_encoder("efficientnet_lite0"))
    data = weights(Head(preparation.shapes, 0))
    saved = Saved(
        task="reach",
        period=0.1,
        encoder="efficientnet_lite0",
        digest=preparation.encoder.digest,
        seen=preparation.seen,
        weights=digest_of(data),
        temperature=1.0,
        offset=-20.0,
        learning=(),
        stopping=(),
        filter=FilterSettings(),
        thresholds=Thresholds(0.5, 0.5),
    )
    save(folder, saved, data)
    return saved


def test_a_classifier_that_dies_or_stands_still_ends_the_episode_and_not_the_job(
    ros: Ros, tmp_path: Path, fault_table: FaultTable
) -> None:
    saved = untrained(tmp_path / "classifier")
    (tmp_path / "still.params").write_bytes(policy(make_task("reach")))
    settings = [f"policy={tmp_path / 'still.params'}", f"judge=classifier:{tmp_path / 'classifier'}", *SEEING]
    settings += ["cameras=front", "session.horizon=100000", "session.signal_age=2"]
    job = Job(tmp_path / "run", "eval", *settings)
    witness = Witness(ros, job=job)
    try:
        job.wait(lambda: job.run.status_of("session"), "the session")
        witness.wait(0.0, "phase:running")
        reward = job.node("reward")
        _, lost, _ = witness.aborted(
            "the judge is silent: its last success-",
            lambda: os.kill(reward, signal.SIGSTOP),
            lambda: os.kill(reward, signal.SIGCONT),
        )
        happened = (
            "episode aborted: the judge is silent (here after session.signal_age=2); the next begins when it speaks"
        )
        fault_table.add("reward process stands still", happened, lost)
        job.kill("reward")
        ros.spin_until(lambda: job.errors, PATIENCE)
        assert "reward ended with status -9; starting it again" in job.errors[0]
        ros.spin_until(lambda: job.node("reward") != reward, PATIENCE)
        witness.wait(time.monotonic(), "phase:running")
        job.process.send_signal(signal.SIGINT)
        assert job.wait_end() == 130
    finally:
        job.stop()
    reader = StoreReader(job.run.evaluation)
    silent = [one for one in reader.episodes() if one.ending is Ending.ABORTED and "silent" in one.reason]
    assert silent
    said = reader.load_episode(silent[0].index, (f"signals/{saved.signal}",))[f"signals/{saved.signal}"]
    assert (said[:-1] < 0.01).all(), "what it said is recorded with every step"
