"""Colour cameras. `read` hands out the newest frame that has not been read yet, as RGB, with its moment of capture."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from hardware.interfaces import CameraError

if TYPE_CHECKING:
    from hardware.interfaces import Camera

DRIVERS = ("realsense", "opencv")  # that stand for a real device; `hardware.cameras.rendered` needs a scene


def make_camera(
    driver: str,
    name: str,
    device: str = "",
    width: int | None = None,
    height: int | None = None,
    fps: int | None = None,
    exposure: float | None = None,
) -> Camera:
    """The camera called ``name``, not connected.

    Args:
        driver: one of `DRIVERS`.
        name: the camera's name in observations and topics.
        device: serial number (realsense; "" takes the only one), or index or path (opencv; "" is 0).
        width, height: image size [px]; fps: frames a second. None takes the driver's default.
        exposure: exposure time [µs], realsense only; None leaves it to the camera.

    Raises `CameraError` on an unknown driver, when its library is not installed, or for an exposure that it cannot set.
    """
    wanted = {"width": width, "height": height, "fps": fps}
    chosen: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
    match driver:
        case "realsense":
            from hardware.cameras.realsense import RealSenseCamera

            return RealSenseCamera(name, device or None, exposure=exposure, **chosen)
        case "opencv":
            try:
                from hardware.cameras.opencv import OpenCVCamera
            except ImportError as error:
                raise CameraError(f"webcams need OpenCV ({error}): pip install opencv-python-headless") from error

            if exposure is not None:
                raise CameraError(f"camera {name!r}: exposure={exposure:g} is for driver realsense; this one is opencv")
            return OpenCVCamera(name, int(device or 0) if not device or device.isdigit() else device, **chosen)
    near = difflib.get_close_matches(driver, DRIVERS, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise CameraError(f"unknown camera driver {driver!r}; choose from {', '.join(DRIVERS)}{hint}")
