"""The driver of CRISP's arms over real topics, against our own arm node, which speaks the same ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("franky_sim")

from geometry_msgs.msg import PoseStamped, TwistStamped
from rclpy.context import Context
from rclpy.node import Node

from controllers.state import Mode, Setpoint
from hardware.crisp.driver import CrispArm, CrispConfig
from hardware.crisp.ros import topics as crisp_topics
from hardware.crisp.ros.topics import RosCrispTopics
from hardware.interfaces import ArmConnectionError, ArmFault
from tests.contracts.arm_contract import ACCURACY, check_arm, distance
from tests.ros.conftest import PATIENCE
from tests.ros.counterpart import PATIENT, Counterpart, counterpart

NAMESPACE = "crisp"
CONFIG = CrispConfig(namespace=NAMESPACE)


@pytest.fixture
def served() -> Iterator[Counterpart]:
    with counterpart(NAMESPACE) as served:
        yield served


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch) -> CrispArm:
    monkeypatch.setattr(crisp_topics, "STATE_TIMEOUT", 5.0)  # a busy machine is no lost arm
    return CrispArm(RosCrispTopics(CONFIG), CONFIG, PATIENT)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {PATIENCE:g} s in vain for what the test expects")
        time.sleep(0.005)


def advance(arm: CrispArm, seconds: float) -> None:
    end = arm.read().state.time + seconds
    wait_until(lambda: arm.read().state.time >= end)


def refusal(attempt: Callable[[], object]) -> str:
    """Why ``attempt`` is refused; "" when it is not."""
    try:
        attempt()
    except ArmFault as fault:
        return str(fault)
    return ""


def test_it_meets_the_arm_contract(served: Counterpart, arm: CrispArm) -> None:
    check_arm(arm, lambda seconds: advance(arm, seconds))


def test_what_it_reads_is_what_was_measured(served: Counterpart, arm: CrispArm) -> None:
    with arm:
        arm.start()
        target = arm.read().pose.moved(np.array([0.03, 0.0, 0.02, 0.0, 0.2, 0.0]))
        arm.command(Setpoint(target, 0, duration=0.5))
        wait_until(lambda: distance(arm.read().pose, target) < ACCURACY)
        wait_until(lambda: np.abs(arm.read().twist).max() < 1e-3)
        served.stands_still.set()
        settled = served.world.read()
        read = arm.read()
        np.testing.assert_allclose(read.pose.difference(settled.pose), 0.0, atol=1e-3)
        np.testing.assert_allclose(read.state.q, settled.state.q, atol=1e-3)
        np.testing.assert_allclose(read.state.tau_J, settled.state.tau_J, atol=1.0)
        assert np.abs(settled.state.tau_J).max() > 10.0, "gravity"


def test_a_node_that_ends_is_a_fault(arm: CrispArm) -> None:
    with counterpart(NAMESPACE):
        arm.connect()
        arm.start()
    wait_until(lambda: arm.read().mode is Mode.FAULT)
    assert arm.read().fault.startswith("CRISP lost: nothing on /crisp/"), "which was silent first is chance"
    wait_until(lambda: "/crisp/joint_states, /crisp/current_pose, /crisp/current_twist" in refusal(arm.recover))
    arm.disconnect()


def test_a_second_publisher_is_named(served: Counterpart, arm: CrispArm) -> None:
    context = Context()
    context.init(args=[])
    other = Node("robot_client", context=context, namespace=NAMESPACE, use_global_arguments=False)
    other.create_publisher(PoseStamped, "target_pose", 1)
    with arm:

        def restart() -> None:
            arm.recover()
            arm.start()

        wait_until(lambda: "/crisp/robot_client also publishes target_pose" in refusal(restart))
        other.destroy_node()
        wait_until(lambda: not refusal(restart))
    context.try_shutdown()


def test_two_drivers_of_one_arm_see_each_other(served: Counterpart, arm: CrispArm) -> None:
    topics = RosCrispTopics(CONFIG)
    with arm:
        arm.start()
        topics.open(lambda now: None)
        wait_until(lambda: arm.read().mode is Mode.FAULT)
        wait_until(lambda: topics.rivals() == ("/crisp/crisp_driver",))
        wait_until(lambda: "/crisp/crisp_driver also publishes target_pose" in refusal(arm.recover))
        topics.close()
        wait_until(lambda: not refusal(arm.recover))


def test_topics_that_nobody_publishes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardware.crisp.driver.CONNECT_TIMEOUT", 0.2)
    config = CrispConfig(namespace="nobody", wrench_topic="ft/wrench")
    arm = CrispArm(RosCrispTopics(config), config, PATIENT)
    with pytest.raises(ArmConnectionError, match=r"/nobody/joint_states, .*, /nobody/ft/wrench within"):
        arm.connect()


def test_a_twist_in_the_axes_of_the_tool_is_turned(served: Counterpart, arm: CrispArm) -> None:
    """CRISP's twist_broadcaster publishes it there; our arm node in the base axes."""
    pose = served.world.read().pose
    message, at = TwistStamped(), PoseStamped()
    at.header.frame_id = "base"
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    message.header.frame_id = "fr3_hand_tcp"
    turned = crisp_topics._to_base(values, pose, message, at)
    np.testing.assert_allclose(turned[:3], pose.rotation @ values[:3])
    np.testing.assert_allclose(turned[3:], pose.rotation @ values[3:])
    message.header.frame_id = "base"
    np.testing.assert_array_equal(crisp_topics._to_base(values, pose, message, at), values)
