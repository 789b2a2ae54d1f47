"""Cameras looked at: their pictures and how they are doing, on a contact sheet."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
from rclpy.node import Node

from hardware.interfaces import CameraError
from robot_rl.contract import View
from robot_rl.perception.contact_sheet import Row, draw_contact_sheet
from robot_rl.perception.meter import CameraReport
from robot_rl.ros.metered_camera import MeteredCamera
from robot_rl.ros.senders import nobody_sends

DRAWN_EVERY, TOLD_EVERY = 1.0, 0.2  # [s]


class SheetNode(Node):
    """Listens to cameras, and hands out the contact sheet once a second and how they are doing five times a second.

    Args:
        cameras: camera → consumer → what it sees of the pictures; one consumer at least.
        draw: called with the sheet ``(h, w, 3)`` uint8 RGB.
        tell: called with how each camera is doing.
        frozen, silence, compressed: see `MeteredCamera`.
        patience: [s] until somebody has to send each camera's pictures; 0: they are waited for.

    Attributes:
        failure: why it cannot go on; None while it can.
    """

    def __init__(
        self,
        cameras: Mapping[str, Mapping[str, View]],
        draw: Callable[[np.ndarray], None],
        tell: Callable[[dict[str, CameraReport]], None],
        frozen: float,
        silence: float,
        compressed: bool = False,
        patience: float = 0.0,
    ) -> None:
        super().__init__("contact_sheet")
        self.failure: CameraError | None = None
        self._seen, self._draw, self._tell = cameras, draw, tell
        self._cameras = [
            MeteredCamera(self, name, next(iter(seen.values())), frozen, silence, compressed)
            for name, seen in cameras.items()
        ]
        self._deadline = time.monotonic() + patience if patience else None
        self.create_timer(DRAWN_EVERY, self._on_draw)
        self.create_timer(TOLD_EVERY, self._on_tell)

    def reports(self) -> dict[str, CameraReport]:
        """How each camera is doing."""
        return {camera.name: camera.report() for camera in self._cameras}

    def sheet(self) -> np.ndarray:
        """The contact sheet as of now ``(h, w, 3)`` uint8 RGB."""
        return draw_contact_sheet(
            [Row(camera.name, camera.picture, camera.report(), self._seen[camera.name]) for camera in self._cameras]
        )

    def _on_draw(self) -> None:
        self._draw(self.sheet())

    def _on_tell(self) -> None:
        self._tell(self.reports())
        if self._deadline is None or time.monotonic() < self._deadline:
            return
        self._deadline = None
        for camera in self._cameras:
            if camera.picture is None and (words := nobody_sends(self, camera.topic, f"camera {camera.name!r}")):
                self.failure = CameraError(words)
                return
