"""The pictures of a camera: raw, or compressed where they come from another computer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

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
