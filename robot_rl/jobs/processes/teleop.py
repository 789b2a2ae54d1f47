"""The person's device, on the teleoperation topics."""

from __future__ import annotations

from hardware.ros.runtime import ros
from hardware.ros.teleop_node import run as run_device
from hardware.teleop import make_teleop
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.run import Run


def main(run: Run, config: RunConfig, job: str) -> int:
    device = make_teleop(config.source)
    with ros() as stop:
        run_device(device, stop)
    return 0
