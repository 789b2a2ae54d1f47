"""An orderly end for nodes that publish from timers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import rclpy
from rclpy.impl.implementation_singleton import rclpy_implementation


@contextlib.contextmanager
def until_shutdown() -> Iterator[None]:
    """A signal ends rclpy in the midst of a callback, whose next publish then fails: that is the end and no error."""
    try:
        yield
    except rclpy_implementation.RCLError:
        if rclpy.ok():
            raise
