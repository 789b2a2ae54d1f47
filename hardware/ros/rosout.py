"""The program's own log on ``/rosout``, so that rqt and bags have it besides the lines of rclpy's loggers."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from rcl_interfaces.msg import Log
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

ROSOUT = "/rosout"
ROSOUT_QOS = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)  # as rcl's own


class RosoutHandler(logging.Handler):
    """Publishes what is logged in the name of ``node``; the terminal and the log file are other handlers'."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node
        self._publisher = node.create_publisher(Log, ROSOUT, ROSOUT_QOS)

    def emit(self, record: logging.LogRecord) -> None:
        message = Log(name=self._node.get_logger().name, msg=record.getMessage())
        message.level = min(record.levelno, logging.CRITICAL)  # the numbers of logging are those of Log
        message.file, message.function, message.line = record.pathname, record.funcName or "", record.lineno
        message.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


@contextlib.contextmanager
def told_on_rosout(node: Node) -> Iterator[None]:
    """Meanwhile all that the program logs is on ``/rosout``, too; ``node`` is not destroyed before."""
    root, handler = logging.getLogger(), RosoutHandler(node)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
