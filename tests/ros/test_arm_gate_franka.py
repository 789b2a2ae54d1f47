"""The emergency stop through the real-time process, on the simulated robot's own protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("pylibfranka")
pytest.importorskip("franky_sim")

from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from controllers.core import ControllerConfig
from controllers.ros import topics
from controllers.ros.converters import fill_pose
from controllers.state import Mode
from hardware.franka.arm import FrankaArm
from hardware.ros.arm_node import ArmNode
from hardware.sim.channel.client import SceneClient
from hardware.sim.channel.faults import Faults
from tests.hardware.simulated import simulated_server


def test_a_moving_arm_is_stopped_without_the_node_falling_silent(ros: Any) -> None:
    said: list[tuple[Mode, Mode]] = []  # by the node and, at that moment, by the driver

    with simulated_server() as server, FrankaArm(server.address, ControllerConfig()) as arm:

        def on_status(message: JointState) -> None:
            said.append((Mode(int(message.position[message.name.index("mode")])), arm.read().mode))

        ros.add(ArmNode(arm))
        person = ros.node("person")
        person.create_subscription(JointState, topics.ARM_STATUS, on_status, 100)
        button = person.create_publisher(Bool, topics.EMERGENCY_STOP, 1)
        target = person.create_publisher(PoseStamped, topics.TARGET_POSE, 1)
        start, release = (person.create_client(Trigger, name) for name in (topics.START, topics.RELEASE_STOP))
        goal = arm.read().pose.moved(np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.0]))

        def call(client: Any) -> Trigger.Response:
            ros.spin_until(client.service_is_ready)
            future = client.call_async(Trigger.Request())
            ros.spin_until(future.done)
            return future.result()

        def drive() -> None:
            message = PoseStamped()
            message.header.stamp, message.header.frame_id = person.get_clock().now().to_msg(), topics.BASE_FRAME
            fill_pose(goal, message.pose)
            target.publish(message)

        ros.spin_until(lambda: target.get_subscription_count() and button.get_subscription_count())
        assert call(start).success
        ros.spin_until(lambda: drive() or np.abs(arm.read().state.dq).max() > 0.02)
        button.publish(Bool(data=True))
        ros.spin_until(lambda: said[-1] == (Mode.STOPPED, Mode.IDLE))
        assert said.count((Mode.STOPPED, Mode.DAMP)) >= 3, "the node goes on publishing while the arm damps out"
        assert np.abs(arm.read().state.dq).max() < 0.05
        assert "stopped by a person" in call(start).message
        stopped = arm.read().pose
        assert call(release).success
        assert call(start).success
        assert arm.read().mode is Mode.HOLD
        ros.spin_times(100)
        assert np.abs(arm.read().pose.difference(stopped)).max() < 0.003, "the old target is forgotten"


def test_a_lost_connection_is_told_and_the_state_flows_again_after_recovery(ros: Any) -> None:
    """Robot time begins anew with each connection."""
    said: list[tuple[float, Mode]] = []

    def on_status(message: JointState) -> None:
        said.append((message.position[0], Mode(int(message.position[message.name.index("mode")]))))

    with (
        simulated_server() as server,
        SceneClient(server.address) as link,
        FrankaArm(server.address, ControllerConfig()) as arm,
    ):
        ros.add(ArmNode(arm))
        person = ros.node("person")
        person.create_subscription(JointState, topics.ARM_STATUS, on_status, 100)
        recover = person.create_client(Trigger, topics.ERROR_RECOVERY)
        ros.spin_until(lambda: recover.service_is_ready() and said and said[-1][0] > 1.0)
        link.set_faults(Faults(loss=1.0))
        ros.spin_until(lambda: said[-1][1] is Mode.FAULT)
        cut_off = said[-1][0]
        link.set_faults(Faults())
        answers: list[Trigger.Response] = []

        def recovered() -> bool:
            future = recover.call_async(Trigger.Request())
            ros.spin_until(future.done)
            answers.append(future.result())
            return answers[-1].success

        ros.spin_until(recovered)
        ros.spin_until(lambda: said[-1][1] is Mode.IDLE and said[-1][0] < cut_off)
