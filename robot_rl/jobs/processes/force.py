"""The force–torque sensor."""

from __future__ import annotations

from hardware.ros.force_node import run as run_force
from hardware.ros.runtime import ros
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.run import Run


def main(run: Run, config: RunConfig, job: str) -> int:
    with ros() as stop:
        run_force(config.force, run.root / config.force.tool if config.force.tool else None, stop)
    return 0
