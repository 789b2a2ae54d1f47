"""A camera that is looked at, on its topics: its newest picture, and how it is doing."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from rclpy.node import Node

from controllers.ros.converters import stamp_to_ns
from robot_rl.contract import ContractError, View
from robot_rl.perception.contact_sheet import outlined
from robot_rl.perception.meter import CameraMeter, CameraReport
from robot_rl.ros.camera_topics import NEWEST, listen_to_camera
from robot_rl.ros.converters import image_from


class MeteredCamera:
    """The newest picture of camera ``name``, and how it is doing.

    Args:
        node: that listens.
        view: which its pictures have to be large enough for.
        frozen: see `robot_rl.perception.watch.PictureWatch`.
        silence: [s] without a picture after which it counts as lost.
        compressed: see `listen_to_camera`.

    Attributes:
        picture: the newest ``(h, w, 3)`` uint8 RGB; None before the first.
        subscription: to be destroyed by whoever no longer looks.
    """

    def __init__(self, node: Node, name: str, view: View, frozen: float, silence: float, compressed: bool) -> None:
        self.name = name
        self.picture: np.ndarray | None = None
        self._view = view
        self._clock = node.get_clock()
        self._meter = CameraMeter(view, frozen, silence)
        self.subscription = listen_to_camera(node, name, compressed, self._keep, NEWEST)

    def outlined(self) -> np.ndarray:
        """The newest picture, with the square that the view takes of it drawn in. Raises ValueError without one."""
        if self.picture is None:
            raise ValueError(f"camera {self.name} has no picture yet")
        return outlined(self.picture, [self._view])

    @property
    def topic(self) -> str:
        """Its topic, with the namespace."""
        return str(self.subscription.topic_name)

    def report(self) -> CameraReport:
        return self._meter.report(time.monotonic())

    def _keep(self, message: Any) -> None:
        arrived = time.monotonic()
        try:
            picture = image_from(message)
        except ContractError as error:
            self._meter.refuse(str(error), arrived)
            return
        self.picture = picture
        self._meter.take(picture, stamp_to_ns(message.header.stamp), self._clock.now().nanoseconds, arrived)
