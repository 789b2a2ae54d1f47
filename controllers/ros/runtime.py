"""Starting, spinning and ending rclpy, the same way in every process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.experimental import EventsExecutor
from rclpy.node import Node

WAKE = 0.2  # [s] between looks at whether rclpy was shut down: EventsExecutor.spin() does not notice a signal by itself


@contextlib.contextmanager
def ros() -> Iterator[None]:
    """rclpy, initialised with the process's ROS arguments, and shut down afterwards."""
    rclpy.init()
    try:
        yield
    finally:
        rclpy.try_shutdown()


def spin(node: Node, done: Callable[[], bool] = lambda: False) -> None:
    """Run ``node`` until SIGINT, SIGTERM or ``done``; then destroy it. Exceptions of callbacks come through."""
    executor = EventsExecutor()
    executor.add_node(node)
    try:
        while rclpy.ok() and not done():
            executor.spin_once(timeout_sec=WAKE)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        executor.shutdown()
        node.destroy_node()

