"""The gate of the arm node over real topics: who may command, what is accepted, and the emergency stop."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, WrenchStamped
from rcl_interfaces.msg import Log
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import Trigger

from controllers.core import ControllerConfig
from controllers.lease import TIMEOUT, Priority
from controllers.ros import topics
from controllers.ros.converters import fill_pose, fill_vectors, pose_from
from controllers.spatial import Pose
from controllers.state import Mode
from hardware.interfaces import TelemetryError
from hardware.ros import arm_commands, arm_node
from hardware.ros.arm_commands import QUIET, Bursts, Following
from hardware.ros.arm_node import ArmNode
from hardware.ros.diagnosis import diagnose
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.tasks.reach import Reach

TASK = Reach()
ADVANCE = 0.01  # [s] of robot time in each callback of the timer
EVERY = 0.005  # [s] between callbacks
CONFIG = ControllerConfig(workspace=TASK.workspace, damp_after=1e6)  # a test may think as long as it likes
UP = np.array([0.0, 0.0, 0.03, 0.0, 0.0, 0.0])
DOWN = -UP


class Bench:
    """An arm node around a world that moves, and everything the node says."""

    def __init__(self, ros: Any, world: InProcessWorld) -> None:
        self.ros, self.world = ros, world
        self.events: list[DiagnosticStatus] = []
        self.status: list[dict[str, float]] = []
        self.faults: list[str] = []
        self.references: list[Pose] = []
        self.diagnostics: list[DiagnosticStatus] = []
        self.home = world.read().pose
        world.start()
        self.arm_node = ArmNode(world, world.gripper)
        ros.add(self.arm_node)
        self.node = ros.node("operator")
        self.node.create_timer(EVERY, lambda: world.advance(ADVANCE))
        for kind, topic, keep in (
            (DiagnosticStatus, topics.ARM_EVENTS, self.events.append),
            (JointState, topics.ARM_STATUS, lambda m: self.status.append(dict(zip(m.name, m.position, strict=True)))),
            (DiagnosticArray, topics.ARM_FAULT, lambda m: self.faults.append(m.status[0].message)),
            (PoseStamped, topics.REFERENCE_POSE, lambda m: self.references.append(pose_from(m.pose))),
            (DiagnosticArray, "/diagnostics", lambda m: self.diagnostics.append(m.status[0])),
        ):
            self.node.create_subscription(kind, topic, keep, 100)
        ros.spin_until(lambda: self.status and self.faults and self.references and self.diagnostics)

    def said(self, kind: str) -> list[str]:
        return [event.message for event in self.events if event.name == kind]

    def count(self, name: str) -> int:
        return int({value.key: value.value for value in self.diagnostics[-1].values}[name])

    def holder(self) -> str:
        return {value.key: value.value for value in self.diagnostics[-1].values}["holder"]

    def height(self) -> float:
        """Of the reference above where the arm started [m]."""
        return float(self.world.read().target.translation[2] - self.home.translation[2])

    def call(self, service: str) -> Trigger.Response:
        client = self.node.create_client(Trigger, service)
        self.ros.spin_until(client.service_is_ready)
        future = client.call_async(Trigger.Request())
        self.ros.spin_until(future.done)
        return future.result()


class Writer:
    """A node that keeps sending one pose target, until told to be silent; each right ``after`` another's, if given."""

    def __init__(
        self,
        bench: Bench,
        name: str,
        offset: np.ndarray,
        priority: Priority = Priority.POLICY,
        after: Writer | None = None,
    ) -> None:
        self.node: Node = bench.ros.node(name)
        self.target = bench.home.moved(offset)
        self.talks = True
        self._publisher = self.node.create_publisher(PoseStamped, topics.TARGET_POSES[priority], 1)
        self._next: Callable[[], None] = lambda: None
        bench.ros.spin_until(self._publisher.get_subscription_count)
        if after is None:
            self.node.create_timer(0.02, self._send)
        else:
            after._next = self._send

    def _send(self) -> None:
        if self.talks:
            self._publisher.publish(pose_message(self.node, self.target))
        self._next()


def _stamp(node: Node) -> Time:
    """Of a minute ahead, so that no busy machine makes the message old."""
    return (node.get_clock().now() + Duration(seconds=60.0)).to_msg()


def pose_message(node: Node, pose: Pose, frame: str = topics.BASE_FRAME) -> PoseStamped:
    message = PoseStamped()
    message.header.stamp, message.header.frame_id = _stamp(node), frame
    fill_pose(pose, message.pose)
    return message


@pytest.fixture
def bench(ros: Any) -> Iterator[Bench]:
    with InProcessWorld(TASK.scene(), CONFIG) as world:
        yield Bench(ros, world)


def test_of_two_publishers_the_first_keeps_driving(bench: Bench, ros: Any) -> None:
    ada = Writer(bench, "ada", UP)
    ros.spin_until(lambda: bench.height() > 0.029)
    seen = len(bench.references)
    Writer(bench, "eve", DOWN, after=ada)  # so that ada is the first to speak after a pause of a busy machine, too
    ros.spin_until(lambda: bench.count("not the holder") > 30)
    refusals = {"/eve (policy) may not command: /ada has the lease (policy)"}
    assert set(bench.said("writer_refused")) == refusals
    heights = [reference.translation[2] - bench.home.translation[2] for reference in bench.references[seen:]]
    assert np.diff(heights).min() > -1e-4 and heights[-1] > 0.029, "not one of the intruder's targets was followed"
    assert bench.diagnostics[-1].level == DiagnosticStatus.ERROR
    assert bench.holder() == "/ada (policy)"
    ada.talks = False
    ros.spin_until(lambda: bench.height() < -0.029)
    assert set(bench.said("writer_refused")) == refusals


def test_person_goes_before_reset_and_reset_before_policy(bench: Bench, ros: Any) -> None:
    policy = Writer(bench, "policy", UP)
    ros.spin_until(lambda: bench.height() > 0.029)
    reset = Writer(bench, "reset", DOWN, Priority.RESET)
    ros.spin_until(lambda: bench.height() < -0.029)
    person = Writer(bench, "person", 0.5 * UP, Priority.PERSON)
    ros.spin_until(lambda: abs(bench.height() - 0.015) < 0.001)
    ros.spin_until(lambda: bench.holder() == "/person (person)")
    person.talks = False
    ros.spin_until(lambda: bench.height() < -0.029)
    reset.talks = False
    ros.spin_until(lambda: bench.height() > 0.029)
    policy.talks = False
    ros.spin_until(lambda: bench.holder() == "nobody")


def test_a_writer_is_followed_before_its_name_is_known_and_afterwards(bench: Bench, ros: Any) -> None:
    inbox = bench.arm_node._commands._inbox
    look_up = inbox._look_up
    inbox._look_up = lambda gid, topic: None
    Writer(bench, "ada", UP)
    ros.spin_until(lambda: bench.height() > 0.029)
    ros.spin_until(lambda: "without a name" in bench.holder())
    inbox._look_up = look_up
    ros.spin_until(lambda: bench.holder() == "/ada (policy)")
    assert not bench.said("writer_refused") and not bench.said("setpoint_rejected")


def test_one_node_may_change_between_the_topics(bench: Bench, ros: Any) -> None:
    publishers = [bench.node.create_publisher(PoseStamped, topic, 1) for topic in topics.TARGET_POSES.values()]
    ros.spin_until(lambda: all(publisher.get_subscription_count() for publisher in publishers))
    for offset, publisher in zip((UP, DOWN, UP, DOWN), [*publishers, publishers[0]], strict=True):
        goal = bench.home.moved(offset)

        def arrived(goal: Pose = goal, publisher: Any = publisher) -> bool:
            publisher.publish(pose_message(bench.node, goal, "base"))
            return abs(bench.world.read().target.translation[2] - goal.translation[2]) < 1e-3

        ros.spin_until(arrived)
    assert not bench.said("writer_refused")


def test_targets_to_an_idle_arm_are_answered_once_in_words_and_followed_after_a_start(
    bench: Bench, ros: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arm_commands, "QUIET", 1e6)  # a pause of a busy machine begins no other burst
    assert bench.call(topics.STOP).success
    ros.spin_until(lambda: bench.world.read().mode is Mode.IDLE)
    Writer(bench, "ada", UP)
    ros.spin_until(lambda: bench.count("at rest") > 20)
    (said,) = bench.said("setpoint_rejected")
    assert said.startswith("target_pose of /ada: the arm is idle") and topics.START in said
    assert bench.diagnostics[-1].level == DiagnosticStatus.WARN
    assert said in bench.diagnostics[-1].message
    assert bench.count("rejected") == 0 and abs(bench.height()) < 1e-3
    assert bench.call(topics.START).success
    ros.spin_until(lambda: bench.height() > 0.029)
    assert len(bench.said("setpoint_rejected")) == 1


def test_the_motion_of_whoever_has_gone_is_ended_and_of_whoever_is_silent_is_held(bench: Bench, ros: Any) -> None:
    ada = Writer(bench, "ada", UP)
    ros.spin_until(lambda: bench.height() > 0.029)
    ada.talks = False
    ros.spin_until(lambda: bench.world.read().mode is Mode.HOLD)
    held = bench.world.time
    ros.spin_until(lambda: bench.world.time > held + 1.0)
    assert bench.world.read().mode is Mode.HOLD
    ros.end(ada.node)
    ros.spin_until(lambda: bench.world.read().mode is Mode.IDLE)
    assert bench.said("damping") == ["asked to stop"]
    assert bench.call(topics.START).success
    held = bench.world.time
    ros.spin_until(lambda: bench.world.time > held + 1.0)
    assert bench.world.read().mode is Mode.HOLD, "a motion that nobody has commanded yet waits"


def test_diagnostics_tell_by_level_how_the_arm_is(bench: Bench, ros: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hardware.ros.arm_node")
    before = len(bench.events)

    def told(level: bytes, words: str) -> bool:
        return bench.diagnostics[-1].level == level and words in bench.diagnostics[-1].message

    ada = Writer(bench, "ada", UP)
    ros.spin_until(lambda: told(DiagnosticStatus.OK, "ok"))
    ada.talks = False
    ros.spin_until(lambda: told(DiagnosticStatus.WARN, "holding its pose"))
    bench.world.user_stop(True)
    ros.spin_until(lambda: told(DiagnosticStatus.ERROR, "stopped by a person"))
    bench.world.user_stop(False)
    ros.spin_until(lambda: told(DiagnosticStatus.OK, "service start"))
    logged = [record.getMessage() for record in caplog.records]
    assert len(bench.events) > before
    for event in bench.events[before:]:
        assert f"{event.name}: {event.message}" in logged


def test_the_worst_there_is_to_say_gives_the_level() -> None:
    refused = {"stale": "target_pose of /ada: 0.3 s old"}
    assert diagnose(Mode.TRACK, "", {}, 1) == (DiagnosticStatus.OK, "ok")
    assert diagnose(Mode.FAULT, "cartesian_reflex", refused, 1) == (
        DiagnosticStatus.ERROR,
        "stopped by a fault: cartesian_reflex; commands are refused (stale): target_pose of /ada: 0.3 s old",
    )
    assert diagnose(Mode.TRACK, "", refused, 1).level == DiagnosticStatus.WARN
    assert diagnose(Mode.TRACK, "", {"not the holder": "/eve may not command"}, 1).level == DiagnosticStatus.ERROR
    assert diagnose(Mode.DAMP, "", {}, 1).level == DiagnosticStatus.WARN


def stream(bench: Bench, topic: str, message: Any) -> Callable[[], None]:
    """Publish ``message`` on ``topic`` with a fresh stamp each time it is called."""
    publisher = bench.node.create_publisher(type(message), topic, 10)
    bench.ros.spin_until(publisher.get_subscription_count)

    def send() -> None:
        if hasattr(message, "header"):
            message.header.stamp = _stamp(bench.node)
        publisher.publish(message)

    return send


def test_joint_targets_are_followed(bench: Bench, ros: Any) -> None:
    goal = bench.world.read().state.q + np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.2])
    message = JointState(name=[f"left_{name}" for name in reversed(topics.JOINT_NAMES)], position=goal[::-1].tolist())
    bench.node.create_timer(EVERY, stream(bench, topics.TARGET_JOINT, message))
    ros.spin_until(lambda: np.abs(bench.world.read().state.q - goal).max() < 0.02)


def test_a_wrench_is_exerted_and_fades(bench: Bench, ros: Any) -> None:
    before = bench.world.read().pose.translation[2]
    message = WrenchStamped()
    message.header.frame_id = topics.BASE_FRAME
    fill_vectors(np.array([0.0, 0.0, 6.0, 0.0, 0.0, 0.0]), message.wrench.force, message.wrench.torque)
    timer = bench.node.create_timer(EVERY, stream(bench, topics.TARGET_WRENCH, message))
    ros.spin_until(lambda: bench.world.read().pose.translation[2] > before + 0.001)
    timer.cancel()
    ros.spin_until(lambda: bench.world.read().pose.translation[2] < before + 0.001)


def test_stiffness_is_changed_and_a_strong_one_refused(bench: Bench, ros: Any) -> None:
    send = stream(bench, topics.TARGET_STIFFNESS, Float64MultiArray(data=[800.0, 600.0, 1000.0, 30.0, 30.0, 30.0]))
    send()
    ros.spin_until(lambda: bench.said("gains_changed"))
    refused = [
        ([20_000.0] * 3 + [75.0] * 3, "the most allowed"),
        ([math.nan] * 3 + [75.0] * 3, "finite"),
        ([-1.0] * 3 + [75.0] * 3, "not negative"),
        ([800.0] * 6 + [1.0], "three stiffnesses"),
    ]
    publisher = bench.node.create_publisher(Float64MultiArray, topics.TARGET_STIFFNESS, 10)
    ros.spin_until(publisher.get_subscription_count)
    for index, (values, _) in enumerate(refused):
        publisher.publish(Float64MultiArray(data=values))
        ros.spin_until(lambda index=index: bench.count("refused") == index + 1)
    said = bench.said("setpoint_rejected")
    assert "target_stiffness of /operator" in said[0] and refused[0][1] in said[0]
    assert len(bench.said("gains_changed")) == 1


def test_what_is_wrong_is_counted_and_moves_nothing(bench: Bench, ros: Any) -> None:
    joints = JointState(name=list(topics.JOINT_NAMES), position=[0.0] * 6 + [math.inf])
    missing = JointState(name=list(topics.JOINT_NAMES[:6]), position=[0.0] * 6)
    wrench, elsewhere = WrenchStamped(), WrenchStamped()
    wrench.header.frame_id, elsewhere.header.frame_id = topics.BASE_FRAME, "tool"
    wrench.wrench.force.x = math.nan
    sends = [
        stream(bench, topics.TARGET_JOINT, joints),
        stream(bench, topics.TARGET_JOINT, missing),
        stream(bench, topics.TARGET_WRENCH, wrench),
        stream(bench, topics.TARGET_WRENCH, elsewhere),
        stream(bench, topics.GRIPPER_COMMAND, Float64MultiArray(data=[1.2])),
        stream(bench, topics.GRIPPER_COMMAND, Float64MultiArray(data=[])),
    ]
    for send in sends:
        for _ in range(3):
            send()
    ros.spin_until(lambda: bench.count("refused") == 18)
    assert bench.world.read().mode is Mode.HOLD
    assert bench.count("setpoints") == 0
    assert bench.holder() == "nobody", "nonsense claims no lease"
    assert len(bench.said("setpoint_rejected")) == 4, "once for each topic and kind of mistake"


def test_a_stream_that_the_controller_rejects_does_not_flood(
    bench: Bench, ros: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arm_commands, "QUIET", 1e6)  # a pause of a busy machine begins no other burst
    Writer(bench, "far", np.array([0.0, 0.0, 0.6, 0.0, 0.0, 0.0]))
    ros.spin_until(lambda: bench.count("rejected") > 20)
    assert len(bench.said("setpoint_rejected")) == 1
    assert abs(bench.height()) < 1e-3


def test_the_gripper_goes_with_the_arm(bench: Bench, ros: Any) -> None:
    def opened(node: Node, topic: str, width: float) -> Callable[[], bool]:
        publisher = node.create_publisher(Float64MultiArray, topic, 1)
        ros.spin_until(publisher.get_subscription_count)

        def arrived() -> bool:
            publisher.publish(Float64MultiArray(data=[width]))
            return abs(bench.world.gripper.read().width - width) < 0.02

        return arrived

    Writer(bench, "ada", UP)
    ros.spin_until(opened(ros.node("adas_gripper"), topics.GRIPPER_COMMAND, 0.3))
    context = Context()
    context.init()
    try:
        elsewhere = Node("eve", context=context)
        closing = opened(elsewhere, topics.CRISP_GRIPPER_COMMAND, 0.9)
        publishers = partial(bench.node.get_publishers_info_by_topic, topics.CRISP_GRIPPER_COMMAND)
        ros.spin_until(lambda: "eve" in [publisher.node_name for publisher in publishers()])
        ros.spin_until(lambda: closing() or bench.said("writer_refused"))
        assert bench.said("writer_refused") == ["/eve (policy) may not command: /ada has the lease (policy)"]
        ros.spin_times(50)
        assert bench.world.gripper.read().width < 0.35
        elsewhere.destroy_node()
    finally:
        context.shutdown()


PROFILES = {
    "best effort": QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
    "reliable": QoSProfile(depth=1),
    "latched": QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
}


@pytest.mark.parametrize("profile", PROFILES)
def test_an_emergency_stop_damps_out_and_only_its_release_lets_go(
    bench: Bench, ros: Any, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arm_node, "STOP_PATIENCE", math.inf)  # a busy machine is no arm that goes on moving
    Writer(bench, "ada", UP)
    ros.spin_until(lambda: bench.world.read().mode is Mode.TRACK)
    button = ros.node("button").create_publisher(Bool, topics.EMERGENCY_STOP, PROFILES[profile])
    ros.spin_until(button.get_subscription_count)
    button.publish(Bool(data=False))
    ros.spin_times(20)
    assert bench.world.read().mode is Mode.TRACK, "false says nothing"
    button.publish(Bool(data=True))
    ros.spin_until(lambda: Mode(int(bench.status[-1]["mode"])) is Mode.STOPPED)
    ros.spin_until(lambda: bench.world.read().mode is Mode.IDLE)
    assert bench.said("stopped") == [bench.faults[-1]]
    assert "topic emergency_stop" in bench.faults[-1] and "release_stop" in bench.faults[-1]
    times = np.array([status["robot_time"] for status in bench.status])
    assert np.diff(times).max() < 0.3, "damping out takes 0.5 s, and the state goes on being published meanwhile"

    button.publish(Bool(data=False))
    ros.spin_until(lambda: bench.said("writer_refused"))
    assert bench.said("writer_refused") == ["/ada (policy) may not command: the emergency stop has the lease (stop)"]
    for service in (topics.START, topics.ERROR_RECOVERY):
        answer = bench.call(service)
        assert not answer.success
        assert "stopped by a person" in answer.message and "release_stop" in answer.message
    assert bench.world.read().mode is Mode.IDLE

    assert bench.call(topics.RELEASE_STOP).success
    ros.spin_until(lambda: Mode(int(bench.status[-1]["mode"])) is Mode.IDLE and bench.faults[-1] == "")
    assert bench.world.read().mode is Mode.IDLE, "a release moves nothing"
    assert bench.call(topics.START).success
    ros.spin_until(lambda: bench.height() > 0.02)


def test_an_arm_that_moves_after_an_emergency_stop_is_told_of_and_stopped_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hardware.ros.arm_node.STOP_PATIENCE", 0.2)
    assert bench.call(topics.EMERGENCY_STOP).success
    bench.ros.spin_until(lambda: bench.world.read().mode is Mode.IDLE)
    bench.world.start()  # past the node, as a start that had been under way would
    bench.ros.spin_until(lambda: len(bench.said("stopped")) > 1)
    assert "after the emergency stop" in bench.said("stopped")[-1] and "stop button" in bench.said("stopped")[-1]
    bench.ros.spin_until(lambda: bench.world.read().mode is Mode.IDLE)


def test_a_full_disk_is_not_taken_for_an_arm_that_did_not_stop(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, logged = bench.world.request_stop, []
    bench.ros.node("log").create_subscription(Log, "/rosout", logged.append, 100)

    def request_stop(reason: str = "") -> None:
        stop(reason)
        raise TelemetryError("cannot write fault.npz: no space left on device")

    monkeypatch.setattr(bench.world, "request_stop", request_stop)
    assert bench.call(topics.EMERGENCY_STOP).success
    bench.ros.spin_until(lambda: any("no space left" in message.msg for message in logged))
    (message,) = (message for message in logged if "no space left" in message.msg)
    assert "the arm was asked to stop" in message.msg and message.level == Log.ERROR
    bench.ros.spin_until(lambda: bench.world.read().mode is Mode.IDLE)


def test_the_emergency_stop_is_a_service_too_and_stops_once(bench: Bench) -> None:
    assert bench.call(topics.RELEASE_STOP).message == "there was no emergency stop"
    for _ in range(2):
        answer = bench.call(topics.EMERGENCY_STOP)
        assert answer.success and "service emergency_stop" in answer.message
    assert len(bench.said("stopped")) == 1
    bench.ros.spin_until(lambda: bench.world.read().mode is Mode.IDLE)
    bench.ros.spin_until(lambda: bench.diagnostics[-1].level == DiagnosticStatus.ERROR)
    assert bench.holder() == "the emergency stop (stop)"


def test_who_comes_after_a_latched_stop_is_stopped(ros: Any) -> None:
    button = ros.node("button").create_publisher(Bool, topics.EMERGENCY_STOP, PROFILES["latched"])
    button.publish(Bool(data=True))
    with InProcessWorld(TASK.scene(), CONFIG) as world:
        bench = Bench(ros, world)
        ros.spin_until(lambda: Mode(int(bench.status[-1]["mode"])) is Mode.STOPPED)


def test_an_episodes_budget_is_granted_by_service(bench: Bench, ros: Any) -> None:
    assert bench.call(topics.BEGIN_EPISODE).success
    ros.spin_until(lambda: bench.said("budget_granted"))
    ros.spin_until(lambda: bench.status[-1]["budget"] == pytest.approx(CONFIG.tank.episode_budget))


def test_the_message_of_a_node_that_has_gone_is_not_lost(bench: Bench, ros: Any) -> None:
    node = Node("passer_by")
    publisher = node.create_publisher(Float64MultiArray, topics.GRIPPER_COMMAND, 1)
    ros.spin_until(publisher.get_subscription_count)
    publisher.publish(Float64MultiArray(data=[0.5]))
    node.destroy_node()
    ros.spin_until(lambda: abs(bench.world.gripper.read().width - 0.5) < 0.02)


def test_of_two_kinds_of_targets_the_one_that_changed_is_followed() -> None:
    a, b, c = (np.array([value]) for value in (1.0, 2.0, 3.0))
    following = Following()
    assert following.follows("ada", "pose", a, 0.0)
    assert not following.follows("ada", "joints", a, 0.0)
    assert following.follows("ada", "pose", a, 0.02), "unchanged, but a sign of life"
    assert following.follows("ada", "joints", b, 0.04)
    assert not following.follows("ada", "pose", a, 0.04)
    assert following.follows("ada", "pose", c, 0.06)
    assert not following.follows("ada", "joints", b, 0.08)
    assert not following.follows("ada", "joints", b, 0.07 + TIMEOUT), (
        "the poses have stopped, and this is an old target"
    )
    assert following.follows("ada", "joints", a, 0.08 + TIMEOUT)
    assert following.follows("bob", "pose", a, 0.09 + TIMEOUT), "somebody else begins with whatever they send"
    assert not following.follows("bob", "joints", a, 0.1 + TIMEOUT)
    following.rename("bob", "/bob")
    assert not following.follows("/bob", "joints", a, 0.11 + TIMEOUT), "the same writer, whose joints are as before"
    assert following.follows("bob", "twist", a, 0.1 + 2.0 * TIMEOUT), "the poses have stopped, and this is new"


def test_a_burst_is_said_once() -> None:
    bursts = Bursts()
    times = [0.0, 0.5, 1.4, 2.3, 2.3 + QUIET, 2.4 + 2.0 * QUIET]
    assert [bursts.begins("frame", now) for now in times] == [True, False, False, False, False, True]
    assert bursts.begins("value", 0.5)
