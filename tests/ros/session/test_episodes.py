"""Episodes over real topics: who drives, what is recorded, how a session ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, TwistStamped
from std_msgs.msg import Float64, String

from controllers.core import ControllerConfig
from controllers.lease import Priority
from controllers.ros import topics as arm_topics
from controllers.ros.converters import fill_pose, ns_to_stamp
from controllers.state import Mode
from hardware.ros.arm_node import ArmNode
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.contract import ActionChunk, Ending, Source
from robot_rl.data.schema import StoreSchema
from robot_rl.data.store import EpisodeStore
from robot_rl.ros import topics
from robot_rl.ros.expert_node import ExpertNode
from robot_rl.ros.policy_node import PolicyNode
from robot_rl.ros.session_node import LATCHED, SessionNode
from robot_rl.session.config import SessionConfig
from robot_rl.session.judge import make_judge
from robot_rl.session.session import Session
from robot_rl.tasks.base import expert_of
from tests.robot_rl.acting import Decides
from tests.ros.session.graph import OBJECTS, TASK, Graph, patient, to_goal


def test_episodes_run_through(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    phases: list[str] = []
    said: list[DiagnosticStatus] = []
    listener = ros.node()
    listener.create_subscription(String, topics.SESSION_PHASE, lambda m: phases.append(m.data), LATCHED)
    listener.create_subscription(DiagnosticStatus, topics.EPISODES, said.append, 10)
    rewards: list[float] = []
    listener.create_subscription(Float64, topics.REWARD, lambda m: rewards.append(m.data), 1000)
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
    ros.spin_until(lambda: len(rewards) >= sum(summary.steps for summary in running.ended))
    assert sum(rewards) == 2.0
    assert said[0].name == "success"
    assert {value.key: value.value for value in said[0].values}["index"] == "0"
    assert phases[:4] == ["reset", "ready", "running", "reset"]
    assert len(running.session.decisions_ms) == sum(summary.steps for summary in running.ended) - 1, "but the first"
    timing = running.session.timing()
    assert sum(timing["obs_to_action_ms_counts"]) == len(running.session.decisions_ms)
    assert len(timing["obs_to_action_ms_counts"]) == len(timing["obs_to_action_ms_bounds"]) + 1
    assert (running.policy.late_actions, running.policy.dropped_answers) == (0, 0)


def test_the_expert_drives_through_the_topics_of_a_person(ros: Any, graph: Callable[[SessionConfig], Graph]) -> None:
    running = graph(patient(ask_policy=False, wait_for_person=True))
    ros.add(ExpertNode(expert_of(TASK), OBJECTS))
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
