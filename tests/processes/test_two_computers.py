"""The arm on one computer, its session on another: by a network of the test's own that delays and loses frames."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from robot_rl.data.columns import IMAGE
from robot_rl.data.reader import StoreReader
from robot_rl.jobs.cli import main
from tests.fault_table import FaultTable, check_torques, telemetry_of
from tests.hardware.simulated import end
from tests.processes.job import PATIENCE, SMALL, Job
from tests.processes.network import Host, Network, Quality, network, require_network

LOGGER = logging.getLogger(__name__)
pytestmark = [pytest.mark.job, pytest.mark.timeout(900)]
QUALITY = Quality(delay=0.002, jitter=0.001, loss=0.005)
ON_THIS_COMPUTER = "peers=127.0.0.1"
BUSY = ("link.offset_limit=0.2", "link.silence=5")  # on a busy machine an answer may take its time, …
PATIENT = ("controller.hold_after=1", "controller.damp_after=5")  # … and a setpoint, as much as a real arm allows
STEPS = 2400  # after which peg insertion is learnt without a network between, see docs/RESULTS.md
SHORT, SHORT_EVERY = 0.3, 7.0  # [s] of an outage, and from one to the next
STRANGER = """
import time, rclpy
rclpy.init()
node, until = rclpy.create_node("stranger"), time.monotonic() + 6.0
while time.monotonic() < until:
    rclpy.spin_once(node, timeout_sec=0.1)
print(sorted(name for name, _ in node.get_topic_names_and_types()))
"""


@pytest.fixture
def jobs() -> Iterator[contextlib.ExitStack]:
    """Where jobs are registered, to be ended in the opposite order."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def computers(tmp_path: Path) -> Iterator[Network]:
    require_network(tmp_path)
    with network(tmp_path, 3, QUALITY) as joined:
        yield joined


def start(jobs: contextlib.ExitStack, folder: Path, command: str, *overrides: str, host: Host | None = None) -> Job:
    job = Job(folder, command, *overrides, host=host)
    jobs.callback(job.stop)
    return job


def serve(jobs: contextlib.ExitStack, folder: Path, *overrides: str, host: Host | None = None) -> Job:
    """``robot-rl arm`` with a simulated arm."""
    return start(jobs, folder, "arm", *overrides, host=host)


def test_without_an_arm_one_line_says_who_was_waited_for(tmp_path: Path, jobs: contextlib.ExitStack) -> None:
    job = start(jobs, tmp_path / "run", "record", "arm=remote", ON_THIS_COMPUTER, "link.patience=1", "namespace=left")
    assert job.wait_end() == 2
    (line,) = [line for line in job.errors if "no arm answers" in line]
    assert "no arm answers on /left/served_arm and /left/clock/answer of 127.0.0.1, within 1 s" in line


def test_an_arm_with_other_settings_is_not_driven(tmp_path: Path, jobs: contextlib.ExitStack) -> None:
    arm = serve(jobs, tmp_path / "arm", ON_THIS_COMPUTER, "namespace=left")
    law = "controller.gains.rotational_stiffness=40"
    job = start(jobs, tmp_path / "run", "record", "arm=remote", ON_THIS_COMPUTER, "namespace=left", law, *BUSY)
    assert job.wait_end() == 2
    (line,) = [line for line in job.errors if line.startswith("robot-rl: ")]
    assert "settings of the two computers differ: controller.gains.rotational_stiffness=" in line
    assert "sessions at 127.0.0.1" in arm.output
    assert not any("started" in line for line in arm.errors)


def test_no_episode_begins_while_the_clocks_are_apart(tmp_path: Path, jobs: contextlib.ExitStack) -> None:
    light_arm(jobs, "left", None, "127.0.0.1", ahead=1.0)
    remote = ["arm=remote", ON_THIS_COMPUTER, "namespace=left", *PATIENT]
    job = start(jobs, tmp_path / "run", "record", "demos=1", *remote)
    word = "no episode begins: the arm's clock is "
    job.wait(lambda: said(job, word), "the clocks to be compared")
    line = next(line for line in job.errors if word in line)
    assert 900.0 < float(line.partition(word)[2].partition(" ms ahead")[0]) < 1100.0
    assert "link.offset_limit, 20 ms: synchronise them (chrony, PTP)" in line
    assert job.steps == 0
    job.process.send_signal(signal.SIGINT)
    assert job.wait_end() == 130


def test_the_arm_may_be_started_after_its_session_and_again(tmp_path: Path, jobs: contextlib.ExitStack) -> None:
    remote = ["arm=remote", ON_THIS_COMPUTER, "namespace=left", *PATIENT, *BUSY]
    job = start(jobs, tmp_path / "run", "record", "demos=100000", *remote)
    job.wait(lambda: said(job, "no arm answers on /left/served_arm and /left/clock/answer of 127.0.0.1 yet"), "a word")
    for times in range(1, 3):
        arm, steps = light_arm(jobs, "left", None, "127.0.0.1"), job.steps
        job.wait(lambda times=times: said(job, "the simulated arm serves task reach") == times, "the arm to be met")
        job.wait(lambda steps=steps: job.steps > steps, "an episode with it")
        end(arm)
        job.wait(lambda times=times: said(job, "the link to the arm is lost") == times, "it to be missed")
    job.process.send_signal(signal.SIGINT)
    assert job.wait_end() == 130


def test_a_link_that_drops_comes_back_by_itself(
    tmp_path: Path, computers: Network, jobs: contextlib.ExitStack, fault_table: FaultTable
) -> None:
    robot, workstation, elsewhere = computers.hosts
    common = ["cameras=front", "camera_rate=10", "session.image_age=5"]  # a busy machine draws slowly
    arm = serve(jobs, tmp_path / "arm", f"peers={workstation.address}", "cameras=front", "camera_rate=10", host=robot)
    remote = ["arm=remote", f"peers={robot.address}", *common, *BUSY]
    silent = "judge=person"  # who says nothing: an episode runs whenever the link is cut
    job = start(jobs, tmp_path / "run", "record", *remote, silent, host=workstation)
    recorded, parts = StoreReader(job.run.demos), []
    job.wait(lambda: parts or parts.extend(recorded.poll().new), "the first step")
    assert parts[0][f"{IMAGE}front"].std() > 10.0, "a picture, and not a blank one"
    assert any("the simulated arm serves task reach" in line for line in job.errors)

    heard = subprocess.run(
        elsewhere.command(sys.executable, "-c", STRANGER), capture_output=True, text=True, timeout=PATIENCE
    )
    assert heard.stdout.strip() == "['/parameter_events', '/rosout']", heard.stderr

    aborted = job.run.status_of("session")["aborted"]
    recorded.poll()
    job.wait(lambda: recorded.poll().new, "a step, so that an episode runs")
    damped = said(arm, "damping: ")  # as a busy machine may have had it do
    kept = len(list(arm.run.logs.glob("fault-*.npz")))
    computers.bridge.cut(inf)
    cut = time.monotonic()
    job.wait(lambda: job.run.status_of("session")["aborted"] > aborted, "the episode's end")
    job.wait(lambda: said(job, "the link to the arm is lost"), "that the link is lost")
    arm.wait(lambda: said(arm, "damping: ") > damped, "the arm to have damped out")
    what = "episode aborted; the arm holds, then damps out by itself"
    fault_table.add("link between robot PC and workstation cut", what, 1e3 * (time.monotonic() - cut))
    recorded.poll()
    computers.bridge.cut(0.0)
    back = time.monotonic()
    job.wait(lambda: said(job, "the arm's computer is there"), "the link to be back")
    job.wait(lambda: recorded.poll().new, "it to go on by itself")
    took = time.monotonic() - back
    fault_table.add("the same link is back", "next step of the next episode, by itself", 1e3 * took)
    words = [word for line in arm.errors for word in ("setpoint_stale: ", "damping: ") if word in line]
    new = [number for number, word in enumerate(words) if word == "damping: "][damped]
    assert words[:new][-1:] == ["setpoint_stale: "], "it holds before it damps out"
    job.process.send_signal(signal.SIGINT)
    assert job.wait_end() == 130
    assert len(list(arm.run.logs.glob("fault-*.npz"))) > kept, "the arm's last seconds before it damped out are on file"
    check_torques(telemetry_of(arm.run.logs))


def light_arm(
    jobs: contextlib.ExitStack, namespace: str, host: Host | None, session: str, ahead: float = 0.0
) -> subprocess.Popen[bytes]:
    """Serve an arm that needs no more than a part of a core, on ``host`` to sessions at the address ``session``."""
    words = [sys.executable, "-m", "tests.processes.light_arm", str(ahead), "task=reach", f"peers={session}", *PATIENT]
    words += ["--ros-args", "-r", f"__ns:=/{namespace}"]
    words = words if host is None else host.command(*words)
    process = subprocess.Popen(words, env={**os.environ, "ROS_STATIC_PEERS": session})
    jobs.callback(end, process)
    return process


def said(job: Job, what: str) -> int:
    return sum(what in line for line in job.errors)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_peg_insertion_trains_over_a_bad_network(
    tmp_path: Path, computers: Network, jobs: contextlib.ExitStack
) -> None:
    """2400 steps, four minutes of the robot, with an outage of 300 ms every 7 s."""
    robot, workstation, _ = computers.hosts
    folder = tmp_path / "run"
    assert main(["record", "--fast", "--task", "peg_insertion", "--run", str(folder), "demos=20"]) == 0
    task = ("--task", "peg_insertion")  # the later of two counts
    arm = serve(jobs, tmp_path / "arm", *task, f"peers={workstation.address}", host=robot)
    job = start(
        jobs, folder, "train", *task, "arm=remote", f"peers={robot.address}", f"steps={STEPS}", *BUSY, host=workstation
    )
    job.wait(lambda: job.run.status_of("learner").get("phase") == "learning" and job.steps, "the first episode")
    cuts, next_cut = 0, time.monotonic()
    while job.process.poll() is None:
        if time.monotonic() >= next_cut:
            computers.bridge.cut(SHORT)
            cuts, next_cut = cuts + 1, time.monotonic() + SHORT_EVERY
        time.sleep(0.05)
    assert job.wait_end() == 0, job.errors
    session, learner = job.run.status_of("session"), job.run.status_of("learner")
    figures = [line for line in job.errors if "the arm's clock is" in line]
    bridge = computers.bridge
    counts = f"{cuts} outages, {bridge.passed} frames of {bridge.octets} bytes passed on, {bridge.dropped} lost"
    LOGGER.info("%s; %s; %s; held %d times", counts, session, figures, said(arm, "setpoint_stale: "))
    assert cuts >= 3 and bridge.dropped > 0.003 * bridge.passed
    assert session["steps"] >= STEPS and learner["updates"] > 0 and learner["online_steps"] >= STEPS
    assert session["success_rate"] >= 0.8


@pytest.mark.slow
def test_two_robot_computers_feed_the_learner_of_a_workstation(
    tmp_path: Path, computers: Network, jobs: contextlib.ExitStack
) -> None:
    left_computer, right_computer, workstation = computers.hosts
    assert main(["record", "--fast", "--task", "reach", "--run", str(tmp_path / "left"), "demos=2"]) == 0
    for name, host in (("left", left_computer), ("right", right_computer)):
        light_arm(jobs, name, host, workstation.address)
    common = ["arm=remote", f"peers={left_computer.address},{right_computer.address}", "steps=100000", *BUSY, *PATIENT]
    common += SMALL
    left, right = (
        start(jobs, tmp_path / name, "train", f"namespace={name}", *common, setting, host=workstation)
        for name, setting in (("left", "learner.online_stores=../right/online"), ("right", "learner.shared=left"))
    )
    acted = StoreReader(right.run.online)

    def newest() -> int:
        return max((int(part["version"].max()) for part in acted.poll().new if len(part["version"])), default=-1)

    right.wait(lambda: newest() > 0, "a step by parameters that the learner has published")
    left.wait(lambda: left.run.status_of("learner")["online_steps"] > left.steps > 0, "steps of both to be learnt from")
    assert os.path.exists(left.run.parameters) and not right.run.parameters.exists()
