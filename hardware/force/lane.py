"""The mounting of a force–torque sensor, and its wrench at the TCP in the axes of the base."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controllers.spatial import Pose, exp3

FRAME = "wrist_ft"
NAME = "wrist"


@dataclass(frozen=True)
class ForceConfig:
    """A force–torque sensor on the arm.

    Attributes:
        sensor: of `hardware.force.FORCE_SENSORS`, or ``module:Class``; "": the arm's own estimate of the wrench serves.
        device: see `hardware.force.make_force_sensor`.
        mount: of the sensor in the frame of the TCP: x, y, z of its origin [m], roll, pitch, yaw [degrees], about fixed
            axes.
        tool: file of `robot-rl calibrate tool`, whose weight and bias are taken off; "": nothing is.
        timeout: [s] without a new measurement after which the sensor is silent, and between a wrench and the arm's
            state beyond which they do not belong together.
    """

    sensor: str = ""
    device: str = ""
    mount: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    tool: str = ""
    timeout: float = 0.1

    def __post_init__(self) -> None:
        if len(self.mount) != 6 or not np.isfinite(self.mount).all():
            raise ValueError(
                f"force.mount={list(self.mount)} needs 6 finite numbers: x, y, z [m], roll, pitch, yaw [°]"
            )
        if not 0.0 < self.timeout <= 10.0:
            raise ValueError(f"force.timeout={self.timeout:g} must be above 0 and at most 10 s")
        if not self.sensor and (self.device or self.tool or any(self.mount)):
            raise ValueError("force.device, force.mount and force.tool are of a sensor: name it, e.g. force.sensor=ati")

    @property
    def pose(self) -> Pose:
        """The sensor in the frame of the TCP."""
        about_x, about_y, about_z = (
            exp3(angle * axis) for angle, axis in zip(np.radians(self.mount[3:]), np.eye(3), strict=True)
        )
        return Pose.from_rotation(np.array(self.mount[:3]), about_z @ about_y @ about_x)


def at_tcp(wrench: np.ndarray, mount: Pose, tcp: Pose) -> np.ndarray:
    """``wrench (6,)`` [N, N·m] on a sensor, at its origin in its axes → at the TCP in the axes of the base.

    Args:
        wrench: on the sensor.
        mount: the sensor in the frame of the TCP.
        tcp: the TCP in the base.
    """
    force = mount.rotation @ wrench[:3]
    moment = mount.rotation @ wrench[3:] + np.cross(mount.translation, force)
    return np.concatenate((tcp.rotation @ force, tcp.rotation @ moment))
