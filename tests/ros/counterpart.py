"""Something that speaks CRISP's topics: our own arm node around a simulated world, spun by a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import rclpy
from rclpy.executors import SingleThreadedExecutor

from hardware.ros.arm_node import ArmNode
from hardware.scene import SceneSpec
from hardware.sim.world.inprocess import InProcessWorld
from tests.contracts.arm_contract import PATIENT

STEP = 0.01  # [s] of robot time in each callback of the timer, which is as often


class Counterpart:
    """A world that advances in real time, and its arm node, until the `with` block ends."""

    def __init__(self, world: InProcessWorld) -> None:
        self.world = world
        self.stands_still = threading.Event()

    def _advance(self) -> None:
        if not self.stands_still.is_set():
            self.world.advance(STEP)


@contextmanager
def counterpart(namespace: str) -> Iterator[Counterpart]:
    """Serve an arm in ``namespace``, under torque control, on the default context."""
    rclpy.init(args=["--ros-args", "-r", f"__ns:=/{namespace}"])
    with InProcessWorld(SceneSpec(), PATIENT) as world:
        served = Counterpart(world)
        world.start()
        node = ArmNode(world, world.gripper)
        node.create_timer(STEP, served._advance)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        thread = threading.Thread(target=executor.spin, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            executor.shutdown()
            thread.join(10.0)
            node.destroy_node()
            rclpy.try_shutdown()
