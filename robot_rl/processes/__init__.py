"""The processes of the node graph: each module has a ``main(run, config)`` that builds objects and owns clean-up.

``robot-rl node NAME --run DIR`` starts one; `robot_rl.bringup` says which ones a job needs.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path

from hardware.interfaces import HardwareError
from robot_rl.config import ConfigError, RunConfig
from robot_rl.run import Run

NAMES = ("sim", "arm", "camera", "teleop", "expert", "policy", "learner", "session")

SIMULATOR_PATIENCE = 30.0  # [s] for the simulator, started at the same time, to come up


def retry(connect: Callable[[], None], patience: float) -> None:
    """Call ``connect`` until it succeeds; after ``patience`` seconds its `HardwareError` comes through."""
    deadline = time.monotonic() + patience
    while True:
        try:
            connect()
            return
        except HardwareError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def run_process(name: str, root: Path, job: str) -> int:
    """Run the process ``name`` of the run at ``root`` until it ends; returns its exit status."""
    if name not in NAMES:
        raise ConfigError(f"unknown node {name!r}; choose from {', '.join(NAMES)}")
    run, config = Run.open(root)
    main: Callable[[Run, RunConfig, str], int] = importlib.import_module(f"robot_rl.processes.{name}").main
    return main(run, config, job)
