"""A frozen encoder as a node: camera pictures in, features of what the observation has of them out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import Image

from controllers.ros.converters import stamp_to_ns
from robot_rl.contract import ContractError, View
from robot_rl.perception.encoders import Encoder
from robot_rl.perception.images import fit
from robot_rl.ros import topics
from robot_rl.ros.camera_topics import listen_to_camera
from robot_rl.ros.converters import fill_grid, image_from


class EncoderNode(Node):
    """Publishes ``<camera>/features`` with the stamp of each picture that it gets to; of those that wait the newest.

    Args:
        encoder: loaded.
        cameras: whose pictures, and what of them.
        compressed: pictures come as JPEG.
    """

    def __init__(self, encoder: Encoder, cameras: Mapping[str, View], compressed: bool = False) -> None:
        super().__init__("encoder")
        self._encoder = encoder
        self._features = {name: self.create_publisher(Image, f"{name}/{topics.FEATURES}", 1) for name in cameras}
        for name, view in cameras.items():
            listen_to_camera(self, name, compressed, self._encoding(name, view))

    def _encoding(self, camera: str, view: View) -> Callable[[Any], None]:
        def encode(message: Any) -> None:
            try:
                image = fit(image_from(message), view)
            except ContractError as error:
                self.get_logger().error(f"camera {camera}: {error}", throttle_duration_sec=1.0)
                return
            grid = self._encoder.encode(image[None])[0]
            stamp = stamp_to_ns(message.header.stamp)
            self._features[camera].publish(fill_grid(grid, stamp, self._encoder.digest, Image()))

        return encode
