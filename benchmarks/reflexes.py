"""Reflexes of an arm that is driven badly: by the task's script, with large errors that stay for half a second.

Learning curves take hours, this takes minutes; and the script near contacts with such errors collides more often than a
learner does. One JSON line a task, resets included; ``--bound inf`` takes the bound of the impact away.
"""

from __future__ import annotations

import argparse
import dataclasses
import json

import numpy as np

from controllers.core import ControllerConfig
from controllers.state import EventKind
from hardware.interfaces import TeleopCommand
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import Reading
from robot_rl.session.config import SessionConfig
from robot_rl.session.in_process import Rollout
from robot_rl.session.session import Session
from robot_rl.tasks import make_task
from robot_rl.tasks.base import Task, scene_of

ERROR = np.array([0.1, 0.1, 0.1, 0.5, 0.5, 0.5])  # standard deviation of the driver's twist [m/s, rad/s]
CHANGES, JITTER = 0.2, 0.3  # probability that the error is drawn anew in a step; share of it that is so in every one


class BadDriver:
    """The script of ``task``, and errors."""

    def __init__(self, task: Task, seed: int) -> None:
        self._task, self._rng = task, np.random.default_rng(seed)
        self._error = np.zeros(6)

    def __call__(self, reading: Reading) -> TeleopCommand | None:
        command = self._task.expert(reading)
        if command is None:
            return None
        if self._rng.random() < CHANGES:
            self._error = ERROR * self._rng.normal(size=6)
        error = self._error + JITTER * ERROR * self._rng.normal(size=6)
        return dataclasses.replace(command, twist=command.twist + error)


def drive(name: str, minutes: float, bound: float | None, seed: int) -> dict[str, object]:
    """Drive the task ``name`` for ``minutes`` of robot time; ``bound`` of the impact [J], None: the task's."""
    task = make_task(name)
    config = task.bound(ControllerConfig())
    if bound is not None:
        config = dataclasses.replace(config, impact_energy=bound)
    reflexes = episodes = 0
    with InProcessWorld(scene_of(task), config) as world:
        world.start()
        session = Session(task, SessionConfig(ask_policy=False, wait_for_person=True), None, seed)
        rollout = Rollout(session, world, BadDriver(task, seed))
        while world.time < 60.0 * minutes:
            episodes += rollout.step().ended is not None
            reflexes += sum(event.kind is EventKind.REFLEX for event in world.events())
    bounded = config.impact_energy if np.isfinite(config.impact_energy) else None
    figures = {"task": name, "bound": bounded, "minutes": minutes, "episodes": episodes, "reflexes": reflexes}
    return {"benchmark": "reflexes", **figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=["peg_insertion", "peg_search"])
    parser.add_argument("--minutes", type=float, default=4.0, help="of robot time")
    parser.add_argument("--bound", type=float, help="of the impact energy [J]; the task's unless given")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name in arguments.tasks:
        print(json.dumps(drive(name, arguments.minutes, arguments.bound, arguments.seed)), flush=True)


if __name__ == "__main__":
    main()
