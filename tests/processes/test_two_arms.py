"""Two simulated arms in one scene and one ROS graph, as a user starts them: a simulator, and an arm node for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from controllers.ros import topics
from controllers.ros.converters import fill_pose, pose_from
from controllers.spatial import Pose
from controllers.state import Mode
from hardware.sim.client import SceneClient
from hardware.sim.server import arm_addresses
from tests.contracts.arm_contract import ACCURACY, distance
from tests.processes.job import Job
from tests.ros.conftest import Ros

pytestmark = pytest.mark.timeout(300)
PERIOD = 0.05  # [s] between targets
STILL = 0.002  # [m] that an arm may sink when control ends and it holds itself
LEFT = np.array([0.03, 0.0, 0.03, 0.0, 0.0, 0.0])
RIGHT = np.array([0.0, -0.04, 0.02, 0.0, 0.0, 0.0])


class Side:
    """One of the arms: its job, and a client of its topics and services."""

    def __init__(self, ros: Ros, folder: Path, namespace: str, address: str) -> None:
        self._ros = ros
        self.scene = SceneClient(address)
        self.job = Job(folder / namespace, "arm", "simulator=running", f"namespace={namespace}", address=address)
        self.pose: Pose | None = None
        self.status: dict[str, float] = {}
        self.target: Pose | None = None
        self._node = node = ros.node(f"client_of_{namespace}")
        node.create_subscription(PoseStamped, f"/{namespace}/{topics.CURRENT_POSE}", self._on_pose, 1)
        node.create_subscription(JointState, f"/{namespace}/{topics.ARM_STATUS}", self._on_status, 1)
        self._publisher = node.create_publisher(PoseStamped, f"/{namespace}/{topics.TARGET_POSE}", 1)
        services = (topics.START, topics.ERROR_RECOVERY)
        self._services = {name: node.create_client(Trigger, f"/{namespace}/{name}") for name in services}
        node.create_timer(PERIOD, self._command)

    @property
    def mode(self) -> Mode | None:
        return Mode(int(self.status["mode"])) if self.status else None

    def _on_pose(self, message: PoseStamped) -> None:
        self.pose = pose_from(message.pose)

    def _on_status(self, message: JointState) -> None:
        self.status = dict(zip(message.name, message.position, strict=True))

    def _command(self) -> None:
        if self.target is None:
            return
        message = PoseStamped()
        message.header.stamp, message.header.frame_id = self._node.get_clock().now().to_msg(), topics.BASE_FRAME
        fill_pose(self.target, message.pose)
        self._publisher.publish(message)

    def call(self, service: str) -> None:
        """Ask until the arm node does it."""
        answers: list[Trigger.Response] = []

        def ask() -> None:
            future = self._services[service].call_async(Trigger.Request())
            future.add_done_callback(lambda done: answers.append(done.result()))

        self._ros.spin_until(self._services[service].service_is_ready)
        ask()
        while not answers or not answers[-1].success:
            seen = len(answers)
            self._ros.spin_until(lambda seen=seen: len(answers) > seen)
            if not answers[-1].success:
                ask()
        assert answers[-1].success

    def at(self, target: Pose) -> bool:
        return self.pose is not None and distance(self.pose, target) < ACCURACY


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
    left, right = (Side(ros, tmp_path, n, a) for n, a in zip(("left", "right"), simulator, strict=True))
    yield left, right
    for side in (left, right):
        side.scene.disconnect()
        side.job.stop()


def test_two_arms_move_at_once_and_apart(ros: Ros, sides: tuple[Side, Side]) -> None:
    left, right = sides
    for side in sides:
        ros.spin_until(lambda side=side: side.pose is not None)
        side.call(topics.START)

    start = {side: side.pose for side in sides}
    goals = {left: start[left].moved(LEFT), right: start[right].moved(RIGHT)}
    for side, goal in goals.items():
        side.target = goal
    ros.spin_until(lambda: left.at(goals[left]) and right.at(goals[right]))
    assert not left.at(goals[right]) and not right.at(goals[left])

    right.target = None  # only the left one is commanded
    ros.spin_until(lambda: right.mode is Mode.IDLE)
    rests = right.pose
    left.target = start[left]
    ros.spin_until(lambda: left.at(start[left]))
    assert distance(right.pose, rests) < STILL

    # A person stops the left arm. The right one does not notice.
    right.call(topics.START)
    right.target = goals[right]
    ros.spin_until(lambda: right.mode is Mode.TRACK)
    left.scene.connect()
    left.scene.user_stop(True)
    ros.spin_until(lambda: left.mode is Mode.STOPPED)
    right.target = start[right]
    ros.spin_until(lambda: right.at(start[right]))
    assert (left.mode, right.mode) == (Mode.STOPPED, Mode.TRACK)

    stopped = left.pose
    left.target = None
    left.scene.user_stop(False)
    left.call(topics.ERROR_RECOVERY)
    left.call(topics.START)
    assert distance(left.pose, stopped) < STILL, "it goes to no target of before"
    left.target = goals[left]
    ros.spin_until(lambda: left.at(goals[left]) and right.at(start[right]))


def test_each_arm_has_its_own_copy_of_the_task(simulator: tuple[str, str]) -> None:
    left, right = (SceneClient(address) for address in simulator)
    with left, right:
        before = right.objects()["goal"]
        wanted = Pose(np.array([0.45, 0.1, 0.2]), np.array([0.0, 0.0, 0.0, 1.0]))
        left.place({"goal": wanted})
        np.testing.assert_allclose(left.objects()["goal"].difference(wanted), 0.0, atol=1e-9)
        np.testing.assert_allclose(right.objects()["goal"].difference(before), 0.0, atol=1e-9)
        np.testing.assert_allclose(left.state().q, right.state().q, atol=0.01)
