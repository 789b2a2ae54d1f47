"""The emergency stop over real topics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import Log
from std_msgs.msg import Bool

from controllers.ros import topics
from controllers.state import Mode
from hardware.interfaces import TelemetryError
from hardware.ros import arm_node
from hardware.sim.world.inprocess import InProcessWorld
from tests.ros.gate.bench import CONFIG, PROFILES, TASK, UP, Bench, Writer


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
