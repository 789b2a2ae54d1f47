"""Policies of other processes: refused, late, slow, at another rate, looking back, renewed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from controllers.ros.converters import stamp_to_ns
from controllers.state import TICK
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ActionChunk, Ending, Observation, Policy
from robot_rl.policies.loading import load_actor
from robot_rl.ros import topics
from robot_rl.ros.converters import fill_observation, request_from, state_names
from robot_rl.ros.parameter_node import ParameterNode
from robot_rl.ros.policy_node import PolicyNode
from robot_rl.ros.session_node import LATCHED
from robot_rl.session.config import SessionConfig
from robot_rl.tasks.reach import Reach
from tests.robot_rl.acting import Decides
from tests.robot_rl.publishing import ACTOR
from tests.robot_rl.publishing import policy as published
from tests.ros.session.graph import EVERY, PUBLISHED, TASK, Answers, Graph, chunk_message, patient, to_goal


def test_a_chunk_with_other_axes_is_refused(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    running = graph(patient(late_limit=0.3))
    Answers(ros, lambda seen: chunk_message(to_goal(seen), ("x", "y", "yaw")))
    ended, episode = running.run_episode()
    assert (ended.ending, ended.steps) == (Ending.ABORTED, 3)
    assert "3 steps in a row" in ended.reason
    assert episode["late"].all()
    assert not episode["action"].any(), "the arm held still"


def test_a_late_chunk_is_counted_and_not_executed(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    def about_the_past(seen: Observation) -> JointTrajectory:
        return chunk_message(ActionChunk(seen.stamp_ns - 1, np.ones((1, 3)), 3))

    running = graph(patient(policy_wait=SessionConfig.policy_wait, late_limit=0.3))
    Answers(ros, about_the_past)
    ended, episode = running.run_episode()
    assert (ended.ending, ended.steps) == (Ending.ABORTED, 3)
    assert running.policy.dropped_answers >= 3
    assert episode["late"].all()
    assert not episode["action"].any()


class SlowAnswers:
    """Somebody else's policy, which answers ``latency`` [s] of robot time after the observation, ``rows`` at a time.

    The action for the episode's k-th control period says k: ``0.01 k`` along x. Robot time waits for messages on their
    way, so that a busy machine makes the policy no slower than it is.
    """

    def __init__(self, ros: Any, running: Graph, latency: float, rows: int) -> None:
        node: Node = ros.node("answers")
        self._publisher = node.create_publisher(JointTrajectory, topics.ACTION_CHUNK, 1)
        self._running, self._rows = running, rows
        self._episode = self._count = -1
        self._due: dict[int, float] = {}  # stamp of an observation that asks → robot time [s] of the answer
        self._ready: dict[int, JointTrajectory] = {}
        policy, look, answer = running.policy, running.policy.look, running.policy.answer

        def noted_look(stamp_ns: int, now: float, person: bool) -> None:
            look(stamp_ns, now, person)
            if policy.wants:
                self._due[stamp_ns] = now + latency

        def noted_answer(chunk: ActionChunk, now: float) -> None:
            answer(chunk, now)
            del self._due[chunk.stamp_ns]

        policy.look, policy.answer = noted_look, noted_answer
        running.awaits = lambda: any(due <= running.world.time for due in self._due.values())
        node.create_subscription(JointState, topics.OBSERVATION, self._on_observation, 50)
        node.create_timer(EVERY, self._answer)

    def _on_observation(self, message: JointState) -> None:
        episode, _, asked = request_from(message)
        self._count = self._count + 1 if episode == self._episode else 0
        self._episode = episode
        if asked:
            actions = np.zeros((self._rows, 3), np.float32)
            actions[:, 0] = 0.01 * (self._count + np.arange(self._rows))
            stamp = stamp_to_ns(message.header.stamp)
            self._ready[stamp] = chunk_message(ActionChunk(stamp, actions, 3))

    def _answer(self) -> None:
        """Answer where the time has come, and the session knows it: it has taken what the arm said last before."""
        time, received = self._running.world.time, self._running.session.received
        for stamp in [stamp for stamp in self._ready if self._due[stamp] <= min(time, received + PUBLISHED - TICK)]:
            self._publisher.publish(self._ready.pop(stamp))


@pytest.mark.parametrize(("latency", "held"), [(0.08, 1), (0.7, 8)])
def test_a_slow_policy_acts_on_time_and_shifts_no_control_period(
    ros: Any, graph: Callable[[SessionConfig], Graph], latency: float, held: int
) -> None:
    running = graph(patient(policy_wait=SessionConfig.policy_wait, horizon=40, chunks="splice"))
    SlowAnswers(ros, running, latency, rows=20)
    for _ in range(2):
        ended, episode = running.run_episode()
        assert (ended.ending, ended.steps) == (Ending.TIMEOUT, 40)
        on_the_grid = 100.0 * np.arange(1, 41)
        np.testing.assert_allclose(np.cumsum(episode["period_ms"]), on_the_grid, atol=2000 * PUBLISHED)
        acted = ~episode["late"]
        planned = 0.01 * np.arange(40)
        np.testing.assert_allclose(episode["policy_action"][acted, 0], planned[acted], atol=1e-6)
        np.testing.assert_allclose(episode["version"], np.where(acted, 3, -1))
        assert np.flatnonzero(~acted).max() < held + 2, "only until the first answer is there"
    assert running.policy.dropped_answers <= 1, "of the first episode's last request"
    assert running.policy.late_actions > 0
    timing = running.session.timing()
    assert timing["late actions"] == running.policy.late_actions


def test_a_policy_is_told_the_plan_that_goes_on_while_it_thinks(
    ros: Any, graph: Callable[[SessionConfig], Graph]
) -> None:
    running = graph(patient(chunks="rtc", horizon=9))
    policy = Decides(lambda seen: ActionChunk(seen.stamp_ns, 0.01 * seen.seq + np.zeros((6, 3)), 3))
    ros.add(PolicyNode(TASK, policy, (), None, planned=True))
    _, episode = running.run_episode()
    stamps = episode["stamp_ns"].tolist()
    asked = [handed[-1] for handed in policy.handed]
    assert [stamps.index(seen.stamp_ns) for seen in asked] == [0, 3, 6]
    plans = [seen.planned for seen in asked]
    assert all(plan is not None and plan.delay == 0 for plan in plans)
    assert [len(plan.actions) for plan in plans if plan is not None] == [0, 3, 3]
    for earlier, plan in zip(asked, plans[1:], strict=False):
        assert plan is not None
        np.testing.assert_allclose(plan.actions, 0.01 * earlier.seq, atol=1e-6)


class FastReach(Reach):
    rate: ClassVar[float] = 20.0
    horizon: ClassVar[int] = 100


def test_a_task_at_20_hz(ros: Any, world: InProcessWorld, tmp_path: Path) -> None:
    task = FastReach()
    running = Graph(ros, world, tmp_path / "store", patient(), task)
    ros.add(PolicyNode(task, Decides(to_goal), (), None))
    ended, episode = running.run_episode()
    running.store.close()
    assert ended.ending is Ending.SUCCESS
    assert ended.duration == pytest.approx(ended.steps * 0.05)
    on_the_grid = 50.0 * np.arange(1, ended.steps + 1)
    np.testing.assert_allclose(np.cumsum(episode["period_ms"]), on_the_grid, atol=2000 * PUBLISHED)
    assert not episode["late"].any()


def test_a_policy_looks_back_and_hears_what_to_do(
    ros: Any, graph: Callable[[SessionConfig], Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reach, "words", lambda task, objects: f"reach {objects['goal'].translation[0]:.4f}")
    running = graph(patient(horizon=9))
    policy = Decides(lambda seen: ActionChunk(seen.stamp_ns, np.zeros((4, 3)), 3), history=3)
    ros.add(PolicyNode(TASK, policy, (), None))
    instructions: list[str] = []
    wanted: list[str] = []
    ros.node().create_subscription(String, topics.INSTRUCTION, lambda m: instructions.append(m.data), LATCHED)
    for number in range(2):
        _, episode = running.run_episode()
        stamps = episode["stamp_ns"].tolist()
        wanted.append(str(episode.info.meta["instruction"]))
        assert wanted[-1] == f"reach {episode.objects['goal'][0, 0]:.4f}", "each episode's own"
        handed = [[seen.stamp_ns for seen in each] for each in policy.handed[3 * number : 3 * number + 3]]
        assert handed == [[stamps[0]] * 3, stamps[2:5], stamps[6:9]], "one a control period, asked or not"
    assert policy.began == wanted and wanted[0] != wanted[1]
    ros.spin_until(lambda: [said for said in instructions if said][:2] == wanted)


def test_a_policy_that_cannot_answer_once_goes_on(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    asked: list[int] = []

    def policy(seen: Observation) -> ActionChunk:
        asked.append(seen.seq)
        way = to_goal(seen).actions
        return ActionChunk(seen.stamp_ns, way * math.nan if len(asked) == 3 else way, 3)

    running = graph(patient(policy_wait=SessionConfig.policy_wait, policy_timeout=0.2))
    ros.add(PolicyNode(TASK, Decides(policy), (), None))
    ended, episode = running.run_episode()
    assert ended.ending is Ending.SUCCESS
    assert episode["late"][2] and episode["version"][2] == -1


def test_new_parameters_act_and_damaged_ones_are_refused(ros: Any) -> None:
    rng = np.random.default_rng(0)
    shapes = {f"{ACTOR}/w0": (TASK.state_size, 4), f"{ACTOR}/w1": (4, 2 * TASK.action.size)}
    params = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    good = published(TASK, 5, params=params)
    observation = Observation(10**9, 1, rng.normal(size=TASK.state_size).astype(np.float32))
    wanted = load_actor(good, TASK, seed=0, deterministic=True).act([observation]).actions

    def load(data: bytes) -> Policy:
        return load_actor(data, TASK, seed=0, deterministic=True)

    chunks: list[JointTrajectory] = []
    node = ros.node()
    asking = node.create_publisher(JointState, topics.OBSERVATION, 1)
    node.create_subscription(JointTrajectory, topics.ACTION_CHUNK, chunks.append, 1)
    learner = ParameterNode()
    ros.add(learner)
    learner.publish(good)  # latched: who comes later hears it
    ros.add(PolicyNode(TASK, Decides(to_goal), (), load))
    message = fill_observation(observation, state_names(TASK.fields), JointState())

    def version() -> str:
        asking.publish(message)
        return chunks[-1].header.frame_id if chunks else ""

    ros.spin_until(lambda: version() == "5")
    np.testing.assert_allclose(chunks[-1].points[0].positions, wanted[0], atol=1e-6)
    learner.publish(good[:-1] + b"?")
    learner.publish(published(TASK, 6, params=params, change={"task": "peg_insertion"}))
    learner.publish(published(TASK, 7, params=params))
    ros.spin_until(lambda: version() == "7")
    assert {chunk.header.frame_id for chunk in chunks} <= {"3", "5", "7"}
