"""The real nodes of arm, session, policy and expert in one process, around a world that advances by a timer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Int64, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from controllers.core import ControllerConfig
from controllers.lease import Priority
from controllers.ros import topics as arm_topics
from controllers.ros.converters import fill_pose, ns_to_stamp, stamp_to_ns
from controllers.state import Mode
from hardware.ros.arm_node import ArmNode
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ActionChunk, Ending, Judge, Observation, Policy, Reading, Source
from robot_rl.data.episode import Episode
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore
from robot_rl.policies.loading import load_actor
from robot_rl.ros import session_node, topics
from robot_rl.ros.arm_topics import ArmTopics
from robot_rl.ros.converters import fill_chunk, fill_observation, observation_from, request_from, state_names
from robot_rl.ros.expert_node import ExpertNode
from robot_rl.ros.parameter_node import ParameterNode
from robot_rl.ros.policy_node import PolicyNode
from robot_rl.ros.session_node import LATCHED, SessionNode
from robot_rl.session.config import SessionConfig
from robot_rl.session.directive import EpisodeSummary
from robot_rl.session.judge import make_judge
from robot_rl.session.recovery import MOTION_ERRORS
from robot_rl.session.session import Session
from robot_rl.tasks.base import Task
from robot_rl.tasks.reach import Reach
from tests.robot_rl.acting import Decides
from tests.robot_rl.publishing import ACTOR
from tests.robot_rl.publishing import policy as published

TASK = Reach()
OBJECTS = TASK.scene().objects
ADVANCE = 0.01  # [s] of robot time in each callback of the timer
PUBLISHED = 0.02  # [s] of robot time between the arm's messages
EVERY = 0.005  # [s] between callbacks
MAX_DEBT = 200  # updates
PATIENT = 5.0  # [s] for an answer or the arm, on however busy a machine


@pytest.fixture
def world() -> Iterator[InProcessWorld]:
    with InProcessWorld(TASK.scene(), TASK.bound(ControllerConfig())) as world:
        yield world


def patient(**settings: Any) -> SessionConfig:
    """For a session that a busy machine does not make give up."""
    timeouts = dict.fromkeys(("policy_wait", "teleop_timeout", "stall_timeout"), PATIENT)
    return SessionConfig(**timeouts | settings)


class Graph:
    """An arm node around a world, and a session node that records.

    Robot time waits for the arm's messages, and with a patient configuration for the policy's answers too, so that a
    busy machine makes nothing late.
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
        self.session = SessionNode(
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
        self._received = 0.0  # robot time [s] of the arm's latest messages
        self._arm = ArmTopics(node, OBJECTS, {}, self._on_reading)

    def _on_reading(self, reading: Reading) -> None:
        self._received = reading.robot_time

    def _advance(self) -> None:
        waits = self.awaits() or (self.patient and self.policy.waits)
        if not (self.stands_still or waits or 2 * PUBLISHED < self.world.time - self._received < 1.0):
            self.world.advance(self._advances)

    def run_episode(self) -> tuple[EpisodeSummary, Episode]:
        """Run until an episode has ended."""
        before = len(self.ended)
        self.ros.spin_until(lambda: len(self.ended) > before)
        return self.ended[-1], self.store.load_episode(self.store.episodes()[-1].index)


@pytest.fixture
def graph(ros: Any, world: InProcessWorld, tmp_path: Path) -> Iterator[Callable[[SessionConfig], Graph]]:
    made = []

    def make(config: SessionConfig, **more: Any) -> Graph:
        made.append(Graph(ros, world, tmp_path / "store", config, **more))
        return made[-1]

    yield make
    for graph in made:
        graph.store.close()


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


def test_episodes_run_through(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    phases: list[str] = []
    said: list[DiagnosticStatus] = []
    listener = ros.node()
    listener.create_subscription(String, topics.SESSION_PHASE, lambda m: phases.append(m.data), LATCHED)
    listener.create_subscription(DiagnosticStatus, topics.EPISODES, said.append, 10)
    running = graph(patient())
    ros.add(PolicyNode(TASK, Decides(to_goal), (), None))
    for index in range(2):
        ended, episode = running.run_episode()
        assert (ended.index, ended.ending) == (index, Ending.SUCCESS)
        assert episode.info.success
        assert episode["source"].tolist() == [Source.POLICY] * ended.steps
        assert episode["version"].tolist() == [3] * ended.steps
        assert not episode["late"].any()
        assert (np.diff(episode["stamp_ns"]) > 0).all()
        assert episode["reward"][-1] == 1.0
    ros.spin_until(lambda: len(said) == 2)
    assert said[0].name == "success"
    assert {value.key: value.value for value in said[0].values}["index"] == "0"
    assert phases[:4] == ["reset", "ready", "running", "reset"]
    assert len(running.session.decisions_ms) == sum(summary.steps for summary in running.ended) - 1, "but the first"
    assert (running.policy.late_actions, running.policy.dropped_answers) == (0, 0)


def test_the_expert_drives_through_the_topics_of_a_person(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    running = graph(patient(ask_policy=False, wait_for_person=True))
    ros.add(ExpertNode(TASK, OBJECTS))
    ended, episode = running.run_episode()
    assert ended.ending is Ending.SUCCESS
    assert ended.interventions == ended.steps
    assert episode["source"].tolist() == [Source.PERSON] * ended.steps
    assert np.abs(episode["action"]).max() > 0.5


def test_a_person_takes_over_from_the_policy(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    running = graph(patient(horizon=8))
    ros.add(PolicyNode(TASK, Decides(lambda seen: ActionChunk(seen.stamp_ns, np.full((1, 3), 0.25))), (), None))
    person = ros.node("person")
    twist = person.create_publisher(TwistStamped, arm_topics.TWIST_COMMAND, 1)
    command = TwistStamped()
    command.twist.linear.z = 0.05  # [m/s]: 5 mm in each control period
    person.create_timer(0.02, lambda: twist.publish(command))
    ros.spin_until(lambda: running.ended and running.ended[-1].interventions)
    episode = running.store.load_episode(running.store.episodes()[-1].index)
    by_person = episode["source"] == Source.PERSON
    led = np.diff(episode["target"][by_person], axis=0)[:, :3]
    assert (led[:, 2] > 0.002).all() and np.abs(led[:, :2]).max(initial=0.0) < 0.001
    assert (episode["action"][by_person][:, 2] > 0.25).all()
    np.testing.assert_allclose(episode["policy_action"][by_person], 0.25)


def test_a_twist_makes_its_way(ros: Any, graph: Callable[..., Graph], world: InProcessWorld) -> None:
    """0.05 m/s for 3 s are 150 mm, but for the control period in which it begins or ends."""
    period, seconds = TASK.control_period, 3.0
    config = patient(ask_policy=False, wait_for_person=True)
    graph(config, judge=make_judge("person", TASK), advance=0.002)
    phases: list[str] = []
    person = ros.node("person")
    person.create_subscription(String, topics.SESSION_PHASE, lambda m: phases.append(m.data), LATCHED)
    twist = person.create_publisher(TwistStamped, arm_topics.TWIST_COMMAND, 1)
    ros.spin_until(lambda: phases and phases[-1] == "ready")

    def wait(robot_time: float) -> None:
        until = world.time + robot_time
        ros.spin_until(lambda: world.time > until)

    wait(1.0)  # it comes to rest
    before = world.read()
    command = TwistStamped()
    command.twist.linear.z = 0.05
    person.create_timer(0.02, lambda: twist.publish(command))
    ros.spin_until(lambda: phases[-1] == "running")
    wait(seconds - period)
    command.twist.linear.z = 0.0  # as devices say when they are let go
    wait(1.0)
    after = world.read()
    led = after.target.translation[2] - before.target.translation[2]
    went = after.pose.translation[2] - before.pose.translation[2]
    assert abs(led - 0.15) < 0.05 * (2 * period) + 0.002
    assert abs(went - led) < 0.003, "and the arm with its reference"


def test_a_session_that_ends_ends_its_motion_first(
    ros: Any, world: InProcessWorld, graph: Callable[[SessionConfig], Graph]
) -> None:
    said: list[DiagnosticStatus] = []
    ros.node("witness").create_subscription(DiagnosticStatus, arm_topics.ARM_EVENTS, said.append, 100)
    running = graph(patient())
    ros.add(PolicyNode(TASK, Decides(to_goal), (), None))
    running.run_episode()
    running.patient = False  # no decision is waited for any more: time goes on
    ros.spin_until(running.session.end_motion)
    assert world.read().mode is Mode.IDLE
    ros.spin_until(lambda: [event for event in said if event.name == "finished"])
    assert [event.message for event in said if event.name == "damping"] == ["asked to stop"]
    ros.spin_times(50)
    assert world.read().mode is Mode.IDLE, "it does not start the arm again"


def test_a_session_without_an_arm_does_not_wait_to_end_its_motion(ros: Any, tmp_path: Path) -> None:
    with EpisodeStore.create_or_open(tmp_path, StoreSchema.of(TASK, None, TASK.control_period)) as store:
        session = Session(TASK, patient(), store, seed=1)
        node = SessionNode(session, patient(), OBJECTS, (), InProcessWorld(TASK.scene(), ControllerConfig()), print, 0)
        ros.add(node)
        assert node.end_motion()


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
        self._world, self._rows = running.world, rows
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
        running.awaits = lambda: any(due <= self._world.time for due in self._due.values())
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
        for stamp in [stamp for stamp in self._ready if self._due[stamp] <= self._world.time]:
            self._publisher.publish(self._ready.pop(stamp))


@pytest.mark.parametrize(("latency", "held"), [(0.07, 1), (0.7, 8)])
def test_a_slow_policy_acts_on_time_and_shifts_no_control_period(
    ros: Any, graph: Callable[[SessionConfig], Graph], latency: float, held: int
) -> None:
    running = graph(patient(policy_wait=SessionConfig.policy_wait, horizon=40))
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
    monkeypatch.setattr(Reach, "instruction", "reach the ball")
    running = graph(patient(horizon=9))
    policy = Decides(lambda seen: ActionChunk(seen.stamp_ns, np.zeros((4, 3)), 3), history=3)
    ros.add(PolicyNode(TASK, policy, (), None))
    instructions: list[str] = []
    ros.node().create_subscription(String, topics.INSTRUCTION, lambda m: instructions.append(m.data), LATCHED)
    for number in range(2):
        _, episode = running.run_episode()
        stamps = episode["stamp_ns"].tolist()
        handed = [[seen.stamp_ns for seen in each] for each in policy.handed[3 * number : 3 * number + 3]]
        assert handed == [[stamps[0]] * 3, stamps[2:5], stamps[6:9]], "one a control period, asked or not"
    assert policy.began == ["reach the ball"] * 2
    ros.spin_until(lambda: instructions == ["reach the ball"])


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


def test_a_silent_arm_ends_the_episode_as_aborted(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    running = graph(patient(stall_timeout=1.0))
    asked: list[int] = []

    def policy(seen: Observation) -> ActionChunk:
        asked.append(seen.seq)
        running.stands_still = len(asked) == 3
        return to_goal(seen)

    ros.add(PolicyNode(TASK, Decides(policy), (), None))
    ended, episode = running.run_episode()
    assert (ended.ending, ended.steps) == (Ending.ABORTED, 2), "the step in flight is not recorded"
    assert "no state of the arm for" in ended.reason
    assert episode["truncated"].tolist() == [False, True]
    running.stands_still = False
    again, _ = running.run_episode()
    assert again.ending is Ending.SUCCESS


def test_a_session_goes_on_when_robot_time_begins_anew(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    """As it does with a new connection to the robot."""
    running = graph(patient())
    running.world.advance(10.0)
    ros.add(PolicyNode(TASK, Decides(to_goal), (), None))
    running.run_episode()
    before = running.world.time
    running.world.disconnect()
    running.world.connect()
    ros.spin_until(lambda: running.world.read().mode is Mode.TRACK)
    assert running.world.time < before, "nobody waited for the time at which the connection was lost"
    assert running.run_episode()[0].ending is Ending.SUCCESS


def test_a_person_who_stops_the_arm_stops_the_session(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    phases: list[str] = []
    operator = ros.node("operator")
    operator.create_subscription(String, topics.SESSION_PHASE, lambda m: phases.append(m.data), LATCHED)
    button = operator.create_publisher(Bool, arm_topics.EMERGENCY_STOP, 1)
    release = operator.create_client(Trigger, arm_topics.RELEASE_STOP)
    running = graph(patient())
    asked: list[int] = []

    def policy(seen: Observation) -> ActionChunk:
        asked.append(seen.seq)
        if len(asked) == 3:
            button.publish(Bool(data=True))
        return to_goal(seen)

    ros.add(PolicyNode(TASK, Decides(policy), (), None))
    ended, _ = running.run_episode()
    assert ended.ending is Ending.ABORTED
    assert ended.reason.startswith("stopped by a person: emergency stop (topic emergency_stop)")
    ros.spin_until(lambda: phases[-1] == "stopped")
    ros.spin_until(lambda: running.world.read().mode is Mode.IDLE)
    stopped = running.world.read().pose
    ros.spin_times(300)
    assert np.abs(running.world.read().pose.difference(stopped)).max() < 2e-3
    assert (phases[-1], len(running.ended)) == ("stopped", 1)
    release.call_async(Trigger.Request())
    again, _ = running.run_episode()
    assert again.ending is Ending.SUCCESS
    assert phases[phases.index("stopped") + 1] == "reset"


def test_the_robots_own_words_reach_the_episode(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    running = graph(patient())
    asked: list[int] = []

    def policy(seen: Observation) -> ActionChunk:
        asked.append(seen.seq)
        if len(asked) == 3:
            running.world.user_stop(True)
        return to_goal(seen)

    ros.add(PolicyNode(TASK, Decides(policy), (), None))
    ended, episode = running.run_episode()
    assert ended.reason == episode.info.reason == f"stopped by a person: {running.world.read().fault}"
    assert running.world.read().fault
    running.world.user_stop(False)
    assert running.run_episode()[0].ending is Ending.SUCCESS


def test_a_blow_that_the_robot_stops_for_is_a_failure_of_the_step_and_the_next_episode_begins(
    ros: Any, graph: Callable[[SessionConfig], Graph]
) -> None:
    running = graph(patient())
    model, data = running.world.physics
    hand = model.body("robot0_hand").id
    asked: list[int] = []

    def policy(seen: Observation) -> ActionChunk:
        asked.append(seen.seq)
        data.xfrc_applied[hand, 0] = 300.0 if len(asked) == 3 else 0.0  # [N]
        return to_goal(seen)

    ros.add(PolicyNode(TASK, Decides(policy), (), None))
    ended, episode = running.run_episode()
    data.xfrc_applied[hand, 0] = 0.0
    assert (ended.ending, ended.steps) == (Ending.FAILURE, 3), "with the step in flight"
    assert any(ended.reason.startswith(f"the robot stopped the motion: {name}") for name in MOTION_ERRORS)
    assert episode["terminated"].tolist() == [False, False, True]
    assert running.run_episode()[0].ending is Ending.SUCCESS


def test_targets_go_out_on_behalf_of_whoever_decided(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    counts = dict.fromkeys(Priority, 0)
    person = ros.node("person")

    def count(priority: Priority) -> None:
        counts[priority] += 1

    for priority, topic in arm_topics.TARGET_POSES.items():
        person.create_subscription(PoseStamped, topic, lambda _, priority=priority: count(priority), 10)
    running = graph(patient(horizon=6))
    ros.add(PolicyNode(TASK, Decides(lambda seen: ActionChunk(seen.stamp_ns, np.zeros((1, 3)))), (), None))
    running.run_episode()
    ros.spin_until(lambda: counts[Priority.POLICY] >= 6)
    assert counts[Priority.RESET] > 1 and counts[Priority.PERSON] == 0
    twist = person.create_publisher(TwistStamped, arm_topics.TWIST_COMMAND, 1)
    person.create_timer(TASK.control_period, lambda: twist.publish(TwistStamped()))
    ros.spin_until(lambda: counts[Priority.PERSON] > 0)


def test_a_target_that_is_old_or_in_another_frame_never_reaches_the_arm(ros: Any, world: InProcessWorld) -> None:
    counts: dict[str, str] = {}
    refusals: list[str] = []
    node = ros.node()
    publisher = node.create_publisher(PoseStamped, arm_topics.TARGET_POSE, 10)
    node.create_subscription(
        DiagnosticArray, "/diagnostics", lambda m: counts.update({v.key: v.value for v in m.status[0].values}), 5
    )

    def on_event(event: DiagnosticStatus) -> None:
        if event.name == "setpoint_rejected":
            refusals.append(event.message)

    node.create_subscription(DiagnosticStatus, arm_topics.ARM_EVENTS, on_event, 20)
    ros.add(ArmNode(world))
    world.start()

    def send(age: float = -60.0, frame: str = arm_topics.BASE_FRAME, norm: float = 1.0) -> None:
        message = PoseStamped()  # from the future if not said otherwise: no busy machine makes it old
        ns_to_stamp(node.get_clock().now().nanoseconds - round(age * 1e9), message.header.stamp)
        message.header.frame_id = frame
        fill_pose(world.read().pose, message.pose)
        message.pose.orientation.x *= norm
        publisher.publish(message)

    ros.spin_until(lambda: publisher.get_subscription_count() and node.count_publishers(arm_topics.ARM_EVENTS))
    for wrong in ({"age": 0.5}, {"frame": "camera"}, {"frame": ""}, {"norm": 0.5}, {"norm": math.nan}, {"norm": 3.0}):
        send(**wrong)
    ros.spin_until(lambda: (counts.get("stale"), counts.get("refused")) == ("1", "5") and len(refusals) >= 3)
    assert counts["setpoints"] == "0"
    assert world.read().mode is Mode.HOLD, "the first accepted target would have made it TRACK"
    assert len(refusals) == 3, "each kind of mistake is said once"
    assert [words in said for words, said in zip(("s old on arrival", "'camera'", "norm"), refusals, strict=True)] == [
        True
    ] * 3
    assert all("target_pose of /listener" in said for said in refusals)
    node.create_timer(TASK.control_period, lambda: send())
    ros.spin_until(lambda: world.read().mode is Mode.TRACK)


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
