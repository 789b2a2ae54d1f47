"""The learner: reads the stores, updates, publishes parameters. Nothing in the control path waits for it."""

from __future__ import annotations

import contextlib
import os
import time

from hardware.ros.runtime import ros
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.run import Run
from robot_rl.jobs.threads import limit_threads
from robot_rl.ros.parameter_node import ParameterNode

IDLE = 0.01  # [s] between looks at the store when no update is due
DEBT_PERIOD = 0.2  # [s] between messages about it
NICENESS = 10  # the simulation and the control path come first


def main(run: Run, config: RunConfig, job: str) -> int:
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    limit_threads(config.learner.threads)
    from robot_rl.jobs.learning import make_learning
    from robot_rl.jobs.training import Trainer

    with ros() as stop:
        node = ParameterNode()
        with stop.at_once():  # nothing that a checkpoint would keep is new before the first update
            trainer = Trainer(run, config, make_learning(run, config), node.publish, node.tell_phase)
            trainer.start()
            trainer.warm_up()
        told = 0.0
        while not stop.asked:
            if not trainer.step():
                time.sleep(IDLE)
            if time.monotonic() - told > DEBT_PERIOD:
                told = time.monotonic()
                node.tell_debt(trainer.debt)
        trainer.finish()
        node.destroy_node()
    return 0
