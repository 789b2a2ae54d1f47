"""Frames, calibrations and teleoperation commands to messages. Duck-typed like `controllers.ros.converters`."""

from __future__ import annotations

import array
from typing import TypeVar

import numpy as np

from controllers.ros.converters import NS, ns_to_stamp
from hardware.cameras.intrinsics import Intrinsics
from hardware.interfaces import Frame, TeleopCommand

M = TypeVar("M")


def fill_image(frame: Frame, frame_id: str, message: M) -> M:
    """Frame → sensor_msgs/Image, rgb8."""
    return fill_header(frame.stamp, frame_id, fill_pixels(frame.image, message))


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
    """TeleopCommand → the buttons of sensor_msgs/Joy, in the order of `controllers.ros.topics.JOY_BUTTONS`."""
    closing = command.gripper is not None and command.gripper < 0.5
    opening = command.gripper is not None and not closing
    return [int(closing), int(opening), int(command.success), int(command.failure)]
