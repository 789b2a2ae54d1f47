"""The report of a job that has ended well under ``ros2 launch``; `robot-rl` writes it by itself."""

from __future__ import annotations

import logging
import time

from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.report import write_report
from robot_rl.jobs.run import Run

LOGGER = logging.getLogger(__name__)


def main(run: Run, config: RunConfig, job: str) -> int:
    began = run.status_of("job").get("began", time.time())
    for line in write_report(job, run, config, time.time() - began):
        LOGGER.info("%s", line)
    return 0
