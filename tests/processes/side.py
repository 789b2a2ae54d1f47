"""One arm of several in a ROS graph, as a program that drives it sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from geometry_msgs.msg import PoseStamped
from rclpy.publisher import Publisher
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from controllers.ros import topics
from controllers.ros.converters import fill_pose, pose_from
from controllers.spatial import Pose
from controllers.state import Mode
from hardware.sim.channel.client import SceneClient
from tests.contracts.arm_contract import ACCURACY, distance
from tests.processes.job import PATIENCE, PATIENT, Job
from tests.ros.conftest import Ros

PERIOD = 0.05  # [s] between targets


class Side:
    """One arm of several: its job ``robot-rl arm`` with ``overrides``, and a client of its topics and services.

    Attributes:
        pose, mode, target: measured, what the controller does, and what is commanded until it is None.
    """

    def __init__(self, ros: Ros, folder: Path, namespace: str, address: str, *overrides: str) -> None:
        self._ros = ros
        self.scene = SceneClient(address)
        self.job = Job(folder / namespace, "arm", f"namespace={namespace}", *PATIENT, *overrides, address=address)
        self.pose: Pose | None = None
        self.status: dict[str, float] = {}
        self.target: Pose | None = None
        self._node = node = ros.node(f"client_of_{namespace}")
        node.create_subscription(PoseStamped, f"/{namespace}/{topics.CURRENT_POSE}", self._on_pose, 1)
        node.create_subscription(JointState, f"/{namespace}/{topics.ARM_STATUS}", self._on_status, 1)
        self._publisher: Publisher | None = None  # until something is commanded: one on a topic is enough
        self._topic = f"/{namespace}/{topics.TARGET_POSE}"
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
        if self._publisher is None:
            self._publisher = self._node.create_publisher(PoseStamped, self._topic, 1)
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

        self.until(self._services[service].service_is_ready)
        ask()
        while not answers or not answers[-1].success:
            seen = len(answers)
            self.until(lambda seen=seen: len(answers) > seen)
            if not answers[-1].success:
                ask()

    def until(self, condition: Callable[[], object]) -> None:
        """Run callbacks until ``condition`` holds, while the job goes on."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.job.process.poll() is None, f"the job has ended: {self.job.errors}"
            assert time.monotonic() < deadline, f"waited {PATIENCE:g} s in vain; mode {self.mode}"
            self._ros.spin_times(1)

    def at(self, target: Pose) -> bool:
        return self.pose is not None and distance(self.pose, target) < ACCURACY

    def close(self) -> None:
        self.scene.disconnect()
        self.job.stop()
