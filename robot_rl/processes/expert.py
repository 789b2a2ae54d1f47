"""The task's scripted expert, driving through the teleoperation topics."""

from __future__ import annotations

import rclpy

from hardware.ros.arm_node import spin
from robot_rl.config import RunConfig
from robot_rl.ros.expert_node import ExpertNode
from robot_rl.run import Run
from robot_rl.tasks import make_task


def main(run: Run, config: RunConfig, job: str) -> int:
    task = make_task(config.task)
    rclpy.init()
    spin(ExpertNode(task, task.scene().objects))
    rclpy.try_shutdown()
    return 0
