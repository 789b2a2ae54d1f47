"""A SmallVLA that drives an arm and is improved beside it: new parameters act, and a learner that is killed goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from robot_rl.data.parameters import unpack
from robot_rl.data.store import StoreReader
from robot_rl.jobs.cli import main
from tests.processes.job import PATIENT, Job

pytestmark = [pytest.mark.job, pytest.mark.slow, pytest.mark.timeout(1800)]

TASK = "robot_rl.tasks.named_cube:TouchCube"
SMALL = ("vla.width=16", "vla.heads=2", "vla.layers=1", "vla.blocks=1", "vla.steps=20", "vla.every=20")
QUICK = ("aloe.every=15", "aloe.hidden=8", "aloe.critics=2", "aloe.batch=8", "aloe.policy_batch=4", "aloe.refreshed=20")
LEARNER = ("learner.start_after=5", "learner.publish_every=1", "learner.checkpoint_every=1", "session.horizon=20")
BUSY = ("session.image_age=2", "session.policy_wait=5", "session.late_limit=60")  # of a machine


def test_it_acts_and_is_improved_and_its_learner_goes_on_after_a_kill(tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    assert main(["record", "--fast", "--task", TASK, "--run", str(shown), "demos=2"]) == 0
    assert main(["pretrain", "--vla", "--run", str(shown), *SMALL]) == 0
    base = shown / "vla.params"
    given = [
        f"learner.base={base}",
        f"demo_stores={shown / 'demos'}",
        "cameras=wrist",
        *QUICK,
        *LEARNER,
        *PATIENT,
        *BUSY,
    ]
    job = Job(tmp_path / "run", "train", *given, "steps=100000", task=TASK)
    try:
        job.wait(lambda: job.run.parameters.exists(), "the first parameters")
        begun = unpack(base.read_bytes()).version

        def acted() -> set[int]:
            return {int(v) for part in StoreReader(job.run.online).poll().new for v in part["version"] if v >= 0}

        job.wait(lambda: max(acted(), default=0) > begun, "steps by parameters that were improved")
        job.wait(job.checkpoints, "a checkpoint")
        job.kill("learner")
        newest = max(job.run.status_of("learner")["version"], *acted())  # it can have published no later one
        job.wait(lambda: "going on after" in job.log("learner"), "the learner to go on")
        job.wait(lambda: max(acted()) > newest, "steps by parameters of the learner that was started again")
        assert min(acted()) == begun, "the policy that it was given acted first"
    finally:
        job.stop()
    (info, *_) = StoreReader(job.run.online).episodes()
    assert info.meta["instruction"]
