"""``robot-rl arm``, as users of CRISP have it: start the arm at a terminal, then a program of one's own."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("franky_sim")
if importlib.util.find_spec("crisp_py") is None:
    pytest.skip("crisp_py is not installed (scripts/setup.sh does)", allow_module_level=True)

from std_srvs.srv import Trigger

from controllers.state import Mode
from tests.contracts.arm_contract import ACCURACY
from tests.hardware.simulated import environment
from tests.processes.job import PATIENCE, Job
from tests.processes.witness import Witness

pytestmark = [pytest.mark.job, pytest.mark.timeout(900)]
CLIENT = Path(__file__).parents[1] / "ros" / "crisp_client.py"
SILENCE = 5.0  # [s] that ends a motion: a client may be held up for a second on a busy machine
WAITS = 6.0  # [s] of robot time between the start and the client: longer than that


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(tmp_path / "run", "arm", f"controller.damp_after={SILENCE}")
    yield job
    job.stop()


def test_a_client_of_crisp_has_its_time_after_the_start_and_leaves_no_fault(ros: Any, job: Job) -> None:
    witness = Witness(ros)
    ros.spin_until(lambda: witness.reading.get("mode") == Mode.IDLE, PATIENCE)
    assert "once started, the arm holds its pose for 60 s" in job.output
    start = witness.node.create_client(Trigger, "start")
    ros.spin_until(start.service_is_ready, PATIENCE)
    answer = start.call_async(Trigger.Request())
    ros.spin_until(answer.done, PATIENCE)
    assert answer.result().success
    began = witness.reading["robot_time"]
    ros.spin_until(lambda: witness.reading["robot_time"] > began + WAITS, PATIENCE)
    assert witness.reading["mode"] == Mode.HOLD
    assert any(line.startswith("arm: started: holding") for line in job.errors), job.errors

    command = [sys.executable, str(CLIENT), ""]
    client = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=PATIENCE)
    assert client.returncode == 0, client.stderr[-2000:]
    seen = [json.loads(line) for line in client.stdout.splitlines() if line.startswith("{")]
    (moved,) = [line for line in seen if line["what"] == "move_to"]
    assert np.linalg.norm(np.subtract(moved["position"], moved["target"])) < ACCURACY

    ros.spin_until(lambda: witness.reading["mode"] == Mode.IDLE, PATIENCE)
    job.process.send_signal(signal.SIGINT)
    assert job.wait_end() == 130
    assert not list(job.run.logs.glob("fault-*.npz")), job.errors
