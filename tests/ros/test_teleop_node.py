"""The teleoperation node: a real driver on one side, real topics on the other."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from sensor_msgs.msg import Joy
from std_msgs.msg import Bool

from controllers.ros import topics
from controllers.ros.converters import vectors_from
from hardware.interfaces import TeleopError
from hardware.ros.teleop_node import TeleopNode, main
from hardware.ros.words import Spoken, fill_word, word_from
from hardware.teleop.gamepad import Gamepad
from tests.hardware.joystick import AXIS, BUTTON, FULL, GUIDE, RB, A, Pad, X, Y, event

STOP_TIMEOUT = 30.0


class Listener:
    """The node's messages, and the pad that brings them about."""

    def __init__(self, ros: Any, pad: Pad, folder: Path) -> None:
        self.ros, self.pad = ros, pad
        self.device = Gamepad(inputs=folder)
        self.device.connect()
        self.twists: list[TwistStamped] = []
        self.joys: list[Joy] = []
        node = ros.node()
        node.create_subscription(TwistStamped, topics.TWIST_COMMAND, self.twists.append, 10)
        node.create_subscription(Joy, topics.JOY, self.joys.append, 10)
        self.node = TeleopNode(self.device)
        ros.add(self.node)
        ros.spin_until(lambda: self.joys)


@pytest.fixture
def listener(ros: Any, tmp_path: Path) -> Iterator[Listener]:
    pad = Pad(tmp_path)
    listener = Listener(ros, pad, tmp_path)
    yield listener
    listener.device.disconnect()
    pad.close()


def twist_of(message: TwistStamped) -> np.ndarray:
    return vectors_from(message.twist.linear, message.twist.angular)


def test_no_twist_while_nobody_drives(listener: Listener) -> None:
    listener.ros.spin_until(lambda: len(listener.joys) > 10)
    assert not listener.twists
    assert list(listener.joys[-1].buttons) == [0, 0, 0, 0]


def test_twists_while_driving_and_one_of_zero_at_the_end(listener: Listener) -> None:
    listener.pad.send(event(BUTTON, RB, 1), event(AXIS, 1, -FULL))
    listener.ros.spin_until(lambda: len(listener.twists) >= 3)
    np.testing.assert_allclose(twist_of(listener.twists[-1]), [0.1, 0, 0, 0, 0, 0])
    assert listener.twists[-1].header.frame_id == "fr3_link0"
    assert listener.twists[-1].header.stamp.sec > 0
    listener.pad.send(event(BUTTON, RB, 0))
    listener.ros.spin_until(lambda: not twist_of(listener.twists[-1]).any())
    said = len(listener.twists)
    joys = len(listener.joys)
    listener.ros.spin_until(lambda: len(listener.joys) > joys + 10)
    assert len(listener.twists) == said


def test_joy_carries_the_axes_and_the_wish_for_the_gripper(listener: Listener) -> None:
    listener.pad.send(event(BUTTON, RB, 1), event(AXIS, 0, -FULL), event(BUTTON, A, 1))
    listener.ros.spin_until(lambda: listener.joys[-1].buttons[topics.JOY_BUTTONS.index("close")])
    np.testing.assert_allclose(listener.joys[-1].axes, [0, 0.1, 0, 0, 0, 0], atol=1e-6)
    assert not listener.joys[-1].buttons[topics.JOY_BUTTONS.index("open")]


def test_a_word_is_numbered_stamped_and_said_until_it_is_acknowledged(listener: Listener) -> None:
    said: list[Spoken] = []
    session = listener.ros.node("session")
    acknowledge = session.create_publisher(DiagnosticArray, topics.OPERATOR_ACKNOWLEDGED, 10)
    session.create_subscription(DiagnosticArray, topics.OPERATOR_WORD, lambda m: said.append(word_from(m)), 100)
    before = session.get_clock().now().nanoseconds
    listener.pad.send(event(BUTTON, Y, 1), event(BUTTON, Y, 0), event(BUTTON, X, 1))
    listener.ros.spin_until(lambda: len(said) >= 6)
    one, two = sorted(set(said))
    assert (one.number, one.word, two.number, two.word) == (1, "success", 2, "failure")
    assert before < one.stamp_ns <= two.stamp_ns < session.get_clock().now().nanoseconds
    assert (one.by, one.origin) == ("/teleop", two.origin)
    acknowledge.publish(fill_word(one._replace(origin="another start of it"), DiagnosticArray(), "not about this one"))
    acknowledge.publish(fill_word(two, DiagnosticArray(), "episode 3 ends with step 12 as failure"))
    listener.ros.spin_until(lambda: listener.node.words.waiting == (one,))
    heard = len(said)
    listener.ros.spin_until(lambda: len(said) > heard + 4)
    assert said[heard + 2 :] == [one] * len(said[heard + 2 :])
    acknowledge.publish(fill_word(one, DiagnosticArray(), "episode 3 ends with step 12 as success"))
    listener.ros.spin_until(lambda: not listener.node.words.waiting)
    assert not any(any(joy.buttons[2:]) for joy in listener.joys), "nothing is said twice, in two ways"


def test_a_stop_goes_to_the_arm_without_waiting_for_a_session(listener: Listener) -> None:
    stops: list[Bool] = []
    listener.ros.node("arm").create_subscription(Bool, topics.EMERGENCY_STOP, stops.append, 1)
    listener.ros.spin_until(lambda: listener.node.count_subscribers(topics.EMERGENCY_STOP))
    listener.pad.send(event(BUTTON, GUIDE, 1))
    listener.ros.spin_until(lambda: stops)
    assert stops[0].data


def test_a_lost_device_leaves_through_the_executor(listener: Listener) -> None:
    listener.pad.unplug()
    with pytest.raises(TeleopError, match="unplugged"):
        listener.ros.spin_until(lambda: False)


def test_an_unknown_device_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "gamepat"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "did you mean 'gamepad'" in error
    assert "\n" not in error


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_as_a_process_it_drives_from_a_terminal_and_stops_on_a_signal(ros: Any, stop: signal.Signals) -> None:
    twists: list[TwistStamped] = []
    joys: list[Joy] = []
    node = ros.node()
    node.create_subscription(TwistStamped, topics.TWIST_COMMAND, twists.append, 10)
    node.create_subscription(Joy, topics.JOY, joys.append, 10)
    person, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "hardware.ros.teleop_node", "--device", "keyboard"], stdin=terminal
    )
    try:
        ros.spin_until(lambda: joys or process.poll() is not None)
        os.write(person, b"w")
        ros.spin_until(lambda: twists or process.poll() is not None)
        np.testing.assert_allclose(twist_of(twists[0]), [0.1, 0, 0, 0, 0, 0])
        process.send_signal(stop)
        assert process.wait(STOP_TIMEOUT) == 0
    finally:
        process.kill()
        process.wait()
        os.close(person)
        os.close(terminal)
