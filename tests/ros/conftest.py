"""A ROS context for one test, and a way to wait for messages. `tests/conftest.py` has chosen the domain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import rclpy
from rclpy.context import Context
from rclpy.experimental import EventsExecutor
from rclpy.node import Node

PATIENCE = 400.0  # [s] before a test gives up waiting; never what it measures


class Ros:
    """Nodes of one test on one executor."""

    def __init__(self, context: Context) -> None:
        self._executor = EventsExecutor(context=context)
        self._nodes: list[Node] = []

    def add(self, node: Node) -> None:
        self._nodes.append(node)
        self._executor.add_node(node)

    def node(self, name: str = "listener") -> Node:
        """A new node on the executor."""
        node = Node(name)
        self.add(node)
        return node

    def spin_until(self, condition: Callable[[], object], patience: float = PATIENCE) -> None:
        """Run callbacks until ``condition`` holds; fails the test when it does not within ``patience`` [s]."""
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"waited {patience:g} s in vain for what the test expects")
            self._executor.spin_once(timeout_sec=0.05)

    def spin_times(self, callbacks: int) -> None:
        """Run a number of callbacks, so that what should not happen has had its chance."""
        for _ in range(callbacks):
            self._executor.spin_once(timeout_sec=0.05)

    def end(self, node: Node) -> None:
        """End a node before the others."""
        self._nodes.remove(node)
        self._executor.remove_node(node)
        task = self._executor.create_task(lambda: None)  # behind what the node has received already
        self.spin_until(task.done)
        node.destroy_node()

    def close(self) -> None:
        self._executor.shutdown()
        for node in self._nodes:
            node.destroy_node()


@pytest.fixture
def ros() -> Iterator[Ros]:
    rclpy.init()
    ros = Ros(rclpy.get_default_context())
    yield ros
    ros.close()
    rclpy.try_shutdown()
