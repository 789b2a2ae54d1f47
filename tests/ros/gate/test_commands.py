"""The gate over real topics: which commands are accepted, what is said of the others."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import WrenchStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from controllers.ros import topics
from controllers.ros.converters import fill_vectors
from controllers.state import Mode
from hardware.ros import arm_commands
from hardware.ros.arm_commands import QUIET, Bursts
from hardware.ros.diagnosis import diagnose
from tests.ros.gate.bench import CONFIG, EVERY, UP, Bench, Writer, stream


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


def test_an_episodes_budget_is_granted_by_service(bench: Bench, ros: Any) -> None:
    assert bench.call(topics.BEGIN_EPISODE).success
    ros.spin_until(lambda: bench.said("budget_granted"))
    ros.spin_until(lambda: bench.status[-1]["budget"] == pytest.approx(CONFIG.tank.episode_budget))


def test_a_burst_is_said_once() -> None:
    bursts = Bursts()
    times = [0.0, 0.5, 1.4, 2.3, 2.3 + QUIET, 2.4 + 2.0 * QUIET]
    assert [bursts.begins("frame", now) for now in times] == [True, False, False, False, False, True]
    assert bursts.begins("value", 0.5)
