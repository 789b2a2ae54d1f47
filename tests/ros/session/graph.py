"""The real nodes of arm and session in one process, around a world that advances by a timer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from hardware.ros.arm_node import ArmNode
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ActionChunk, Judge, Observation, Reading
from robot_rl.data.episode import Episode
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore
from robot_rl.ros import topics
from robot_rl.ros.converters import fill_chunk, observation_from
from robot_rl.ros.session_node import SessionNode
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import EpisodeSummary
from robot_rl.session.session import Session
from robot_rl.tasks.base import Task
from robot_rl.tasks.reach import Reach

TASK = Reach()
OBJECTS = TASK.scene().objects
ADVANCE = 0.01  # [s] of robot time in each callback of the timer
PUBLISHED = 0.02  # [s] of robot time between the arm's messages
EVERY = 0.005  # [s] between callbacks
MAX_DEBT = 200  # updates
PATIENT = 5.0  # [s] for an answer or the arm, on however busy a machine


def patient(**settings: Any) -> SessionConfig:
    """For a session that a busy machine does not make give up."""
    timeouts = dict.fromkeys(("policy_wait", "teleop_timeout", "stall_timeout"), PATIENT)
    return SessionConfig(**timeouts | settings)


class Heard(SessionNode):
    """A session that says how far it has come."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.received = 0.0  # robot time [s] of its latest reading

    def _on_reading(self, reading: Reading) -> None:
        super()._on_reading(reading)
        self.received = reading.robot_time


class Graph:
    """An arm node around a world, and a session node that records.

    Robot time waits for the session to take the arm's messages, and with a patient configuration for the policy's
    answers too, so that a busy machine makes nothing late.
    """

    def __init__(
        self,
        ros: Any,
        world: InProcessWorld,
        folder: Path,
        config: SessionConfig,
        task: Task = TASK,
        awaits_learner: bool = False,
        judge: Judge | None = None,
        advance: float = ADVANCE,
    ) -> None:
        self.ros = ros
        self.world = world
        self.store = EpisodeStore.create_or_open(folder, StoreSchema.of(task, None, task.control_period))
        self.ended: list[EpisodeSummary] = []
        session = Session(task, config, self.store, seed=1, judge=judge)
        self._advances = advance
        self.policy = session.policy
        self.patient = config.policy_wait >= PATIENT
        self.lines: list[str] = []
        self.session = Heard(
            session,
            config,
            OBJECTS,
            (),
            world,
            self.ended.append,
            MAX_DEBT,
            tell=self.lines.append,
            awaits_learner=awaits_learner,
        )
        ros.add(ArmNode(world, world.gripper, world, OBJECTS, period=task.control_period))
        ros.add(self.session)
        self.stands_still = False  # as when the arm's process hangs
        self.awaits: Callable[[], bool] = lambda: False  # whether a message is on its way that robot time waits for
        node = ros.node("world")
        node.create_timer(EVERY, self._advance)

    def _advance(self) -> None:
        waits = self.awaits() or (self.patient and self.policy.waits)
        if not (self.stands_still or waits or 2 * PUBLISHED < self.world.time - self.session.received < 1.0):
            self.world.advance(self._advances)

    def run_episode(self) -> tuple[EpisodeSummary, Episode]:
        """Run until an episode has ended."""
        before = len(self.ended)
        self.ros.spin_until(lambda: len(self.ended) > before)
        return self.ended[-1], self.store.load_episode(self.store.episodes()[-1].index)


def to_goal(observation: Observation) -> ActionChunk:
    """Straight to the goal, whose direction the state begins with."""
    way = observation.state[:3] / TASK.fields[0].scale
    return ActionChunk(observation.stamp_ns, np.clip(way / TASK.action.scale, -1.0, 1.0)[None], version=3)


class Answers:
    """Somebody else's policy, which answers as the test wants."""

    def __init__(self, ros: Any, message: Callable[[Observation], JointTrajectory]) -> None:
        node: Node = ros.node("answers")
        publisher = node.create_publisher(JointTrajectory, topics.ACTION_CHUNK, 1)
        node.create_subscription(
            JointState, topics.OBSERVATION, lambda seen: publisher.publish(message(observation_from(seen))), 1
        )


def chunk_message(chunk: ActionChunk, axes: tuple[str, ...] = TASK.action.axes) -> JointTrajectory:
    return fill_chunk(chunk, axes, TASK.control_period, JointTrajectoryPoint, JointTrajectory())
