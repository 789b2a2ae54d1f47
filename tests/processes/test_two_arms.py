"""Two simulated arms in one scene and one ROS graph, as a user starts them: a simulator, and an arm node for each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from controllers.ros import topics
from controllers.spatial import Pose
from controllers.state import Mode
from hardware.sim.channel.client import SceneClient
from hardware.sim.fci.server import arm_addresses
from robot_rl.data.reader import StoreReader
from robot_rl.jobs.cli import main
from tests.contracts.arm_contract import distance
from tests.hardware.simulated import unused_address
from tests.processes.job import SMALL, Job
from tests.processes.side import Side
from tests.ros.conftest import Ros

pytestmark = [pytest.mark.job, pytest.mark.timeout(900)]
STILL = 0.002  # [m] that an arm may sink when control ends and it holds itself
LEFT = np.array([0.03, 0.0, 0.03, 0.0, 0.0, 0.0])
RIGHT = np.array([0.0, -0.04, 0.02, 0.0, 0.0, 0.0])


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Addresses of two arms of one running simulator."""
    job = Job(tmp_path / "simulator", "sim", "arms=2")
    addresses = arm_addresses(job.address, 2)
    job.wait(lambda: ", ".join(addresses) in (tmp_path / "simulator" / "stdout").read_text(), "the simulator")
    yield addresses
    job.stop()


@pytest.fixture
def sides(ros: Ros, tmp_path: Path, simulator: tuple[str, str]) -> Iterator[tuple[Side, Side]]:
    left, right = (
        Side(ros, tmp_path, name, address, "simulator=running")
        for name, address in zip(("left", "right"), simulator, strict=True)
    )
    yield left, right
    left.close()
    right.close()


def test_two_arms_move_at_once_and_apart(sides: tuple[Side, Side]) -> None:
    left, right = sides
    for side in sides:
        side.until(lambda side=side: side.pose is not None)
        side.call(topics.START)

    start = {side: side.pose for side in sides}
    goals = {left: start[left].moved(LEFT), right: start[right].moved(RIGHT)}
    for side, goal in goals.items():
        side.target = goal
    left.until(lambda: left.at(goals[left]) and right.at(goals[right]))
    assert not left.at(goals[right]) and not right.at(goals[left])

    right.target = None  # only the left one is commanded
    right.until(lambda: right.mode is Mode.IDLE)
    rests = right.pose
    left.target = start[left]
    left.until(lambda: left.at(start[left]))
    assert distance(right.pose, rests) < STILL

    # A person stops the left arm. The right one does not notice.
    right.call(topics.START)
    right.target = goals[right]
    right.until(lambda: right.mode is Mode.TRACK)
    left.scene.connect()
    left.scene.user_stop(True)
    left.until(lambda: left.mode is Mode.STOPPED)
    right.target = start[right]
    right.until(lambda: right.at(start[right]))
    assert (left.mode, right.mode) == (Mode.STOPPED, Mode.TRACK)

    stopped = left.pose
    left.target = None
    left.scene.user_stop(False)
    left.call(topics.ERROR_RECOVERY)
    left.call(topics.START)
    assert distance(left.pose, stopped) < STILL, "it goes to no target of before"
    left.target = goals[left]
    left.until(lambda: left.at(goals[left]) and right.at(start[right]))


def test_each_arm_has_its_own_copy_of_the_task(simulator: tuple[str, str]) -> None:
    left, right = (SceneClient(address) for address in simulator)
    with left, right:
        before = right.objects()["goal"]
        wanted = Pose(np.array([0.45, 0.1, 0.2]), np.array([0.0, 0.0, 0.0, 1.0]))
        left.place({"goal": wanted})
        np.testing.assert_allclose(left.objects()["goal"].difference(wanted), 0.0, atol=1e-9)
        np.testing.assert_allclose(right.objects()["goal"].difference(before), 0.0, atol=1e-9)
        np.testing.assert_allclose(left.state().q, right.state().q, atol=0.01)


def test_an_arm_under_crisp_is_one_more_arm(ros: Ros, tmp_path: Path) -> None:
    """A job with arm=crisp drives what another job serves by CRISP's topics."""
    with contextlib.ExitStack() as cleanup:
        served = Side(ros, tmp_path, "robot", unused_address())
        cleanup.callback(served.close)
        served.until(lambda: served.pose is not None)
        most = ("controller.hold_after=1", "controller.damp_after=5")  # of what counts as a real arm
        driver = Side(ros, tmp_path, "rl", served.job.address, "arm=crisp", "crisp.namespace=robot", *most)
        cleanup.callback(driver.close)
        driver.until(lambda: driver.pose is not None)
        served.call(topics.START)
        driver.call(topics.START)
        goal = driver.pose.moved(RIGHT)
        driver.target = goal

        def is_in(mode: Mode) -> bool:
            """Whether the driver is; a served arm that a busy machine had it take for lost is found again."""
            if driver.mode is Mode.FAULT:
                driver.call(topics.ERROR_RECOVERY)
                if driver.target is not None:
                    driver.call(topics.START)
            return driver.mode is mode

        served.until(lambda: is_in(Mode.TRACK) and served.mode is Mode.TRACK and served.at(goal) and driver.at(goal))
        driver.target = None
        driver.until(lambda: is_in(Mode.IDLE))
        assert driver.at(goal)


@pytest.mark.slow  # two whole jobs at once; half a minute of two cores
def test_two_arms_learn_by_one_learner(tmp_path: Path, simulator: tuple[str, str]) -> None:
    """The left one's, which learns from the steps of both; the right arm acts by what it publishes."""
    assert main(["record", "--fast", "--task", "reach", "--run", str(tmp_path / "left"), "demos=2"]) == 0
    common = ["simulator=running", "steps=100000", *SMALL]
    with contextlib.ExitStack() as cleanup:
        left, right = (
            Job(tmp_path / name, "train", f"namespace={name}", *common, *settings, address=address)
            for name, address, settings in (
                ("left", simulator[0], ["learner.online_stores=../right/online"]),
                ("right", simulator[1], ["learner.shared=left"]),
            )
        )
        cleanup.callback(left.stop)
        cleanup.callback(right.stop)
        acted = StoreReader(right.run.online)

        def versions() -> set[int]:
            return {version for part in acted.poll().new for version in part["version"].tolist()}

        right.wait(lambda: max(versions(), default=-1) > 0, "a step by parameters that the learner has published")
        left.wait(
            lambda: left.run.status_of("learner")["online_steps"] > left.steps > 0, "steps of both to be learnt from"
        )
        assert not (right.run.checkpoints.exists() or right.run.parameters.exists())
        right.wait(lambda: "by the learner of left" in right.output, "the terminal to say so")
