"""A session in process with a policy that takes its time, for tests."""

from __future__ import annotations

from collections.abc import Iterator

from controllers.core import ControllerConfig
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import Policy
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import EpisodeSummary
from robot_rl.session.in_process import Rollout, Teleop
from robot_rl.session.session import Session
from robot_rl.tasks.base import Task
from robot_rl.tasks.reach import Reach
from tests.robot_rl.session_bench import Recorded, Sink


class Bench:
    """A session in process that records.

    ``latency`` is as in `Rollout`; who makes one disconnects its ``world``.
    """

    def __init__(
        self,
        latency: float | Iterator[float],
        config: SessionConfig,
        task: Task | None = None,
        person: Teleop | None = None,
    ) -> None:
        self.sink, self.task = Sink(), task if task is not None else Reach()
        self.world = InProcessWorld(self.task.scene(), self.task.bound(ControllerConfig()))
        self.world.connect()
        self.world.start()
        self.session = Session(self.task, config, self.sink, seed=3)
        self.rollout = Rollout(self.session, self.world, person, latency=latency)
        self.ended: list[EpisodeSummary] = []

    def run(self, policy: Policy, episodes: int) -> list[Recorded]:
        while len(self.ended) < episodes:
            directive = self.rollout.step(policy)
            if directive.ended is not None:
                self.ended.append(directive.ended)
        return self.sink
