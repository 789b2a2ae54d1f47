"""Processes of a training session killed with SIGKILL while the arm moves: what happens, and when.

Rows of the table in docs/SAFETY.md. Times are reported, never asserted.
"""

from __future__ import annotations

import os
import pty
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from robot_rl.data.store import StoreReader
from robot_rl.jobs.cli import main
from tests.fault_table import FaultTable, check_torques, telemetry_of
from tests.processes.job import PATIENCE, SMALL, Job
from tests.processes.witness import Witness

pytestmark = [pytest.mark.job, pytest.mark.timeout(1800)]


@pytest.fixture
def training(tmp_path: Path) -> Iterator[tuple[Job, int]]:
    """A training session with a person at the keyboard, and the person's end of the keyboard."""
    assert main(["record", "--fast", "--task", "reach", "--run", str(tmp_path / "demos"), "demos=3"]) == 0
    settings = [*SMALL, "learner.checkpoint_every=5", f"demo_stores={tmp_path / 'demos' / 'demos'}"]
    settings += ["learner.keep_checkpoints=1000"]  # or a slow test finds that resumed from deleted already
    person, terminal = pty.openpty()
    job = Job(tmp_path / "run", "train", *settings, "steps=100000", "source=keyboard", stdin=terminal)
    yield job, person
    job.stop()
    os.close(person)
    os.close(terminal)


def test_killed_processes_of_a_training_session(ros: Any, training: tuple[Job, int], fault_table: FaultTable) -> None:
    job, keyboard = training
    witness = Witness(ros, job=job)
    job.wait(job.checkpoints, "the first checkpoint")
    witness.wait(0.0, "chunk")

    # Policy: the session holds the arm still, and goes on with the new one, which a quick machine would have at once.
    def kill_policy() -> None:
        job.process.send_signal(signal.SIGSTOP)
        job.kill("policy")

    killed, aborted, reason = witness.aborted(
        "no policy answer", kill_policy, lambda: job.process.send_signal(signal.SIGCONT)
    )
    back, _ = witness.wait(killed + aborted / 1000.0, "chunk")  # one on its way then would be of the killed one
    fault_table.add("policy killed (-9)", f"steps held still, then episode aborted: {reason}", aborted)
    fault_table.add("policy killed (-9)", "started again, answers with the newest parameters", aborted + back)
    assert not witness.faults(killed)
    held = witness.first(killed, "mode:HOLD")
    if held is not None:  # nothing is asked of the arm until the policy is back
        fault_table.add("policy killed (-9)", "no episode begins meanwhile; arm holds", 1000.0 * (held.when - killed))

    # Learner: the control path does not notice; the person drives while it is started again.
    resumed: list[float] = []  # when it had gone on

    def watch_learner() -> None:
        if not resumed and "going on after" in job.log("learner"):
            resumed.append(time.monotonic())

    learner_killed = _kill(job, "learner")
    witness.node.create_timer(0.2, watch_learner)
    witness.wait(learner_killed, "episode:success", "episode:timeout")
    assert not witness.faults(learner_killed)
    assert job.process.poll() is None

    # Teleoperation, while the person drives: the policy has the arm back.
    def drive() -> bool:
        os.write(keyboard, b"w")
        return witness.first(before, "target:person") is not None

    witness.wait(time.monotonic(), "phase:running")
    before = time.monotonic()
    ros.spin_until(drive)
    killed = _kill(job, "teleop")
    back, _ = witness.wait(killed, "target:policy")
    fault_table.add("teleop killed (-9) while the person drives", "the policy has the arm back", back)
    ros.spin_until(lambda: any("teleop ended with status -9" in line for line in job.errors))

    # Learner: it goes on from its checkpoint.
    ros.spin_until(lambda: resumed, PATIENCE)
    back = 1000.0 * (resumed[0] - learner_killed)
    fault_table.add("learner killed (-9)", "episodes go on; started again from its checkpoint", back)
    assert int(job.log("learner").split("going on after ")[1].split()[0]) in job.checkpoints()
    assert any("learner ended with status -9; starting it again" in line for line in job.errors)

    # Session: nobody commands any more.
    witness.wait(time.monotonic(), "phase:running")
    steps = job.steps
    killed = _kill(job, "session")
    ends = ("event:setpoint_stale", "event:damping")  # neither, where a busy machine had the arm at rest already
    ros.spin_until(lambda: witness.first(killed, *ends) or job.process.poll() is not None, PATIENCE)
    if (held := witness.first(killed, *ends)) is not None:
        after = 1000.0 * (held.when - killed)
        fault_table.add("session killed (-9)", f"arm holds or damps out: {held.detail}", after)
    assert job.wait_end() == 2
    assert sum(map(len, StoreReader(job.run.online).poll().new)) >= steps, "nothing recorded is lost"
    check_torques(telemetry_of(job.run.logs))


def _kill(job: Job, name: str) -> float:
    job.kill(name)
    return time.monotonic()
