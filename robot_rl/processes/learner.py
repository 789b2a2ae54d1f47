"""The learner: reads the stores, updates, publishes parameters. Nothing in the control path waits for it."""

from __future__ import annotations

import contextlib
import os
import time

from controllers.ros.runtime import ros
from robot_rl.config import RunConfig
from robot_rl.ros.parameter_node import ParameterNode
from robot_rl.run import Run

IDLE = 0.01  # [s] between looks at the store when no update is due
NICENESS = 10  # the simulation and the control path come first


def main(run: Run, config: RunConfig, job: str) -> int:
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    limit_threads(config.learner.threads)
    from robot_rl.learner.factory import make_learner
    from robot_rl.training import Trainer

    with ros() as stop:
        node = ParameterNode()
        trainer = Trainer(run, config, make_learner(run, config), node.publish)
        trainer.start(resume=config.resume or run.checkpoints.exists())
        while not stop.asked:
            if not trainer.step():
                time.sleep(IDLE)
        trainer.finish()
        node.destroy_node()
    return 0


def limit_threads(threads: int) -> None:
    """Let XLA use ``threads`` CPU threads; must come before the first import of JAX. 0 leaves it to XLA."""
    if threads > 0:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}".strip()
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
