"""Observations and action chunks to and from messages. Duck-typed like `controllers.ros.converters`."""

from __future__ import annotations

import array
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from controllers.ros.converters import ns_to_stamp, stamp_to_ns
from hardware.ros.converters import fill_pixels
from robot_rl.contract import PLACE, ActionChunk, ContractError, Field, Observation, Planned


def state_names(fields: Sequence[Field]) -> list[str]:
    """One name for each element of the state vector: ``pose_error[0]``, …"""
    return [f"{f.name}[{i}]" for f in fields for i in range(f.size)]


class Request(NamedTuple):
    """Heading of an observation: number of its ``episode``, ``seq``, and whether an answer is ``asked``."""

    episode: int
    seq: int
    asked: bool


ASKED = "ask"  # how the frame of an observation ends to which an answer is asked


def fill_observation(
    observation: Observation, names: list[str], message: Any, episode: int = 0, asked: bool = True
) -> Any:
    """Observation without images → sensor_msgs/JointState, with a `Request` in words as its frame: ``3 141 ask``."""
    ns_to_stamp(observation.stamp_ns, message.header.stamp)
    message.header.frame_id = f"{episode} {observation.seq}" + (f" {ASKED}" if asked else "")
    message.name = names
    message.position = observation.state.astype(np.float64).tolist()
    return message


def request_from(message: Any) -> Request:
    """The frame of a sensor_msgs/JointState → Request. Raises `ContractError` for another one."""
    words = message.header.frame_id.split()
    if len(words) not in (2, 3) or not all(word.isdecimal() for word in words[:2]) or words[2:] not in ([], [ASKED]):
        raise ContractError(
            f"observation in frame {message.header.frame_id!r}, which has no episode and number, as in '3 141 {ASKED}'"
        )
    return Request(int(words[0]), int(words[1]), len(words) == 3)


def observation_from(
    message: Any, images: Mapping[str, np.ndarray] | None = None, names: Sequence[str] | None = None
) -> Observation:
    """sensor_msgs/JointState → Observation.

    Raises `ContractError` when its frame is none of an observation, or its state is not finite or, where ``names`` are
    given, not of just these elements.
    """
    state = np.asarray(message.position, dtype=np.float32)
    if names is not None and (list(message.name) != list(names) or len(state) != len(names)):
        raise ContractError(
            f"an observation has {len(state)} values by {len(message.name)} names, and not the {len(names)} of this "
            f"task: {', '.join(names)}"
        )
    if not np.isfinite(state).all():
        raise ContractError(f"an observation is not finite: {state}")
    return Observation(stamp_to_ns(message.header.stamp), request_from(message).seq, state, dict(images or {}))


def fill_image(image: np.ndarray, stamp_ns: int, frame: str, message: Any) -> Any:
    """``(H, W, 3)`` uint8 RGB → sensor_msgs/Image."""
    ns_to_stamp(stamp_ns, message.header.stamp)
    message.header.frame_id = frame
    return fill_pixels(image, message)


GRID = re.compile(r"16FC([1-9]\d{0,4})")  # encoding of a grid of features: so many float16 channels


def fill_grid(grid: np.ndarray, stamp_ns: int, digest: str, message: Any) -> Any:
    """``(rows, columns, channels)`` float16 → sensor_msgs/Image in 16FC<channels>; its frame is the ``digest``."""
    ns_to_stamp(stamp_ns, message.header.stamp)
    message.header.frame_id = digest
    message.data = array.array("B", np.ascontiguousarray(grid, "<f2").tobytes())
    message.height, message.width, channels = grid.shape
    message.encoding, message.step = f"16FC{channels}", 2 * channels * message.width
    return message


def grid_from(message: Any, shape: tuple[int, int, int], digest: str) -> np.ndarray:
    """The inverse of `fill_grid`.

    Raises `ContractError` for another encoding, another encoder's grid, one of another ``shape``, torn or not finite.
    """
    found = GRID.fullmatch(message.encoding)
    if found is None:
        raise ContractError(f"features have encoding {message.encoding!r}, not '16FC{shape[2]}'")
    if message.header.frame_id != digest:
        raise ContractError(f"features are of encoder {message.header.frame_id!r}, not {digest!r}")
    size = message.height, message.width, int(found[1])
    if size != shape or len(message.data) != 2 * math.prod(shape):
        raise ContractError(f"features are {size} in {len(message.data)} bytes, not {shape} in {2 * math.prod(shape)}")
    grid = np.frombuffer(message.data, dtype="<f2").reshape(shape)
    if not np.isfinite(grid).all():
        raise ContractError("features are not finite")
    return grid


def image_from(message: Any) -> np.ndarray:
    """sensor_msgs/Image in rgb8, or CompressedImage of one → ``(H, W, 3)`` uint8.

    Raises `ContractError` for other ones, and torn ones.
    """
    if hasattr(message, "format"):
        return _decompressed(message)
    if message.encoding != "rgb8":
        raise ContractError(f"image in frame {message.header.frame_id!r} has encoding {message.encoding!r}, not 'rgb8'")
    if not len(message.data) == 3 * message.height * message.width > 0:
        raise ContractError(
            f"image in frame {message.header.frame_id!r} has {len(message.data)} bytes, which are no rgb8 picture of "
            f"{message.width} × {message.height}"
        )
    return np.frombuffer(message.data, dtype=np.uint8).reshape(message.height, message.width, 3)


def _decompressed(message: Any) -> np.ndarray:
    """sensor_msgs/CompressedImage → ``(H, W, 3)`` uint8 RGB. Raises `ContractError` for what is none."""
    data = np.frombuffer(message.data, dtype=np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise ContractError(
            f"compressed image in frame {message.header.frame_id!r}, {message.format!r}, cannot be read"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def fill_chunk(chunk: ActionChunk, axes: Sequence[str], period: float, point: type, message: Any) -> Any:
    """ActionChunk → trajectory_msgs/JointTrajectory; ``point`` is the class JointTrajectoryPoint.

    ``period`` [s]: between the rows of a chunk that does not say when they are due. Places follow on actions, by the
    names of `PLACE`.
    """
    ns_to_stamp(chunk.stamp_ns, message.header.stamp)
    message.header.frame_id = str(chunk.version)
    message.joint_names = [*axes, *(PLACE if chunk.places is not None else ())]
    rows = chunk.actions.astype(np.float64)
    if chunk.places is not None:
        rows = np.concatenate((rows, chunk.places), axis=1)
    times = np.arange(len(chunk.actions)) * period if chunk.times is None else chunk.times
    for row, time in zip(rows, times, strict=True):
        entry = point(positions=row.tolist())
        ns_to_stamp(round(time * 1e9), entry.time_from_start)
        message.points.append(entry)
    return message


def chunk_from(message: Any, axes: Sequence[str]) -> ActionChunk:
    """trajectory_msgs/JointTrajectory → ActionChunk; a frame that is no number means no version.

    Raises `ContractError` when it drives other axes than ``axes``, a point has not one finite value for each, or there
    are too many points, or their times do not rise.
    """
    names = list(message.joint_names)
    if names not in (list(axes), [*axes, *PLACE]):
        raise ContractError(f"action chunk drives {names}, but this task has the axes {list(axes)}")
    sizes = [len(point.positions) for point in message.points]
    if any(size != len(names) for size in sizes):
        raise ContractError(f"action chunk for {len(names)} axes has points of {sizes} values")
    rows = np.array([point.positions for point in message.points], dtype=np.float64).reshape(len(sizes), len(names))
    places = rows[:, len(axes) :] if len(names) > len(axes) else None
    times = np.array([stamp_to_ns(point.time_from_start) / 1e9 for point in message.points])
    version = int(message.header.frame_id) if message.header.frame_id.lstrip("-").isdecimal() else -1
    return ActionChunk(stamp_to_ns(message.header.stamp), rows[:, : len(axes)], version, times, places)


def fill_planned(planned: Planned, stamp_ns: int, axes: Sequence[str], period: float, point: type, message: Any) -> Any:
    """Planned → trajectory_msgs/JointTrajectory; its frame is the delay. ``point``, ``period``: see `fill_chunk`."""
    ns_to_stamp(stamp_ns, message.header.stamp)
    message.header.frame_id = str(planned.delay)
    message.joint_names = list(axes)
    for index, row in enumerate(planned.actions.astype(np.float64)):
        entry = point(positions=row.tolist())
        ns_to_stamp(round(index * period * 1e9), entry.time_from_start)
        message.points.append(entry)
    return message


def planned_from(message: Any, axes: Sequence[str]) -> Planned:
    """trajectory_msgs/JointTrajectory → Planned.

    Raises `ContractError` when it drives other axes than ``axes``, its frame is no delay, or its values are no plan.
    """
    if list(message.joint_names) != list(axes):
        raise ContractError(f"a plan drives {list(message.joint_names)}, but this task has the axes {list(axes)}")
    if not message.header.frame_id.isdecimal():
        raise ContractError(f"a plan is in frame {message.header.frame_id!r}, which is no delay in control periods")
    sizes = [len(point.positions) for point in message.points]
    if any(size != len(axes) for size in sizes):
        raise ContractError(f"a plan for {len(axes)} axes has points of {sizes} values")
    rows = np.array([point.positions for point in message.points], dtype=np.float32).reshape(len(sizes), len(axes))
    return Planned(rows, int(message.header.frame_id))
