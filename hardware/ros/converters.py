"""Frames, calibrations and commands to and from messages. Duck-typed like `controllers.ros.converters`."""

from __future__ import annotations

import array
import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from controllers.gains import ImpedanceGains
from controllers.ros import topics
from controllers.ros.converters import NS, fill_vectors, ns_to_stamp
from controllers.spatial import Pose
from hardware.cameras.intrinsics import Intrinsics
from hardware.interfaces import Frame, TeleopCommand

M = TypeVar("M")


def fill_image(frame: Frame, frame_id: str, message: M) -> M:
    """Frame → sensor_msgs/Image, rgb8."""
    return fill_header(frame.stamp, frame_id, fill_pixels(frame.image, message))


def fill_depth(frame: Frame, frame_id: str, message: M) -> M:
    """Depth of a frame that has it → sensor_msgs/Image, 16UC1 [mm]."""
    if frame.depth is None:
        raise ValueError("the frame has no depth")
    message.data = array.array("B", np.ascontiguousarray(frame.depth, "<u2").tobytes())  # type: ignore[attr-defined]
    message.height, message.width = frame.depth.shape  # type: ignore[attr-defined]
    message.encoding, message.step = "16UC1", 2 * message.width  # type: ignore[attr-defined]
    return fill_header(frame.stamp, frame_id, message)


def fill_pixels(image: np.ndarray, message: M) -> M:
    """``(H, W, 3)`` uint8 RGB → sensor_msgs/Image, all but its header."""
    message.data = array.array("B", np.ascontiguousarray(image).tobytes())  # type: ignore[attr-defined]
    message.height, message.width, _ = image.shape  # type: ignore[attr-defined]
    message.encoding, message.step = "rgb8", 3 * message.width  # type: ignore[attr-defined]
    return message


def fill_camera_info(intrinsics: Intrinsics | None, frame: Frame, frame_id: str, message: M) -> M:
    """Calibration → sensor_msgs/CameraInfo of ``frame``; without one, K stays zero, which means "uncalibrated"."""
    message.height, message.width, _ = frame.image.shape  # type: ignore[attr-defined]
    if intrinsics is not None:
        fx, fy, cx, cy = intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy
        message.distortion_model = "plumb_bob"  # type: ignore[attr-defined]
        message.d = [float(c) for c in intrinsics.distortion]  # type: ignore[attr-defined]
        message.k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]  # type: ignore[attr-defined]
        message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]  # type: ignore[attr-defined]
        message.p = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]  # type: ignore[attr-defined]
    return fill_header(frame.stamp, frame_id, message)


def fill_header(stamp: float, frame_id: str, message: M) -> M:
    """Stamp [s] and frame → the message's header."""
    ns_to_stamp(round(stamp * NS), message.header.stamp)  # type: ignore[attr-defined]
    message.header.frame_id = frame_id  # type: ignore[attr-defined]
    return message


def joy_buttons(command: TeleopCommand) -> list[int]:
    """TeleopCommand → the buttons of sensor_msgs/Joy, in the order of `controllers.ros.topics.JOY_BUTTONS`.

    Words go by `hardware.ros.words`: the buttons for them are for other programs.
    """
    closing = command.gripper is not None and command.gripper < 0.5
    opening = command.gripper is not None and not closing
    return [int(closing), int(opening), 0, 0]


def fill_teleop(command: TeleopCommand, stamp: Any, twist: Any, joy: Any) -> None:
    """TeleopCommand → geometry_msgs/TwistStamped, zero unless the person drives, and sensor_msgs/Joy."""
    for message in (twist, joy):
        message.header.stamp, message.header.frame_id = stamp, topics.BASE_FRAME
    fill_vectors(command.twist if command.engaged else np.zeros(6), twist.twist.linear, twist.twist.angular)
    joy.axes, joy.buttons = command.twist.tolist(), joy_buttons(command)


def fill_objects(objects: Mapping[str, Pose], point: type, transform: type, message: M) -> M:
    """Poses by name, in the base frame → trajectory_msgs/MultiDOFJointTrajectory with one point.

    ``point`` and ``transform`` are the classes MultiDOFJointTrajectoryPoint and geometry_msgs/Transform.
    """
    message.header.frame_id = topics.BASE_FRAME  # type: ignore[attr-defined]
    message.joint_names = list(objects)  # type: ignore[attr-defined]
    placed = point()
    for pose in objects.values():
        entry = transform()
        t, q = entry.translation, entry.rotation
        t.x, t.y, t.z = map(float, pose.translation)
        q.x, q.y, q.z, q.w = map(float, pose.quat_xyzw)
        placed.transforms.append(entry)
    message.points.append(placed)  # type: ignore[attr-defined]
    return message


def objects_from(message: Any) -> dict[str, Pose]:
    """trajectory_msgs/MultiDOFJointTrajectory → poses by name. Raises ValueError when it is not one pose for each."""
    if message.header.frame_id not in topics.BASE_FRAMES:
        raise ValueError(f"in frame {message.header.frame_id!r}; only {' and '.join(topics.BASE_FRAMES)} are known")
    if len(message.points) != 1 or len(message.points[0].transforms) != len(message.joint_names):
        raise ValueError(f"it does not give one pose for each of {', '.join(message.joint_names)}")
    poses = {}
    for name, entry in zip(message.joint_names, message.points[0].transforms, strict=True):
        t, q = entry.translation, entry.rotation
        poses[name] = Pose(np.array([t.x, t.y, t.z]), np.array([q.x, q.y, q.z, q.w]))
    return poses


def joints_from(message: Any) -> np.ndarray:
    """sensor_msgs/JointState → joint positions ``(7,)`` [rad] in the order of the arm, other joints left out.

    Names may have the prefix of a namespace (``left_fr3_joint1``). Raises ValueError when one is missing, there twice
    or without a finite position.
    """
    q = np.empty(len(topics.JOINT_NAMES))
    for index, joint in enumerate(topics.JOINT_NAMES):
        places = [i for i, name in enumerate(message.name) if name == joint or name.endswith(f"_{joint}")]
        if len(places) != 1 or places[0] >= len(message.position):
            raise ValueError(f"names {list(message.name)} do not give each of {', '.join(topics.JOINT_NAMES)} once")
        q[index] = message.position[places[0]]
    if not np.isfinite(q).all():
        raise ValueError(f"positions {q.tolist()} are not finite")
    return q


def gains_from(message: Any, gains: ImpedanceGains) -> ImpedanceGains:
    """std_msgs/Float64MultiArray of the six diagonal stiffnesses → ``gains`` with these.

    The damping rises with the root of the stiffness, so that the ratio stays, and never falls below that of ``gains``.
    Raises ValueError when there are not six values, the last three differ, or `ImpedanceGains` refuses them.
    """
    values = [float(value) for value in message.data]
    if len(values) != 6 or len(set(values[3:])) != 1:
        raise ValueError(f"{values}: it takes three stiffnesses in N/m, then three equal ones in N·m/rad")
    K = np.array(values[:4])
    before = np.array([*np.broadcast_to(gains.translational_stiffness, 3), gains.rotational_stiffness])
    D = np.array([*np.broadcast_to(gains.translational_damping, 3), gains.rotational_damping])
    ratio = np.divide(K, before, out=np.ones(4), where=before > 0.0)
    D *= np.sqrt(np.maximum(1.0, ratio))
    return dataclasses.replace(
        gains,
        translational_stiffness=(float(K[0]), float(K[1]), float(K[2])),
        rotational_stiffness=float(K[3]),
        translational_damping=(float(D[0]), float(D[1]), float(D[2])),
        rotational_damping=float(D[3]),
    )
