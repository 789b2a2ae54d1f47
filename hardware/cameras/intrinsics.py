"""The pinhole model of a camera."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole camera: image size, focal lengths ``fx, fy`` and principal point ``cx, cy`` [px], and the distortion
    ``(k1, k2, p1, p2, k3)`` of Brown and Conrady ("plumb bob")."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)

    @staticmethod
    def from_fovy(width: int, height: int, fovy: float) -> Intrinsics:
        """Square pixels, centred, with a vertical field of view ``fovy`` [rad]: f = h / (2 tan(fovy / 2))."""
        focal = 0.5 * height / math.tan(0.5 * fovy)
        return Intrinsics(width, height, focal, focal, 0.5 * width, 0.5 * height)
