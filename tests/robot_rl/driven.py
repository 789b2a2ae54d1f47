"""Episodes that somebody drives through a real session, in process."""

from __future__ import annotations

from controllers.core import ControllerConfig
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import EpisodeSummary
from robot_rl.session.in_process import Rollout, Teleop
from robot_rl.session.session import Session
from robot_rl.tasks.base import Task


def driven_episodes(task: Task, driver: Teleop, count: int, seed: int = 7, horizon: int = 0) -> list[EpisodeSummary]:
    """The first ``count`` episodes of ``seed``, ``horizon`` steps at most, 0 for as many as the task has."""
    with InProcessWorld(task.scene(), task.bound(ControllerConfig())) as world:
        world.start()
        session = Session(task, SessionConfig(ask_policy=False, horizon=horizon), None, seed)
        rollout = Rollout(session, world, driver)
        ended: list[EpisodeSummary] = []
        while len(ended) < count:
            directive = rollout.step()
            if directive.ended is not None:
                ended.append(directive.ended)
    return ended
