"""A person with a laptop and no robot records a demonstration of `pick_cube` in the page, with the mouse alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from geometry_msgs.msg import PoseArray, PoseStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from controllers.ros import topics as arm_topics
from controllers.ros.converters import pose_from
from hardware.franka.hand import FINGER_STROKE
from robot_rl.contract import Ending
from robot_rl.data.store import StoreReader
from robot_rl.jobs.commands import page_address
from robot_rl.ros import topics
from robot_rl.tasks import make_task
from tests.browser import Browser, chromium, opened, pixel
from tests.processes.job import Job
from tests.ros.conftest import Ros

pytestmark = [pytest.mark.job, pytest.mark.slow, pytest.mark.timeout(1800)]  # a browser that draws takes both cores
LOGGER = logging.getLogger(__name__)
T = TypeVar("T")
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
GRIP = 0.1  # [m] from the middle of the handle, where its arrows are taken
AIM = 0.006  # [m] from the cube's middle that is near enough to grasp it
LIFTED = 0.11  # [m]
DRAGS, ATTEMPTS = 6, 5
PATIENCE = 60.0  # [s] for what one drag is to do, before the next is tried; never what is measured
HELD = 0.7  # of the stroke: the fingers have closed further than that
DRIVEN = ("ready", "running")  # phases in which the arm follows a person
AT_REST = 0.003  # [m] from where the handle was put
HORIZON = 600  # steps: the browser shares two cores with the job and draws without a graphics card


class Person:
    """Eyes on the arm and the cube, and a hand on the mouse."""

    def __init__(self, ros: Ros, job: Job) -> None:
        self._ros, self._job = ros, job
        self.tcp = self.cube = np.full(3, np.nan)
        self.phase, self.opening = "", 1.0
        self.browser: Browser
        node = ros.node("eyes")
        node.create_subscription(PoseStamped, arm_topics.CURRENT_POSE, self._on_pose, 1)
        node.create_subscription(PoseArray, arm_topics.OBJECTS, self._on_objects, 1)
        node.create_subscription(JointState, arm_topics.JOINT_STATES, self._on_joints, 1)
        node.create_subscription(String, topics.SESSION_PHASE, self._on_phase, LATCHED)

    @property
    def done(self) -> bool:
        """Whether the job has ended."""
        return self._job.process.poll() is not None

    def wait(self, condition: Callable[[], object]) -> None:
        self._ros.spin_until(condition)

    def wait_a_while(self, condition: Callable[[], object]) -> None:
        """As `wait`, and for no longer than anybody has patience with a robot."""
        deadline = time.monotonic() + PATIENCE
        self.wait(lambda: condition() or self.done or time.monotonic() > deadline)

    def do(self, work: Callable[[Any], T]) -> T:
        """The result of ``work(page)``, while messages go on to be heard."""
        future: Future[T] = self.browser.start(work)
        self.wait(future.done)
        return future.result()

    def drag(self, axis: int, distance: float) -> None:
        """Pull the handle's arrow along ``axis`` by ``distance`` [m], and let go when the arm has followed."""
        along = np.eye(3)[axis]
        goal = self.tcp[axis] + distance
        start = self.tcp + GRIP * along
        way = [pixel_of(start + share * distance * along) for share in np.linspace(0.0, 1.0, 8)]

        def pull(page: Any) -> None:
            page.mouse.move(*way[0](page))
            page.mouse.down()
            for place in way:
                page.mouse.move(*place(page))

        self.do(pull)
        self.wait_a_while(lambda: abs(self.tcp[axis] - goal) < AT_REST)
        self.do(lambda page: page.mouse.up())

    def come_over(self) -> None:
        """Bring the open fingers over the cube, then down about it."""
        for axis in (1, 0, 2):
            for _ in range(DRAGS):
                away = self.cube[axis] - self.tcp[axis]
                if abs(away) < AIM or self.phase not in DRIVEN:
                    break
                self.drag(axis, float(away))

    def attempt(self) -> None:
        """Grasp the cube and lift it."""
        self.wait(lambda: self.done or self.phase in DRIVEN)
        if self.done:
            return
        self.come_over()
        self.do(lambda page: page.get_by_role("button", name="Close", exact=True).click())
        self.wait_a_while(lambda: self.opening < HELD)
        self.drag(2, LIFTED)
        self.wait_a_while(lambda: self.phase not in DRIVEN)

    def _on_pose(self, message: PoseStamped) -> None:
        self.tcp = pose_from(message.pose).translation

    def _on_objects(self, message: PoseArray) -> None:
        self.cube = pose_from(message.poses[0]).translation

    def _on_joints(self, message: JointState) -> None:
        self.opening = message.position[7] / FINGER_STROKE

    def _on_phase(self, message: String) -> None:
        self.phase = message.data


def pixel_of(point: np.ndarray) -> Callable[[Any], tuple[float, float]]:
    """Where a page of the task shows ``point (3,)`` [m]."""
    return lambda page: pixel(page, make_task("pick_cube").workspace, point)


def test_a_demonstration_of_pick_cube_is_recorded_in_the_page(tmp_path: Path, ros: Ros) -> None:
    chromium()
    settings = ["source=console", "console.show=always", "console.port=8420", "demos=1"]
    settings += [f"session.horizon={HORIZON}", "session.stall_timeout=10"]
    job = Job(tmp_path / "run", "record", *settings, task="pick_cube")
    person = Person(ros, job)
    try:
        job.wait(lambda: page_address(job.run), "the page's address")
        with opened(str(page_address(job.run))) as arriving:
            person.wait(arriving)
            person.browser = arriving()  # type: ignore[assignment]
            person.wait(lambda: np.isfinite([*person.tcp, *person.cube]).all())
            began = time.monotonic()
            for number in range(ATTEMPTS):
                person.attempt()
                person.wait_a_while(lambda: job.run.status_of("session").get("successes", 0))
                if person.done or job.run.status_of("session").get("successes", 0):
                    break
                LOGGER.warning("attempt %d has failed", number + 1)
                person.do(lambda page: page.get_by_role("button", name="Discard", exact=True).click())
            LOGGER.warning("recorded after %.0f s", time.monotonic() - began)
            person.do(lambda page: page.screenshot(path=str(tmp_path / "page.png")))
        assert job.wait_end() == 0
    finally:
        job.stop()
    (episode,) = [each for each in StoreReader(job.run.demos).episodes() if each.ending is Ending.SUCCESS]
    LOGGER.warning("%d steps", episode.steps)
    assert episode.interventions > 0.5 * episode.steps  # between two drags the arm holds
