"""CRISP's topics, on a node of their own: `hardware.crisp.driver.CrispTopics` in a ROS graph."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from rclpy.context import Context
from rclpy.experimental import EventsExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import qos_profile_sensor_data
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from controllers.ros import topics
from controllers.ros.converters import fill_pose, fill_vectors, pose_from, stamp_to_ns, vectors_from
from controllers.spatial import Pose, SpatialError
from controllers.state import JOINTS
from hardware.crisp.driver import PERIOD, STATE_TIMEOUT, CrispConfig, CrispState
from hardware.interfaces import ArmFault

NAME = "crisp_driver"
TARGET_WRENCH = "target_wrench"  # geometry_msgs/WrenchStamped
TARGET_STIFFNESS = "target_stiffness"  # std_msgs/Float64MultiArray: x y z, about x y z
WAKE = 0.1  # [s] between looks at whether to end


class RosCrispTopics:
    """A node in CRISP's namespace, spun by a thread of its own, so that targets keep coming whatever else is busy.

    It has its own ROS context: the namespace that this process was started with is not CRISP's. Messages are taken as
    they are published by CRISP: the twist in the axes of its ``frame_id``, which is the tool's unless it is that of the
    pose; targets in the frame of ``current_pose``.
    """

    def __init__(self, config: CrispConfig) -> None:
        self._config = config
        self._node: Node | None = None
        self._lock = threading.Lock()

    def open(self, each: Callable[[float], None]) -> None:
        """Create the node and start its thread."""
        self.close()
        self._each = each
        self._received: dict[str, tuple[Any, float]] = {}
        self._seq = 0
        self._gripper: float | None = None
        self._failure: Exception | None = None
        self._context = Context()
        self._context.init(args=[])
        node = Node(
            NAME,
            context=self._context,
            namespace=self._config.namespace,
            use_global_arguments=False,
            enable_rosout=False,
        )
        self._state_topics = {topics.JOINT_STATES: JointState, topics.CURRENT_POSE: PoseStamped}
        self._state_topics[topics.CURRENT_TWIST] = TwistStamped
        if self._config.wrench_topic:
            self._state_topics[self._config.wrench_topic] = WrenchStamped
        for name, kind in self._state_topics.items():
            node.create_subscription(kind, name, self._keeper(name), qos_profile_sensor_data)
        self._pose = node.create_publisher(PoseStamped, topics.TARGET_POSE, 1)
        self._wrench = node.create_publisher(WrenchStamped, TARGET_WRENCH, 1)
        self._stiffness = node.create_publisher(Float64MultiArray, TARGET_STIFFNESS, 1)
        self._finger: Publisher | None = None
        if self._config.gripper_command:
            self._finger = node.create_publisher(Float64MultiArray, self._config.gripper_command, 1)
            node.create_subscription(JointState, self._config.gripper_state, self._on_gripper, qos_profile_sensor_data)
        node.create_timer(PERIOD, lambda: self._each(time.monotonic()))
        self._closing = threading.Event()
        self._node = node
        self._thread = threading.Thread(target=self._spin, name=NAME, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and the node; safe to call twice."""
        if self._node is None:
            return
        self._closing.set()
        self._thread.join()
        self._node.destroy_node()
        self._context.try_shutdown()
        self._node = None

    def wait(self) -> None:
        """Sleep for one period."""
        time.sleep(PERIOD)

    def state(self) -> CrispState | None:
        """The newest messages together. Raises `ArmFault` when the thread has failed."""
        if self._failure is not None:
            raise ArmFault(f"the thread of CRISP's topics failed: {self._failure!r}") from self._failure
        with self._lock:
            messages = dict(self._received)
            seq = self._seq
        if any(name not in messages for name in self._state_topics):
            return None
        joints: JointState = messages[topics.JOINT_STATES][0]
        pose_message: PoseStamped = messages[topics.CURRENT_POSE][0]
        twist_message: TwistStamped = messages[topics.CURRENT_TWIST][0]
        pose = pose_from(pose_message.pose)
        twist = vectors_from(twist_message.twist.linear, twist_message.twist.angular)
        wrench = np.zeros(6)
        if self._config.wrench_topic:
            message = messages[self._config.wrench_topic][0]
            wrench = vectors_from(message.wrench.force, message.wrench.torque)
            wrench = _to_base(wrench, pose, message, pose_message)
        return CrispState(
            seq,
            stamp_to_ns(joints.header.stamp) / 1e9,
            min(received for _, received in messages.values()),
            *self._joints(joints),
            pose,
            _to_base(twist, pose, twist_message, pose_message),
            wrench,
        )

    def silent(self, now: float) -> tuple[str, ...]:
        """Full names of the topics without a message for `STATE_TIMEOUT` before ``now``."""
        if self._node is None:
            return ()
        with self._lock:
            received = {name: self._received[name][1] for name in self._state_topics if name in self._received}
        late = [n for n in self._state_topics if now - received.get(n, -np.inf) > STATE_TIMEOUT]
        return tuple(self._node.resolve_topic_name(name) for name in late)

    def rivals(self) -> tuple[str, ...]:
        """Others that publish ``target_pose`` or ``target_wrench``: CRISP then follows neither.

        Another driver of ours, of the same name, is one of them.
        """
        if self._node is None:
            return ()
        names: list[str] = []
        for topic in (topics.TARGET_POSE, TARGET_WRENCH):
            full = self._node.resolve_topic_name(topic)
            if self._node.count_publishers(full) > 1:
                publishers = [_name(info) for info in self._node.get_publishers_info_by_topic(full)]
                with contextlib.suppress(ValueError):
                    publishers.remove(self._node.get_fully_qualified_name())  # one, which is this node's own
                names += publishers
        return tuple(dict.fromkeys(names))

    def send_pose(self, pose: Pose) -> None:
        """In the frame in which CRISP publishes the current pose."""
        message = PoseStamped()
        fill_pose(pose, message.pose)
        self._stamp(message)
        self._pose.publish(message)

    def send_wrench(self, wrench: np.ndarray) -> None:
        """As it is: CRISP looks at no frame."""
        message = WrenchStamped()
        fill_vectors(wrench, message.wrench.force, message.wrench.torque)
        self._stamp(message)
        self._wrench.publish(message)

    def send_stiffness(self, stiffness: np.ndarray) -> bool:
        """False when nobody listens."""
        self._stiffness.publish(Float64MultiArray(data=[float(value) for value in stiffness]))
        return bool(self._stiffness.get_subscription_count() > 0)

    def send_gripper(self, position: float) -> None:
        """Nothing without a gripper."""
        if self._finger is not None:
            self._finger.publish(Float64MultiArray(data=[float(position)]))

    def gripper(self) -> float | None:
        """As last received."""
        return self._gripper

    def _spin(self) -> None:
        executor = EventsExecutor(context=self._context)
        executor.add_node(self._node)
        try:
            while not self._closing.is_set():
                executor.spin_once(timeout_sec=WAKE)
        except Exception as error:  # there is nobody above a thread: `state` raises it again
            self._failure = error
        finally:
            executor.shutdown()

    def _keeper(self, name: str) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            if name == topics.JOINT_STATES and not set(self._config.joint_names) <= set(message.name):
                return  # of the gripper, or of another arm on the same topic
            if name == topics.CURRENT_POSE and not _is_pose(message):
                return
            with self._lock:
                self._received[name] = (message, time.monotonic())
                self._seq += name == topics.CURRENT_POSE

        return keep

    def _on_gripper(self, message: JointState) -> None:
        if message.position:
            self._gripper = float(message.position[0])

    def _joints(self, message: JointState) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions, velocities and torques ``(7,)`` in the order of the configuration; 0 where nothing is said."""
        indices = [message.name.index(name) for name in self._config.joint_names]
        columns = []
        for values in (message.position, message.velocity, message.effort):
            column = np.zeros(JOINTS)
            if len(values) == len(message.name):
                column[: len(indices)] = [values[i] for i in indices]
            columns.append(np.where(np.isfinite(column), column, 0.0))  # joint_state_broadcaster says NaN for "none"
        return columns[0], columns[1], columns[2]

    def _stamp(self, message: Any) -> None:
        if self._node is None:
            raise ArmFault("the topics of CRISP are closed")
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.header.frame_id = self._received[topics.CURRENT_POSE][0].header.frame_id


def _name(publisher: TopicEndpointInfo) -> str:
    """Full name of its node, which is discovered a moment later than its publisher."""
    if publisher.node_name == "_NODE_NAME_UNKNOWN_":
        return "a node that has just appeared"
    return f"{publisher.node_namespace.rstrip('/')}/{publisher.node_name}"


def _is_pose(message: PoseStamped) -> bool:
    try:
        pose_from(message.pose)
    except SpatialError:
        return False
    return True


def _to_base(values: np.ndarray, pose: Pose, message: Any, pose_message: PoseStamped) -> np.ndarray:
    """``values (6,)`` in the base axes: turned by ``pose`` unless they are in the frame of the pose already."""
    if message.header.frame_id == pose_message.header.frame_id:
        return values
    return np.concatenate((pose.rotation @ values[:3], pose.rotation @ values[3:]))
