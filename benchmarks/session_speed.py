"""How much faster than real time a session runs in process, resets included. One JSON line a task."""

from __future__ import annotations

import argparse
import json
import time

from controllers.core import ControllerConfig
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.session.config import SessionConfig
from robot_rl.session.in_process import Rollout
from robot_rl.session.session import Session
from robot_rl.tasks import TASKS, make_task
from robot_rl.tasks.base import expert_of


def measure(name: str, periods: int) -> dict[str, object]:
    """Run ``periods`` control periods of the task ``name``."""
    task = make_task(name)
    with InProcessWorld(task.scene(), task.bound(ControllerConfig())) as world:
        world.start()
        session = Session(task, SessionConfig(ask_policy=False, wait_for_person=True), None, seed=0)
        rollout = Rollout(session, world, expert_of(task))
        began = time.perf_counter()
        for _ in range(periods):
            rollout.step()
        elapsed = time.perf_counter() - began
    speed = periods * task.control_period / elapsed
    return {"benchmark": "session_speed", "task": name, "times_real_time": round(speed, 2), "periods": periods}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--periods", type=int, default=400, help="control periods to run for each task")
    arguments = parser.parse_args()
    for name in TASKS.builtin:
        print(json.dumps(measure(name, arguments.periods)))


if __name__ == "__main__":
    main()
