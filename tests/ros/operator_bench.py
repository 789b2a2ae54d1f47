"""A session node on a world that advances by a timer, for the tests of the person's words; also as a process.

``python -m tests.ros.operator_bench FOLDER`` records into FOLDER/store until it is killed; what was answered and
corrected is appended to FOLDER/answers and FOLDER/relabels.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from rclpy.experimental import EventsExecutor
from rclpy.node import Node

from controllers.core import ControllerConfig
from hardware.interfaces import SceneControl
from hardware.ros.arm_node import ArmNode
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import Judge, Relabel, Step
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore
from robot_rl.jobs.progress import past_of
from robot_rl.ros.session_node import SessionNode
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import EpisodeSink, EpisodeSummary
from robot_rl.session.judge import make_judge
from robot_rl.session.operator import Span
from robot_rl.session.session import Session
from robot_rl.tasks.reach import Reach

TASK = Reach()
OBJECTS = TASK.scene().objects
ADVANCE = 0.01  # [s] of robot time in each callback of the timer
EVERY = 0.005  # [s] between callbacks
PATIENT = 10.0  # [s] for an answer, on however busy a machine
CONFIG = SessionConfig(ask_policy=False, teleop_timeout=PATIENT, stall_timeout=PATIENT, doubt_wait=1e6)


def make_world() -> InProcessWorld:
    return InProcessWorld(TASK.scene(), ControllerConfig(workspace=TASK.workspace))


class Operated:
    """Arm, session and world on one executor. Only a person's label, or ``judge``, ends an episode; nobody drives.

    Args:
        add: puts a node on the executor.
        scene: puts the objects in place, given the session's node; None: the world does.
    """

    def __init__(
        self,
        add: Callable[[Node], None],
        world: InProcessWorld,
        sink: EpisodeSink,
        scene: Callable[[Callable[[str], None]], SceneControl] | None = None,
        past: list[Span] | None = None,
        tell: Callable[[str], None] | None = None,
        judge: Judge | None = None,
    ) -> None:
        self.world = world
        self.ended: list[EpisodeSummary] = []
        self.lines: list[str] = []
        self.steps: list[Step] = []
        self.relabels: list[Relabel] = []
        self.session = Session(TASK, CONFIG, sink, 1, judge=judge or make_judge("person", TASK), past=past or ())
        placing = scene(lambda request: self.node.ask(request)) if scene is not None else world
        self.node = SessionNode(
            self.session,
            CONFIG,
            OBJECTS,
            (),
            placing,
            self.ended.append,
            100,
            self.relabels.append,
            tell or self.lines.append,
            on_step=self.steps.append,
        )
        clock = Node("world")
        clock.create_timer(EVERY, lambda: world.advance(ADVANCE))
        for node in (ArmNode(world, world.gripper, world, OBJECTS), self.node, clock):
            add(node)


class NotingStore(EpisodeStore):
    """A store that writes down what it is asked to correct."""

    def relabel(self, relabel: Relabel) -> None:
        with (self.path.parent / "relabels").open("a") as file:
            file.write(f"{relabel.number} {relabel.episode} {relabel.step} {relabel.outcome.ending.value}\n")
        super().relabel(relabel)


def main(folder: Path) -> None:
    def tell(line: str) -> None:
        with (folder / "answers").open("a") as file:
            file.write(f"{line}\n")

    rclpy.init()
    executor: Any = EventsExecutor()
    store = NotingStore.create_or_open(folder / "store", StoreSchema.of(TASK))
    with make_world() as world:
        operated = Operated(executor.add_node, world, store, past=past_of(store), tell=tell)
        while operated:
            executor.spin_once(timeout_sec=0.1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
