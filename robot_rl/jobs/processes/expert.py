"""The task's scripted expert, driving through the teleoperation topics."""

from __future__ import annotations

from hardware.ros.runtime import ros, spin
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.job import job_seed
from robot_rl.jobs.progress import session_config
from robot_rl.jobs.run import Run
from robot_rl.ros.expert_node import ExpertNode
from robot_rl.tasks import make_task
from robot_rl.tasks.base import scene_of
from robot_rl.tasks.experts.person import make_driver


def main(run: Run, config: RunConfig, job: str) -> int:
    task = make_task(config.task)
    with ros() as stop:
        stages = len(session_config(job, config).marked)
        driver = make_driver(task, config.demo_style, job_seed(job, config.seed), stages)
        spin(ExpertNode(driver, scene_of(task).objects), stop)
    return 0
