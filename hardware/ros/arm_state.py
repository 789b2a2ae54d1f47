"""The state topics of an arm: one measurement on each, all with the same stamp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Pose as PoseMsg
from geometry_msgs.msg import PoseArray, PoseStamped, TwistStamped, WrenchStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState

from controllers.ros import topics
from controllers.ros.converters import fill_pose, fill_vectors, ns_to_stamp
from controllers.spatial import Pose
from hardware.franka.description import Joint
from hardware.franka.hand import FINGER_STROKE
from hardware.interfaces import ArmReading
from hardware.ros.frames import ArmFrames, frame_prefix


class ArmStateTopics:
    """Publishers of ``node``.

    Args:
        node: the arm's.
        gripper: there is one, whose opening is published by itself too.
        objects: names of the objects, in the order in which they are published.
        joints: of the description that is published, with the frames; none when somebody else publishes it.
    """

    def __init__(self, node: Node, gripper: bool, objects: Sequence[str], joints: Sequence[Joint] = ()) -> None:
        self._names = objects
        self._base = frame_prefix(node) + topics.BASE_FRAME
        self._frames = ArmFrames(node, joints) if joints else None
        self._joints = node.create_publisher(JointState, topics.JOINT_STATES, 1)
        self._pose = node.create_publisher(PoseStamped, topics.CURRENT_POSE, 1)
        self._twist = node.create_publisher(TwistStamped, topics.CURRENT_TWIST, 1)
        self._wrench = node.create_publisher(WrenchStamped, topics.EXTERNAL_WRENCH, 1)
        self._reference = node.create_publisher(PoseStamped, topics.REFERENCE_POSE, 1)
        self._status = node.create_publisher(JointState, topics.ARM_STATUS, 1)
        self._fault = node.create_publisher(DiagnosticArray, topics.ARM_FAULT, 1)
        self._objects = node.create_publisher(PoseArray, topics.OBJECTS, 1) if objects else None
        self._opening = node.create_publisher(JointState, topics.CRISP_GRIPPER_STATE, 1) if gripper else None

    def publish(self, reading: ArmReading, opening: float, objects: Mapping[str, Pose], stamp_ns: int) -> None:
        """Publish a measurement made at ``stamp_ns``; ``opening`` of the gripper 0–1, poses in the base frame."""
        state, finger = reading.state, opening * FINGER_STROKE
        joints = JointState(name=[*topics.JOINT_NAMES, *topics.FINGER_NAMES])
        joints.position = [*state.q.tolist(), finger, finger]
        joints.velocity = [*state.dq.tolist(), 0.0, 0.0]
        joints.effort = [*state.tau_J.tolist(), 0.0, 0.0]
        pose, reference, twist, wrench = PoseStamped(), PoseStamped(), TwistStamped(), WrenchStamped()
        fill_pose(reading.pose, pose.pose)
        fill_pose(reading.target, reference.pose)
        fill_vectors(reading.twist, twist.twist.linear, twist.twist.angular)
        fill_vectors(state.wrench, wrench.wrench.force, wrench.wrench.torque)
        health = [reading.tank, float(reading.mode), reading.success_rate, reading.budget, reading.activity]
        status = JointState(name=list(topics.STATUS_NAMES), position=[state.time, *health])
        level = DiagnosticStatus.ERROR if reading.fault else DiagnosticStatus.OK
        fault = DiagnosticArray(status=[DiagnosticStatus(level=level, name="arm", message=reading.fault)])
        stamp = ns_to_stamp(stamp_ns, Time())
        for publisher, message in (
            (self._objects, PoseArray(poses=[fill_pose(objects[name], PoseMsg()) for name in self._names])),
            (self._opening, JointState(name=["gripper"], position=[opening])),
            (self._fault, fault),
            (self._joints, joints),
            (self._pose, pose),
            (self._twist, twist),
            (self._wrench, wrench),
            (self._reference, reference),
            (self._status, status),
        ):
            if publisher is not None:
                message.header.stamp, message.header.frame_id = stamp, self._base
                publisher.publish(message)
        if self._frames is not None:
            self._frames.publish(dict(zip(joints.name, joints.position, strict=True)), stamp_ns)
