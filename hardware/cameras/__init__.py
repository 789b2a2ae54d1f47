"""Colour cameras. `read` hands out the newest frame that has not been read yet, as RGB, with its moment of capture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hardware.interfaces import CameraError
from hardware.registry import Registry

if TYPE_CHECKING:
    from hardware.interfaces import Camera

# Drivers of real devices; `hardware.cameras.rendered` needs a scene. Each is called as `make_camera` is, without the
# driver, and with what is given only.
CAMERA_DRIVERS = Registry(
    "camera driver",
    {"realsense": "hardware.cameras.realsense:make_realsense", "opencv": "hardware.cameras.opencv:make_webcam"},
    CameraError,
)


def make_camera(
    driver: str,
    name: str,
    device: str = "",
    width: int | None = None,
    height: int | None = None,
    fps: int | None = None,
    exposure: float | None = None,
    white_balance: float | None = None,
    depth: bool = False,
) -> Camera:
    """The camera called ``name``, not connected.

    Args:
        driver: one of `CAMERA_DRIVERS`.
        name: the camera's name in observations and topics.
        device: serial number (realsense; "" takes the only one), or index or path (opencv; "" is 0).
        width, height: image size [px]; fps: frames a second. None takes the driver's default.
        exposure: exposure time [µs], realsense only; None leaves it to the camera.
        white_balance: colour temperature [K], likewise.
        depth: its frames have depth, realsense only.

    Raises `CameraError` on an unknown driver, when its library is not installed, or for what it cannot set.
    """
    wanted: dict[str, Any] = {"width": width, "height": height, "fps": fps}
    wanted |= {"exposure": exposure, "white_balance": white_balance, "depth": depth or None}
    given: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
    camera: Camera = CAMERA_DRIVERS.load(driver)(name, device, **given)
    return camera
