"""The pictures of a camera, raw or compressed where they come from another computer, and the features made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from controllers.ros.converters import stamp_to_ns
from hardware.ros.joining import StampJoin
from robot_rl.contract import ContractError, Encoding, View
from robot_rl.perception.images import fit
from robot_rl.perception.watch import PictureWatch
from robot_rl.ros import topics
from robot_rl.ros.converters import grid_from, image_from

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def listen_to_camera(
    node: Node, camera: str, compressed: bool, keep: Callable[[Any], None], qos: QoSProfile | int = 1
) -> Subscription:
    """Call ``keep`` with each sensor_msgs/Image of ``camera``, or each CompressedImage when ``compressed``.

    Compressed pictures are not sent again when they are lost: the next one is as good.
    """
    topic = f"{camera}/color/image_raw"
    if compressed:
        return node.create_subscription(CompressedImage, f"{topic}/compressed", keep, NEWEST)
    return node.create_subscription(Image, topic, keep, qos)


KEPT = 8  # images that wait for their features, and features that wait for their image
IMAGE, GRID = "image", "grid"


class Seen(NamedTuple):
    """An image ``(size, size, 3)`` uint8, and the ``grid`` of its features where there is an encoder."""

    image: np.ndarray
    grid: np.ndarray | None


class CameraTopics:
    """The newest image of camera ``name``, as ``view`` takes it, with its features where there is an encoder.

    Args:
        frozen: [s] for which it may send the same pixels; 0: for ever.
        age: [s] by which it may be older than the arm's state, or later.
        compressed: see `listen_to_camera`.
        encoding: features that belong to the image. An image whose features have not come yet is not seen.
    """

    def __init__(
        self, node: Node, name: str, view: View, age: float, compressed: bool, encoding: Encoding, frozen: float
    ) -> None:
        self.name = name
        self._node, self._view, self._age, self._encoding = node, view, age, encoding
        self._watch, self._trouble = PictureWatch(view, frozen), ""
        self._pictured: int | None = None  # stamp of the newest image
        self._newest: tuple[int, Seen] | None = None
        self._join: StampJoin[np.ndarray] = StampJoin((IMAGE, GRID) if encoding.digest else (IMAGE,), KEPT)
        listen_to_camera(node, name, compressed, self._on_image)
        if encoding.digest:
            node.create_subscription(Image, f"{name}/{topics.FEATURES}", self._on_grid, KEPT)

    def at(self, stamp: int) -> Seen | str:
        """The camera's part of the reading of ``stamp`` [ns]; in words, why there is none."""
        if self._newest is None:
            what = "no features of its images have come yet" if self._pictured else "has not sent an image yet"
            return f"camera {self.name}{':' if self._pictured else ''} {what}"
        captured, seen = self._newest
        late = (stamp - captured) / 1e9
        if late > self._age:
            if self._pictured is not None and (stamp - self._pictured) / 1e9 <= self._age:
                return (
                    f"camera {self.name}: its last features are {late:.2f} s old, its images are not; the encoder is "
                    "gone, or too slow"
                )
            return f"camera {self.name} lost: its last image is {late:.2f} s old"
        if -late > self._age:
            ahead = f"{-late:.2f} s later than the arm's state"
            return f"camera {self.name}: its last image is stamped {ahead}; are the clocks synchronised?"
        return f"camera {self.name}: {self._trouble}" if self._trouble else seen

    def _on_image(self, message: Any) -> None:
        try:
            picture = image_from(message)
        except ContractError as error:
            self._complain(error)
            return
        self._pictured = stamp_to_ns(message.header.stamp)
        self._trouble = self._watch.look(picture, self._pictured)
        self._put(IMAGE, self._pictured, fit(picture, self._view))

    def _on_grid(self, message: Any) -> None:
        try:
            grid = grid_from(message, self._encoding.shapes[self.name], self._encoding.digest)
        except ContractError as error:
            self._complain(error)
            return
        self._put(GRID, stamp_to_ns(message.header.stamp), grid)

    def _put(self, kind: str, stamp: int, part: np.ndarray) -> None:
        whole = self._join.put(kind, stamp, part)
        if whole is not None:
            self._newest = stamp, Seen(whole[IMAGE], whole.get(GRID))

    def _complain(self, error: ContractError) -> None:
        self._node.get_logger().error(f"camera {self.name}: {error}", throttle_duration_sec=1.0)
