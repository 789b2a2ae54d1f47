"""``robot-rl arm`` for a machine that has to play several computers at once: the same node, around a world in process.

``python -m tests.processes.light_arm OVERRIDE … --ros-args …`` serves it until SIGTERM, as fast as the machine allows
but never ahead of time.
"""

from __future__ import annotations

import sys

from rclpy.utilities import remove_ros_args

from hardware.ros.arm_node import ArmNode
from hardware.ros.runtime import ros, spin
from hardware.ros.served import ServedArm
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.jobs.config import load_config
from robot_rl.jobs.remote import served
from robot_rl.tasks import make_task
from robot_rl.tasks.base import scene_of

STEP = 0.01  # [s]


def main(overrides: list[str]) -> int:
    config = load_config(None, overrides)
    task = make_task(config.task)
    scene = scene_of(task)
    with ros() as stop, InProcessWorld(scene, task.bound(config.controller)) as world:
        node = ArmNode(world, world.gripper, world, scene.objects, period=task.control_period)
        ServedArm(node, served(config, task, "arm").to_json(), world)
        node.create_timer(STEP, lambda: world.advance(STEP))
        spin(node, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main(remove_ros_args(sys.argv)[1:]))
