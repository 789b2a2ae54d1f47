"""A whole job whose camera, encoder, reward process and force sensor stand still or fall silent, and are killed.

The judge is a classifier, the sensor somebody else's driver, and the encoder of both one of the tests.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from controllers.spatial import Pose
from hardware.force.lane import ForceConfig, at_tcp
from robot_rl.contract import PREFERENCE, Ending
from robot_rl.data.columns import columns_to_readings
from robot_rl.data.episode import Episode
from robot_rl.data.store import StoreReader
from robot_rl.rewards.classifier import Head, Preparation
from robot_rl.rewards.classifier import save as save_classifier
from robot_rl.rewards.classifier import weights as weights_of
from robot_rl.rewards.filtering import FilterSettings, Thresholds
from robot_rl.rewards.preference import Ensemble, save, weights
from robot_rl.rewards.preferred import Card, Preference, layout_of
from robot_rl.rewards.saved import Saved, Seen, digest_of
from robot_rl.tasks import make_task
from tests.fault_table import FaultTable
from tests.processes.job import PATIENCE, PATIENT, Job
from tests.processes.witness import Witness
from tests.robot_rl.colours import Colours
from tests.robot_rl.publishing import policy
from tests.ros.conftest import Ros

pytestmark = [pytest.mark.job, pytest.mark.timeout(1800)]
WRENCH = (1.0, 0.0, -7.0, 0.0, 0.1, 0.0)
BIAS = (0.5, 0.0, -2.0, 0.0, 0.0, 0.02)
MOUNT = (0.0, 0.0, -0.1, 0.0, 0.0, 90.0)
TOOL = f"frame: wrist_ft\nmass: 0.0\nfirst_moment: [0.0, 0.0, 0.0]\nbias: {list(BIAS)}\nresidual: [0.0, 0.0]\n"
HORIZON = 100000  # steps: only what happens to a sensor ends an episode


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


def untrained(folder: Path) -> Saved:
    """A classifier that takes nothing for a success: its probabilities are near 0."""
    torch.manual_seed(0)
    preparation = Preparation(Seen(make_task("reach").views(("front",))), Colours())
    data = weights_of(Head(preparation.shapes, 0))
    saved = Saved(
        task="reach",
        period=0.1,
        encoder=Colours.name,
        digest=Colours.digest,
        seen=preparation.seen,
        weights=digest_of(data),
        temperature=1.0,
        offset=-20.0,
        learning=(),
        stopping=(),
        filter=FilterSettings(),
        thresholds=Thresholds(0.5, 0.5),
    )
    save_classifier(folder, saved, data)
    return saved


def untaught(folder: Path) -> Preference:
    """A preference in `reach` that nobody has taught."""
    task = make_task("reach")
    torch.manual_seed(0)
    data = weights(Ensemble(task.state_size, width=4, members=1))
    save(folder, Card("reach", layout_of(task), (), digest_of(data), (0, 0, 0), None, None), data)
    return Preference(folder, task)


def test_a_sensor_that_stands_still_or_dies_ends_the_episode_and_not_the_job(
    ros: Ros, tmp_path: Path, sender: Sender, fault_table: FaultTable
) -> None:
    classifier, preferred = untrained(tmp_path / "classifier"), untaught(tmp_path / "preference")
    (tmp_path / "still.params").write_bytes(policy(make_task("reach")))
    (tmp_path / "my_tool.yaml").write_text(TOOL)
    job = Job(
        tmp_path / "run",
        "eval",
        f"policy={tmp_path / 'still.params'}",
        *("episodes=1000", f"session.horizon={HORIZON}", *PATIENT),
        *("session.policy_wait=5", "session.late_limit=60", "session.stall_timeout=2"),  # [s] on a busy machine
        *("cameras=front", "camera_rate=5", f"encoder={Colours.name}"),
        *(f"judge=classifier:{tmp_path / 'classifier'}", f"preference={tmp_path / 'preference'}"),
        "force.sensor=examples.own_force_sensor:TextSensor",
        *(f"force.device=127.0.0.1:{sender.port}", f"force.tool={tmp_path / 'my_tool.yaml'}"),
        f"force.mount={','.join(map(str, MOUNT))}",
        *("session.image_age=2", "force.timeout=2"),  # [s] on a busy machine
        "session.signal_age=4",  # [s]: without images there are no signals either, but it is the camera's fault
    )
    witness = Witness(ros, job=job)
    try:
        job.wait(lambda: job.run.status_of("session"), "the session")
        witness.wait(0.0, "phase:running")
        nodes = {name: job.node(name) for name in ("camera", "encoder", "reward", "force")}

        def stands_still(name: str, because: str) -> float:
            """Milliseconds from the stop of a process to the end of the episode."""
            stop, resume = (partial(os.kill, nodes[name], number) for number in (signal.SIGSTOP, signal.SIGCONT))
            return witness.aborted(because, stop, resume)[1]

        lost = stands_still("camera", "camera front lost: its last image is")
        happened = "episode aborted: camera lost (here after session.image_age=2); the next begins when it sends"
        fault_table.add("camera process stands still", happened, lost)
        lost = stands_still("encoder", "the encoder is gone, or too slow")
        happened = "episode aborted: no features (here after session.image_age=2); the next begins when they come"
        fault_table.add("encoder process stands still", happened, lost)
        lost = stands_still("reward", "the judge is silent: its last success-")
        happened = (
            "episode aborted: the judge is silent (here after session.signal_age=4); the next begins when it speaks"
        )
        fault_table.add("reward process stands still", happened, lost)
        _, lost, _ = witness.aborted("force sensor lost: its last wrench is", sender.speaks.clear, sender.speaks.set)
        happened = "episode aborted: force sensor lost (here after force.timeout=2); the next begins when it measures"
        fault_table.add("force sensor falls silent", happened, lost)
        assert job.errors == []
        assert {name: job.node(name) for name in nodes} == nodes

        def kill_all() -> None:
            job.process.send_signal(signal.SIGSTOP)  # or a quick machine would have them back in time
            for pid in nodes.values():
                os.kill(pid, signal.SIGKILL)

        witness.aborted("", kill_all, lambda: job.process.send_signal(signal.SIGCONT))  # whichever is missed first
        for name, pid in nodes.items():
            word = f"{name} ended with status -9; starting it again"
            ros.spin_until(lambda word=word: any(word in line for line in job.errors), PATIENCE)
            assert job.node(name) != pid

        def recorded() -> int:
            return sum(map(len, StoreReader(job.run.evaluation).poll().new))

        steps = recorded()  # the status has those of episodes that are over, and this one may be long
        job.wait(lambda: recorded() > steps, "a step by the new ones")
        steps = recorded()
        job.kill("session")
        assert job.wait_end() == 2
        assert job.errors[-1].startswith("robot-rl: session ended with status -9")
        assert not any("did not end by itself" in line for line in job.errors)
    finally:
        job.stop()

    reader = StoreReader(job.run.evaluation)
    assert reader.schema is not None and reader.schema.force_sensor
    assert sum(map(len, reader.poll().new)) >= steps, "what was recorded before the kill is there"
    assert not list(job.run.evaluation.rglob("*.corrupt"))
    aborted = [info for info in reader.episodes() if info.steps and info.ending is Ending.ABORTED]
    for sensor in ("camera front lost", "the encoder is gone", "the judge is silent", "force sensor lost"):
        assert any(sensor in info.reason for info in aborted)
    assert aborted[0].meta[PREFERENCE] == preferred.digest
    episode = reader.load_episode(aborted[0].index)
    earned = 0.5 / HORIZON * preferred.of(list(columns_to_readings(episode.columns))[1:])
    np.testing.assert_allclose(episode["reward"], earned, rtol=1e-5)
    assert (episode[f"signals/{classifier.signal}"][:-1] < 0.01).all(), "what it said is recorded with every step"
    check_features(episode)
    check_wrench(episode)


def check_features(episode: Episode) -> None:
    np.testing.assert_array_equal(episode["features/front"], Colours().encode(episode.images["front"]))
    assert episode["features/front"][0].std() > 0.01, "of something"


def check_wrench(episode: Episode) -> None:
    mount = ForceConfig(sensor="ati", mount=MOUNT).pose
    clean = np.array(WRENCH) - BIAS
    expected = [at_tcp(clean, mount, Pose(row[:3], row[3:])) for row in episode["pose"]]
    np.testing.assert_allclose(episode["sensed"], expected, atol=1e-6)
    assert np.abs(episode["wrench"] - episode["sensed"]).max() > 1.0, "the arm's own estimate is kept beside it"
