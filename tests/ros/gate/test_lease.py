"""The gate over real topics: who may command, and in which order."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rclpy.context import Context
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray

from controllers.lease import TIMEOUT, Priority
from controllers.ros import topics
from controllers.spatial import Pose
from controllers.state import Mode
from hardware.ros import arm_commands
from hardware.ros.arm_commands import Following
from tests.ros.gate.bench import DOWN, UP, Bench, Writer, pose_message


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


def test_a_node_that_stood_still_takes_nobody_for_silent(bench: Bench, ros: Any) -> None:
    """Of whoever commands, and of an intruder, only the latest messages are left, the intruder's first."""
    ada, eve = Writer(bench, "ada", UP), Writer(bench, "eve", DOWN)
    eve.talks = False
    ros.spin_until(lambda: bench.height() > 0.029)
    eve.talks = True
    until, seen = time.monotonic() + TIMEOUT + arm_commands.PAUSE, len(bench.references)
    while time.monotonic() < until:
        eve._send()
        ada._send()
    ros.spin_until(lambda: bench.said("writer_refused"))
    ros.spin_until(lambda: bench.count("not the holder") > 30)
    assert set(bench.said("writer_refused")) == {"/eve (policy) may not command: /ada has the lease (policy)"}
    heights = [reference.translation[2] - bench.home.translation[2] for reference in bench.references[seen:]]
    assert np.diff(heights).min() > -1e-4, "not one of the intruder's targets was followed"


def test_a_node_that_stands_still_again_and_again_gives_the_lease_of_whoever_has_gone_to_others(
    bench: Bench, ros: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = bench.arm_node._commands
    Writer(bench, "ada", UP)
    ros.spin_until(lambda: commands.holder() == "/ada (policy)")
    now = time.monotonic()
    monkeypatch.setattr(arm_commands, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(commands._inbox, "poll", lambda now: None)  # nothing comes any more
    holders = []
    for _ in range(6):
        now += 2 * arm_commands.PAUSE
        commands.poll()
        holders.append(commands.holder())
    assert holders[0] == "/ada (policy)"
    assert holders[-1] == "nobody"


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
