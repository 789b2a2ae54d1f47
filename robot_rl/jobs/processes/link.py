"""The link to an arm of another computer: nothing of the job begins before that arm answers, and fits."""

from __future__ import annotations

import logging

from hardware.ros.runtime import ros, spin
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.remote import Served, check_fit
from robot_rl.jobs.run import LINK, Run
from robot_rl.ros.link_node import LinkNode

LOGGER = logging.getLogger(__name__)


def main(run: Run, config: RunConfig, job: str) -> int:
    def meet(text: str) -> None:
        served = Served.from_json(text)
        check_fit(served, config, job)
        kind = {"sim": "the simulated arm", "crisp": "an arm under CRISP's controllers"}.get(served.arm, served.arm)
        LOGGER.info("%s serves task %s", kind, served.task)
        run.say(LINK, {"ready": True, "arm": served.arm, "knows_scene": served.knows_scene})

    with ros() as stop:
        spin(LinkNode(config.link, config.peers, meet), stop)
    return 0
