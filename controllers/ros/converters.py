"""Poses, twists and wrenches to and from messages. Duck-typed: message classes are arguments, fields are assigned."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from controllers.spatial import Pose

M = TypeVar("M")
NS = 1_000_000_000


def stamp_to_ns(stamp: Any) -> int:
    """builtin_interfaces/Time → nanoseconds."""
    return int(stamp.sec) * NS + int(stamp.nanosec)


def ns_to_stamp(stamp_ns: int, stamp: M) -> M:
    """Nanoseconds → the given builtin_interfaces/Time."""
    stamp.sec, stamp.nanosec = divmod(int(stamp_ns), NS)  # type: ignore[attr-defined]
    return stamp


def fill_pose(pose: Pose, message: M) -> M:
    """Pose → geometry_msgs/Pose."""
    message.position.x, message.position.y, message.position.z = map(float, pose.translation)  # type: ignore[attr-defined]
    q = message.orientation  # type: ignore[attr-defined]
    q.x, q.y, q.z, q.w = map(float, pose.quat_xyzw)
    return message


def pose_from(message: Any) -> Pose:
    """geometry_msgs/Pose → Pose. Raises `SpatialError` on what is not finite or no rotation."""
    p, q = message.position, message.orientation
    return Pose(np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w]))


def fill_vectors(values: np.ndarray, first: Any, second: Any) -> None:
    """``(6,)`` → two geometry_msgs/Vector3 (linear and angular, or force and torque)."""
    first.x, first.y, first.z, second.x, second.y, second.z = map(float, values)


def vectors_from(first: Any, second: Any) -> np.ndarray:
    """Two geometry_msgs/Vector3 → ``(6,)``."""
    return np.array([first.x, first.y, first.z, second.x, second.y, second.z])
