"""``robot-rl arm`` for a machine that has to play several computers at once: the same node, around a world in process.

``python -m tests.processes.light_arm AHEAD OVERRIDE … --ros-args …`` serves it until SIGTERM, as fast as the machine
allows but never ahead of time, on a computer whose clock is AHEAD [s].
"""

from __future__ import annotations

import sys
from typing import Any

from rclpy.clock import Clock
from rclpy.duration import Duration
from rclpy.time import Time
from rclpy.utilities import remove_ros_args

from controllers.ros.converters import NS
from hardware.ros.arm_node import ArmNode
from hardware.ros.runtime import ros, spin
from hardware.ros.served import ServedArm
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.jobs.config import load_config
from robot_rl.jobs.remote import served
from robot_rl.tasks import make_task
from robot_rl.tasks.base import scene_of

STEP = 0.01  # [s]


class Ahead:
    """A clock that is ahead of others."""

    by = Duration()

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> Time:
        return self._clock.now() + self.by


class AheadNode(ArmNode):
    """On a computer with such a clock."""

    def get_clock(self) -> Any:
        return Ahead(super().get_clock())


def main(ahead: float, overrides: list[str]) -> int:
    Ahead.by = Duration(nanoseconds=round(ahead * NS))
    config = load_config(None, overrides)
    task = make_task(config.task)
    scene = scene_of(task)
    with ros() as stop, InProcessWorld(scene, task.bound(config.controller)) as world:
        node = AheadNode(world, world.gripper, world, scene.objects, period=task.control_period)
        ServedArm(node, served(config, task, "arm").to_json(), world)
        node.create_timer(STEP, lambda: world.advance(STEP))
        spin(node, stop)
    return 0


if __name__ == "__main__":
    _, ahead, *overrides = remove_ros_args(sys.argv)
    sys.exit(main(float(ahead), overrides))
