"""The ROS side of an arm: publishes what the driver reads, hands setpoints to it, offers start, stop and recovery."""

from __future__ import annotations

import time
from collections.abc import Callable

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Pose as PoseMsg
from geometry_msgs.msg import PoseArray, PoseStamped, TwistStamped, WrenchStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from controllers.ros import topics
from controllers.ros.converters import fill_pose, fill_vectors, ns_to_stamp, pose_from, stamp_to_ns
from controllers.spatial import SpatialError
from controllers.state import EventKind, Setpoint
from hardware.interfaces import Arm, ArmReading, Gripper, HardwareError, SceneControl

PUBLISH_PERIOD = 0.02  # [s] of robot time between state messages
POLL_PERIOD = 0.004  # [s] between looks at the driver
SETPOINT_AGE = 0.2  # [s] after which a target in the mail is too old to follow
SETPOINT_DURATION = 0.1  # [s] the reference takes to a new target
WARNINGS = (EventKind.SETPOINT_REJECTED, EventKind.SETPOINT_STALE, EventKind.DAMPING, EventKind.TANK_EMPTY)


class ArmNode(Node):
    """One arm, its gripper and, in the simulator, its scene.

    Args:
        arm: connected driver.
        gripper: connected driver, or None.
        scene: connected scene control whose object poses are published, or None.
        objects: names of the objects, in the order in which they are published.
    """

    def __init__(
        self,
        arm: Arm,
        gripper: Gripper | None = None,
        scene: SceneControl | None = None,
        objects: tuple[str, ...] = (),
    ) -> None:
        super().__init__("arm")
        self._arm, self._gripper, self._scene, self._objects = arm, gripper, scene, objects
        self._seq = 0
        self._due = -1.0
        self._counts = {"setpoints": 0, "stale": 0, "refused": 0}
        self._joints = self.create_publisher(JointState, topics.JOINT_STATES, 1)
        self._pose = self.create_publisher(PoseStamped, topics.CURRENT_POSE, 1)
        self._twist = self.create_publisher(TwistStamped, topics.CURRENT_TWIST, 1)
        self._wrench = self.create_publisher(WrenchStamped, topics.EXTERNAL_WRENCH, 1)
        self._reference = self.create_publisher(PoseStamped, topics.REFERENCE_POSE, 1)
        self._status = self.create_publisher(JointState, topics.ARM_STATUS, 1)
        self._events = self.create_publisher(DiagnosticStatus, topics.ARM_EVENTS, 20)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 5)
        self._poses = self.create_publisher(PoseArray, topics.OBJECTS, 1) if objects else None
        self.create_subscription(PoseStamped, topics.TARGET_POSE, self._on_target, 1)
        self.create_subscription(Float64MultiArray, topics.GRIPPER_COMMAND, self._on_gripper, 1)
        self.create_service(Trigger, topics.START, lambda _, r: self._serve(r, self._arm.start))
        self.create_service(Trigger, topics.STOP, lambda _, r: self._serve(r, self._arm.stop))
        self.create_service(Trigger, topics.ERROR_RECOVERY, lambda _, r: self._serve(r, self._arm.recover))
        self.create_timer(POLL_PERIOD, self._poll)
        self.create_timer(1.0, self._publish_diagnostics)
        self._last: ArmReading | None = None

    def _on_target(self, message: PoseStamped) -> None:
        if message.header.frame_id != topics.BASE_FRAME:
            self._refuse(f"target_pose in frame {message.header.frame_id!r}; only {topics.BASE_FRAME!r} is known")
            return
        age = (self.get_clock().now().nanoseconds - stamp_to_ns(message.header.stamp)) / 1e9
        if age > SETPOINT_AGE:
            self._counts["stale"] += 1
            return
        try:
            pose = pose_from(message.pose)
        except SpatialError as error:
            self._refuse(str(error))
            return
        self._seq += 1
        self._counts["setpoints"] += 1
        self._arm.command(Setpoint(pose, self._seq, SETPOINT_DURATION))

    def _on_gripper(self, message: Float64MultiArray) -> None:
        if self._gripper is None:
            return
        if len(message.data) != 1 or not 0.0 <= message.data[0] <= 1.0:
            self._refuse(f"gripper_command {list(message.data)}; it takes one opening between 0 and 1")
            return
        self._gripper.command(message.data[0])

    def _refuse(self, why: str) -> None:
        self._counts["refused"] += 1
        self.get_logger().error(why)
        self._publish_event(EventKind.SETPOINT_REJECTED, why, 0.0)

    def _serve(self, response: Trigger.Response, action: Callable[[], None]) -> Trigger.Response:
        try:
            action()
            response.success = True
        except HardwareError as error:
            response.success, response.message = False, str(error)
            self.get_logger().error(str(error))
        return response

    def _poll(self) -> None:
        for event in self._arm.events():
            self._publish_event(event.kind, event.detail, event.time)
        reading = self._arm.read()
        if reading.state.time < self._due:
            return
        self._due = (int(reading.state.time / PUBLISH_PERIOD + 1e-6) + 1) * PUBLISH_PERIOD
        age = time.monotonic() - reading.received
        self._publish(reading, self.get_clock().now().nanoseconds - round(age * 1e9))
        self._last = reading

    def _publish(self, reading: ArmReading, stamp_ns: int) -> None:
        stamp = ns_to_stamp(stamp_ns, Time())
        opening = self._gripper.read().width if self._gripper is not None else 0.0
        finger = opening * topics.FINGER_STROKE
        state = reading.state
        joints = JointState(name=[*topics.JOINT_NAMES, *topics.FINGER_NAMES])
        joints.position = [*state.q.tolist(), finger, finger]
        joints.velocity = [*state.dq.tolist(), 0.0, 0.0]
        joints.effort = [*state.tau_J.tolist(), 0.0, 0.0]
        pose, reference, twist, wrench = PoseStamped(), PoseStamped(), TwistStamped(), WrenchStamped()
        fill_pose(reading.pose, pose.pose)
        fill_pose(reading.target, reference.pose)
        fill_vectors(reading.twist, twist.twist.linear, twist.twist.angular)
        fill_vectors(state.wrench, wrench.wrench.force, wrench.wrench.torque)
        status = JointState(name=list(topics.STATUS_NAMES))
        health = [reading.tank, float(reading.mode), reading.success_rate, reading.budget, reading.activity]
        status.position = [state.time, *health]
        if self._poses is not None and self._scene is not None:
            known = self._scene.objects()
            poses = PoseArray(poses=[fill_pose(known[name], PoseMsg()) for name in self._objects])
            poses.header.stamp, poses.header.frame_id = stamp, topics.BASE_FRAME
            self._poses.publish(poses)
        for publisher, message in (
            (self._joints, joints),
            (self._pose, pose),
            (self._twist, twist),
            (self._wrench, wrench),
            (self._reference, reference),
            (self._status, status),
        ):
            message.header.stamp, message.header.frame_id = stamp, topics.BASE_FRAME
            publisher.publish(message)

    def _publish_event(self, kind: EventKind, detail: str, robot_time: float) -> None:
        level = DiagnosticStatus.ERROR if kind is EventKind.REFLEX else DiagnosticStatus.OK
        level = DiagnosticStatus.WARN if kind in WARNINGS else level
        values = [KeyValue(key="robot_time", value=f"{robot_time:.3f}")]
        self._events.publish(DiagnosticStatus(level=level, name=kind.name.lower(), message=detail, values=values))

    def _publish_diagnostics(self) -> None:
        values = {**self._counts, "target_pose publishers": self.count_publishers(topics.TARGET_POSE)}
        status = DiagnosticStatus(level=DiagnosticStatus.OK, name=f"{self.get_namespace()}arm", message="ok")
        if values["target_pose publishers"] > 1:
            status.level = DiagnosticStatus.ERROR
            status.message = "more than one publisher on target_pose: only one may command the arm"
        if self._last is not None:
            values |= {"mode": self._last.mode.name, "tank [J]": f"{self._last.tank:.2f}"}
            values |= {"success_rate": f"{self._last.success_rate:.2f}"}
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)
