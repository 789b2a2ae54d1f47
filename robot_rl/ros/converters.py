"""Observations and action chunks to and from messages. Duck-typed like `controllers.ros.converters`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from controllers.ros.converters import ns_to_stamp, stamp_to_ns
from hardware.ros.converters import fill_pixels
from robot_rl.contract import ActionChunk, ContractError, Field, Observation


def state_names(fields: Sequence[Field]) -> list[str]:
    """One name for each element of the state vector: ``pose_error[0]``, …"""
    return [f"{f.name}[{i}]" for f in fields for i in range(f.size)]


def fill_observation(observation: Observation, names: list[str], message: Any) -> Any:
    """Observation without images → sensor_msgs/JointState."""
    ns_to_stamp(observation.stamp_ns, message.header.stamp)
    message.header.frame_id = str(observation.seq)
    message.name = names
    message.position = observation.state.astype(np.float64).tolist()
    return message


def observation_from(message: Any, images: Mapping[str, np.ndarray] | None = None) -> Observation:
    """sensor_msgs/JointState → Observation."""
    state = np.asarray(message.position, dtype=np.float32)
    return Observation(stamp_to_ns(message.header.stamp), int(message.header.frame_id), state, dict(images or {}))


def fill_image(image: np.ndarray, stamp_ns: int, frame: str, message: Any) -> Any:
    """``(H, W, 3)`` uint8 RGB → sensor_msgs/Image."""
    ns_to_stamp(stamp_ns, message.header.stamp)
    message.header.frame_id = frame
    return fill_pixels(image, message)


def image_from(message: Any) -> np.ndarray:
    """sensor_msgs/Image in rgb8 → ``(H, W, 3)`` uint8."""
    if message.encoding != "rgb8":
        raise ContractError(f"image in frame {message.header.frame_id!r} has encoding {message.encoding!r}, not 'rgb8'")
    return np.frombuffer(message.data, dtype=np.uint8).reshape(message.height, message.width, 3)


def fill_chunk(chunk: ActionChunk, axes: Sequence[str], period: float, point: type, message: Any) -> Any:
    """ActionChunk → trajectory_msgs/JointTrajectory; ``point`` is the class JointTrajectoryPoint."""
    ns_to_stamp(chunk.stamp_ns, message.header.stamp)
    message.header.frame_id = str(chunk.version)
    message.joint_names = list(axes)
    for index, action in enumerate(chunk.actions):
        entry = point(positions=action.astype(np.float64).tolist())
        ns_to_stamp(round(index * period * 1e9), entry.time_from_start)
        message.points.append(entry)
    return message


def chunk_from(message: Any, axes: Sequence[str]) -> ActionChunk:
    """trajectory_msgs/JointTrajectory → ActionChunk; a frame that is no number means no version.

    Raises `ContractError` when it drives other axes than ``axes``, or a point has not one finite value for each.
    """
    if list(message.joint_names) != list(axes):
        raise ContractError(f"action chunk drives {list(message.joint_names)}, but this task has the axes {list(axes)}")
    sizes = [len(point.positions) for point in message.points]
    if any(size != len(axes) for size in sizes):
        raise ContractError(f"action chunk for {len(axes)} axes has points of {sizes} values")
    actions = np.array([point.positions for point in message.points], dtype=np.float32)
    version = int(message.header.frame_id) if message.header.frame_id.lstrip("-").isdecimal() else -1
    return ActionChunk(stamp_to_ns(message.header.stamp), actions, version)
