"""A session that waits for its learner, or for the arm's first word."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sensor_msgs.msg import JointState
from std_msgs.msg import Int64, String

from controllers.ros import topics as arm_topics
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore
from robot_rl.ros import session_node, topics
from robot_rl.ros.parameter_node import ParameterNode
from robot_rl.ros.policy_node import PolicyNode
from robot_rl.ros.session_node import LATCHED, SessionNode
from robot_rl.session import silence
from robot_rl.session.config import SessionConfig
from robot_rl.session.errors import SessionError
from robot_rl.session.session import Session
from tests.robot_rl.acting import Decides
from tests.ros.session.graph import MAX_DEBT, OBJECTS, TASK, Graph, patient, to_goal


def test_no_episode_begins_while_the_learner_is_behind(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    debt = MAX_DEBT + 1
    told: list[int] = []
    phases: list[str] = []
    learner, listener = ros.node("slow_learner"), ros.node()
    publisher = learner.create_publisher(Int64, topics.LEARNER_DEBT, 1)

    def tell() -> None:
        publisher.publish(Int64(data=debt))
        told.append(debt)

    learner.create_timer(0.05, tell)
    listener.create_subscription(String, topics.SESSION_PHASE, lambda m: phases.append(m.data), LATCHED)
    ros.spin_until(lambda: told)
    graph(patient())
    ros.add(PolicyNode(TASK, Decides(to_goal), (), None))
    ros.spin_until(lambda: phases and phases[-1] == "ready")
    waited = len(told)
    ros.spin_until(lambda: len(told) > waited + 20)
    assert phases[-1] == "ready"
    debt = MAX_DEBT
    ros.spin_until(lambda: phases[-1] == "running")


def test_of_an_arm_that_is_not_there_the_person_is_told_and_of_half_an_arm_which_half_is_missing(
    ros: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "SILENCE", 0.01)
    store = EpisodeStore.create_or_open(tmp_path, StoreSchema.of(TASK, None, TASK.control_period))
    lines: list[str] = []
    with contextlib.closing(store):
        session = Session(TASK, patient(), store, seed=1)
        ros.add(SessionNode(session, patient(), OBJECTS, (), None, lambda ended: None, MAX_DEBT, tell=lines.append))
        ros.spin_until(lambda: len(lines) > 2)
        assert all("it may still be starting" in line for line in lines)
        publisher = ros.node("half_an_arm").create_publisher(JointState, arm_topics.JOINT_STATES, 1)
        with pytest.raises(
            SessionError, match=r"nothing for .* \(no message on current_pose, .*; on 1 others it has\)"
        ):
            ros.spin_until(lambda: publisher.publish(JointState()))


class Waiting:
    """A session that has come to where its first episode begins, and waits for its learner."""

    def __init__(self, ros: Any, graph: Callable[..., Graph], learner: ParameterNode | None = None) -> None:
        self.ros = ros
        self.phases: list[str] = []
        ros.node().create_subscription(String, topics.SESSION_PHASE, lambda m: self.phases.append(m.data), LATCHED)
        if learner is not None:
            ros.add(learner)
        self.graph = graph(patient(), awaits_learner=True)
        ros.add(PolicyNode(TASK, Decides(to_goal), (), None))
        ros.spin_until(lambda: self.phases and self.phases[-1] == "ready")

    def goes_on(self) -> bool:
        return self.phases[-1] == "running"

    def let_pass(self, seconds: float) -> None:
        """Robot time."""
        until = self.graph.world.time + seconds
        self.ros.spin_until(lambda: self.graph.world.time > until)


def test_the_first_episode_waits_for_the_learners_first_word(ros: Any, graph: Callable[..., Graph]) -> None:
    learner = ParameterNode()
    learner.tell_phase("compiling")
    waiting = Waiting(ros, graph, learner)
    ros.spin_until(lambda: waiting.graph.lines == ["the first episode waits for the learner, which is compiling"])
    waiting.let_pass(2.0)
    for number in range(3):
        learner.tell_phase(f"pretraining {number} of 3")
        waiting.let_pass(0.5)
    assert waiting.phases[-1] == "ready"
    assert len(waiting.graph.lines) == 2 and "pretraining" in waiting.graph.lines[1]
    learner.tell_phase("learning")
    ros.spin_until(waiting.goes_on)


def test_a_learner_that_dies_is_not_waited_for_for_ever_and_one_that_compiles_is(
    ros: Any, graph: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = ParameterNode()
    learner.tell_phase("compiling")
    waiting = Waiting(ros, graph, learner)
    monkeypatch.setattr(session_node, "LEARNER_PATIENCE", 0.0)
    waiting.let_pass(2.0)
    assert waiting.phases[-1] == "ready", "it is there, and may take its time"
    ros.end(learner)
    ros.spin_until(waiting.goes_on)
    assert waiting.graph.lines[-1].startswith("no learner has been there")
