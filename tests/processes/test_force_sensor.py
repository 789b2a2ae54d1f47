"""A whole job with a force–torque sensor of somebody else's driver, which falls silent and is killed."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from controllers.spatial import Pose
from hardware.force.lane import ForceConfig, at_tcp
from robot_rl.contract import Ending
from robot_rl.data.store import StoreReader
from robot_rl.jobs.cli import main
from robot_rl.tasks import make_task
from tests.fault_table import FaultTable
from tests.processes.job import Job
from tests.processes.witness import PATIENCE, Witness
from tests.robot_rl.publishing import policy
from tests.ros.conftest import Ros

pytestmark = [pytest.mark.job, pytest.mark.timeout(900)]
WRENCH = (1.0, 0.0, -7.0, 0.0, 0.1, 0.0)
BIAS = (0.5, 0.0, -2.0, 0.0, 0.0, 0.02)
MOUNT = (0.0, 0.0, -0.1, 0.0, 0.0, 90.0)
TOOL = f"frame: wrist_ft\nmass: 0.0\nfirst_moment: [0.0, 0.0, 0.0]\nbias: {list(BIAS)}\nresidual: [0.0, 0.0]\n"


class Sender:
    """A microcontroller: 200 packets a second while it speaks."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.speaks = threading.Event()
        self.speaks.set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        while not self._end.wait(0.005):
            if self.speaks.is_set():
                self._socket.sendto(" ".join(map(str, WRENCH)).encode(), ("127.0.0.1", self.port))

    def close(self) -> None:
        self._end.set()
        self._thread.join()
        self._socket.close()


@pytest.fixture
def sender() -> Iterator[Sender]:
    made = Sender()
    yield made
    made.close()


def test_its_wrench_is_recorded_and_its_silence_ends_the_episode_and_not_the_job(
    ros: Ros, tmp_path: Path, sender: Sender, fault_table: FaultTable
) -> None:
    task = make_task("reach")
    (tmp_path / "still.params").write_bytes(policy(task))
    (tmp_path / "my_tool.yaml").write_text(TOOL)
    job = Job(
        tmp_path / "run",
        "eval",
        f"policy={tmp_path / 'still.params'}",
        "session.horizon=100000",
        "force.sensor=examples.own_force_sensor:TextSensor",
        f"force.device=127.0.0.1:{sender.port}",
        f"force.tool={tmp_path / 'my_tool.yaml'}",
        f"force.mount={','.join(map(str, MOUNT))}",
        "force.timeout=2",  # [s] on a busy machine
        "session.policy_wait=5",
        "session.late_limit=60",
    )
    witness = Witness(ros, job=job)
    try:
        job.wait(lambda: job.run.status_of("session"), "the session")
        witness.wait(0.0, "phase:running")
        _, lost, _ = witness.aborted("force sensor lost: its last wrench is", sender.speaks.clear, sender.speaks.set)
        happened = "episode aborted: force sensor lost (here after force.timeout=2); the next begins when it measures"
        fault_table.add("force sensor falls silent", happened, lost)
        sensor = job.node("force")

        job.kill("force")
        ros.spin_until(lambda: any("force ended with status -9" in line for line in job.errors), PATIENCE)
        ros.spin_until(lambda: job.node("force") != sensor, PATIENCE)
        witness.wait(time.monotonic(), "chunk")  # it acts, and so has the wrench
        os.kill(job.process.pid, signal.SIGINT)
        assert job.wait_end() == 130
    finally:
        job.stop()
    reader = StoreReader(job.run.evaluation)
    assert reader.schema is not None and reader.schema.force_sensor
    info = next(info for info in reader.episodes() if info.steps and info.ending is Ending.ABORTED)
    columns = reader.load_episode(info.index, ("pose", "sensed", "wrench"))
    mount = ForceConfig(sensor="ati", mount=MOUNT).pose
    clean = np.array(WRENCH) - BIAS
    expected = [at_tcp(clean, mount, Pose(row[:3], row[3:])) for row in columns["pose"]]
    np.testing.assert_allclose(columns["sensed"], expected, atol=1e-6)
    assert np.abs(columns["wrench"] - columns["sensed"]).max() > 1.0, "the arm's own estimate is kept beside it"


def test_nothing_begins_where_the_sensor_or_its_tool_do_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["eval", "--run", str(tmp_path / "run"), "--task", "reach", "policy=random"]
    assert main([*run, "force.sensor=atti"]) == 2
    assert "force.sensor='atti'" in (said := capsys.readouterr().err) and "did you mean 'ati'" in said
    assert main([*run, "force.sensor=ati", f"force.tool={tmp_path}/none.yaml"]) == 2
    assert "none.yaml cannot be read" in capsys.readouterr().err
    assert main([*run, "--fast", "force.sensor=ati"]) == 2
    assert "force.sensor=ati measures in real time" in capsys.readouterr().err
    assert not (tmp_path / "run" / "config.yaml").exists()
