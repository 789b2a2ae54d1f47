"""The processes of the node graph: each module has a ``main(run, config)`` that builds objects and owns clean-up.

``robot-rl node NAME --run DIR`` starts one; `robot_rl.jobs.bringup` says which ones a job needs.

May import: every room.
"""

from __future__ import annotations

import importlib
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hardware.interfaces import HardwareError
from robot_rl.contract.settings import ConfigError
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.interrupt import end_with_parent
from robot_rl.jobs.run import LINK, SIMULATOR, Run

if TYPE_CHECKING:
    from hardware.ros.runtime import Stop

NAMES = (
    "sim",
    "arm",
    "link",
    "camera",
    "force",
    "encoder",
    "reward",
    "teleop",
    "expert",
    "policy",
    "learner",
    "session",
    "teach",
    "survey",
    "sheet",
    "shots",
    "report",
    "console",
)

SIMULATOR_PATIENCE = 120.0  # [s] for the simulator, started at the same time, to come up


def await_simulator(run: Run, config: RunConfig, stop: Stop) -> None:
    """Return when the job's own simulator is up: never connect to what else is at its address.

    Where the arm is a robot, or a simulator that runs already, that is at once.

    Raises:
        HardwareError: it does not come up.
        KeyboardInterrupt: the process was asked to end meanwhile.
    """
    deadline = time.monotonic() + SIMULATOR_PATIENCE
    while config.arm == "sim" and config.simulator == "own" and not run.status_of(SIMULATOR).get("ready"):
        if stop.asked:
            raise KeyboardInterrupt
        if time.monotonic() > deadline:
            raise HardwareError(
                f"the simulator at {config.robot_ip} did not come up within {SIMULATOR_PATIENCE:.0f} s; "
                f"see its log in {run.logs}"
            )
        time.sleep(0.05)


def await_link(run: Run, config: RunConfig, stop: Stop) -> None:
    """Return when the arm of another computer has said what it is; at once where the arm is one of this computer.

    The process `link` says how long that may take. Raises KeyboardInterrupt when this one was asked to end meanwhile.
    """
    while config.remote and not run.status_of(LINK).get("ready"):
        if stop.asked:
            raise KeyboardInterrupt
        time.sleep(0.05)


def kind_of(name: str) -> tuple[str, str]:
    """The kind of the process ``name``, of `NAMES`, and which of several it is: ``camera-front`` is of the camera
    ``front``. "" where there is but one."""
    kind, _, which = name.partition("-")
    return kind, which


def run_process(name: str, root: Path, job: str) -> int:
    """Run the process ``name`` of the run at ``root`` until it ends; returns its exit status."""
    kind, which = kind_of(name)
    if kind not in NAMES:
        raise ConfigError(f"unknown node {name!r}; choose from {', '.join(NAMES)}")
    run, config = Run.open(root)
    end_with_parent()
    main: Callable[..., int] = importlib.import_module(f"robot_rl.jobs.processes.{kind}").main
    status = main(run, config, job, which) if which else main(run, config, job)
    for number in (signal.SIGINT, signal.SIGTERM):  # asked again while it ends: ros2 launch does, after a terminal has
        signal.signal(number, signal.SIG_IGN)
    return status
