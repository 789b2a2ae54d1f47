"""The arm's description and its frames, for RViz, Foxglove and whoever asks tf.

``robot_description`` is latched. Frames carry the namespace as their prefix, ``left/fr3_link0``, in the description as
in tf and in the headers of messages, so that several arms fit into one tree. ``tf2_msgs`` is in a ROS 2 installation
and not in the wheels of PyPI; without it there is the description alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from controllers.ros.converters import ns_to_stamp
from controllers.ros.topics import ROBOT_DESCRIPTION, TF, TF_STATIC
from controllers.spatial import Pose
from hardware.franka.description import Joint, urdf

try:
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

TF_DEPTH = 100
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def frame_prefix(node: Node) -> str:
    """The prefix of the frames of ``node``: ``left/`` in the namespace ``/left``, and nothing in none."""
    return f"{node.get_namespace().strip('/')}/".lstrip("/")


def transform(parent: str, child: str, pose: Pose, stamp: Time) -> TransformStamped:
    """The pose of the frame ``child`` in ``parent`` as a message."""
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id, message.header.stamp = parent, stamp
    place, turn = message.transform.translation, message.transform.rotation
    place.x, place.y, place.z = map(float, pose.translation)
    turn.x, turn.y, turn.z, turn.w = map(float, pose.quat_xyzw)
    return message


class StaticFrames:
    """Latched frames that never move: a node says all of its own at once."""

    def __init__(self, node: Node, frames: Iterable[tuple[str, str, Pose]]) -> None:
        """``frames``: (parent, child, pose of the child in the parent), without prefix."""
        prefix, now = frame_prefix(node), node.get_clock().now().to_msg()
        self.transforms = [transform(prefix + parent, prefix + child, pose, now) for parent, child, pose in frames]
        if TFMessage is not None and self.transforms:
            self._publisher = node.create_publisher(TFMessage, TF_STATIC, LATCHED)
            self._publisher.publish(TFMessage(transforms=self.transforms))


class MovingFrame:
    """The frame of a joint that moves, as a message that is filled anew each time: fifty times a second, for nine."""

    def __init__(self, joint: Joint, prefix: str) -> None:
        self.joint = joint
        self.message = transform(prefix + joint.parent, prefix + joint.child, joint.origin, Time())
        self._place = tuple(map(float, joint.origin.translation))
        self._turn = tuple(map(float, joint.origin.quat_xyzw))
        self._along = tuple(map(float, joint.origin.rotation[:, 1]))

    def move(self, position: float, stamp: Time) -> TransformStamped:
        """The message at ``position`` [rad or m]: turned about z of the child, or shifted along its y."""
        self.message.header.stamp = stamp
        if self.joint.kind == "revolute":
            s, c = math.sin(0.5 * position), math.cos(0.5 * position)
            x, y, z, w = self._turn
            turn = self.message.transform.rotation
            turn.x, turn.y, turn.z, turn.w = x * c + y * s, y * c - x * s, z * c + w * s, w * c - z * s
        else:
            place = self.message.transform.translation
            place.x, place.y, place.z = (p + position * a for p, a in zip(self._place, self._along, strict=True))
        return self.message


class ArmFrames:
    """The description of an arm, and its frames as it moves. ``joints``: see `hardware.franka.description`."""

    def __init__(self, node: Node, joints: Sequence[Joint]) -> None:
        prefix = frame_prefix(node)
        self._description = node.create_publisher(String, ROBOT_DESCRIPTION, LATCHED)
        self._description.publish(String(data=urdf(joints, prefix)))
        fixed = [(joint.parent, joint.child, joint.origin) for joint in joints if joint.kind == "fixed"]
        self.fixed = StaticFrames(node, fixed)
        self._moving = [MovingFrame(joint, prefix) for joint in joints if joint.kind != "fixed"]
        self._tf: Any = None
        if TFMessage is not None:
            self._tf = node.create_publisher(TFMessage, TF, TF_DEPTH)
        else:
            node.get_logger().info(f"tf2_msgs is not installed: {ROBOT_DESCRIPTION} is published, {TF} is not")

    def transforms(self, positions: Mapping[str, float], stamp_ns: int) -> list[TransformStamped]:
        """The frames that move, at ``positions`` of the joints [rad or m]; the next call fills the same messages."""
        stamp = ns_to_stamp(stamp_ns, Time())
        return [frame.move(positions[frame.joint.name], stamp) for frame in self._moving]

    def publish(self, positions: Mapping[str, float], stamp_ns: int) -> None:
        """Publish them, where somebody listens."""
        if self._tf is not None and self._tf.get_subscription_count() > 0:
            self._tf.publish(TFMessage(transforms=self.transforms(positions, stamp_ns)))
