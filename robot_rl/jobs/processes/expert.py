"""The task's scripted expert, driving through the teleoperation topics."""

from __future__ import annotations

from hardware.ros.runtime import ros, spin
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.run import Run
from robot_rl.ros.expert_node import ExpertNode
from robot_rl.tasks import make_task
from robot_rl.tasks.base import scene_of


def main(run: Run, config: RunConfig, job: str) -> int:
    task = make_task(config.task)
    with ros() as stop:
        spin(ExpertNode(task, scene_of(task).objects), stop)
    return 0
