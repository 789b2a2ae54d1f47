"""An arm node around a world that moves, and nodes that write to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from controllers.core import ControllerConfig
from controllers.lease import Priority
from controllers.ros import topics
from controllers.ros.converters import fill_pose, pose_from
from controllers.spatial import Pose
from hardware.ros.arm_node import ArmNode
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.tasks.reach import Reach

TASK = Reach()
ADVANCE = 0.01  # [s] of robot time in each callback of the timer
EVERY = 0.005  # [s] between callbacks
CONFIG = ControllerConfig(workspace=TASK.workspace, damp_after=1e6)  # a test may think as long as it likes
UP = np.array([0.0, 0.0, 0.03, 0.0, 0.0, 0.0])
DOWN = -UP
PROFILES = {
    "best effort": QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
    "reliable": QoSProfile(depth=1),
    "latched": QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
}


class Bench:
    """An arm node around a world that moves, and everything the node says."""

    def __init__(self, ros: Any, world: InProcessWorld) -> None:
        self.ros, self.world = ros, world
        self.events: list[DiagnosticStatus] = []
        self.status: list[dict[str, float]] = []
        self.faults: list[str] = []
        self.references: list[Pose] = []
        self.diagnostics: list[DiagnosticStatus] = []
        self.home = world.read().pose
        world.start()
        self.arm_node = ArmNode(world, world.gripper)
        ros.add(self.arm_node)
        self.node = ros.node("operator")
        self.node.create_timer(EVERY, lambda: world.advance(ADVANCE))
        for kind, topic, keep in (
            (DiagnosticStatus, topics.ARM_EVENTS, self.events.append),
            (JointState, topics.ARM_STATUS, lambda m: self.status.append(dict(zip(m.name, m.position, strict=True)))),
            (DiagnosticArray, topics.ARM_FAULT, lambda m: self.faults.append(m.status[0].message)),
            (PoseStamped, topics.REFERENCE_POSE, lambda m: self.references.append(pose_from(m.pose))),
            (DiagnosticArray, "/diagnostics", lambda m: self.diagnostics.append(m.status[0])),
        ):
            self.node.create_subscription(kind, topic, keep, 100)
        ros.spin_until(lambda: self.status and self.faults and self.references and self.diagnostics)

    def said(self, kind: str) -> list[str]:
        return [event.message for event in self.events if event.name == kind]

    def count(self, name: str) -> int:
        return int({value.key: value.value for value in self.diagnostics[-1].values}[name])

    def holder(self) -> str:
        return {value.key: value.value for value in self.diagnostics[-1].values}["holder"]

    def height(self) -> float:
        """Of the reference above where the arm started [m]."""
        return float(self.world.read().target.translation[2] - self.home.translation[2])

    def call(self, service: str) -> Trigger.Response:
        client = self.node.create_client(Trigger, service)
        self.ros.spin_until(client.service_is_ready)
        future = client.call_async(Trigger.Request())
        self.ros.spin_until(future.done)
        return future.result()


class Writer:
    """A node that keeps sending one pose target, until told to be silent; each right ``after`` another's, if given."""

    def __init__(
        self,
        bench: Bench,
        name: str,
        offset: np.ndarray,
        priority: Priority = Priority.POLICY,
        after: Writer | None = None,
    ) -> None:
        self.node: Node = bench.ros.node(name)
        self.target = bench.home.moved(offset)
        self.talks = True
        self._publisher = self.node.create_publisher(PoseStamped, topics.TARGET_POSES[priority], 1)
        self._next: Callable[[], None] = lambda: None
        bench.ros.spin_until(self._publisher.get_subscription_count)
        if after is None:
            self.node.create_timer(0.02, self._send)
        else:
            after._next = self._send

    def _send(self) -> None:
        if self.talks:
            self._publisher.publish(pose_message(self.node, self.target))
        self._next()


def _stamp(node: Node) -> Time:
    """Of a minute ahead, so that no busy machine makes the message old."""
    return (node.get_clock().now() + Duration(seconds=60.0)).to_msg()


def pose_message(node: Node, pose: Pose, frame: str = topics.BASE_FRAME) -> PoseStamped:
    message = PoseStamped()
    message.header.stamp, message.header.frame_id = _stamp(node), frame
    fill_pose(pose, message.pose)
    return message


def stream(bench: Bench, topic: str, message: Any) -> Callable[[], None]:
    """Publish ``message`` on ``topic`` with a fresh stamp each time it is called."""
    publisher = bench.node.create_publisher(type(message), topic, 10)
    bench.ros.spin_until(publisher.get_subscription_count)

    def send() -> None:
        if hasattr(message, "header"):
            message.header.stamp = _stamp(bench.node)
        publisher.publish(message)

    return send
