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
from geometry_msgs.msg import TwistStamped
from sensor_msgs.msg import Joy

from controllers.ros import topics
from controllers.ros.converters import vectors_from
from hardware.interfaces import TeleopError
from hardware.ros.teleop_node import TeleopNode, main
from hardware.teleop.gamepad import Gamepad
from tests.hardware.joystick import AXIS, BUTTON, FULL, RB, A, Pad, Y, event

STOP_TIMEOUT = 30.0


class Listener:
    """What the node publishes, and the pad that makes it do so."""

    def __init__(self, ros: Any, pad: Pad, folder: Path) -> None:
        self.ros, self.pad = ros, pad
        self.device = Gamepad(inputs=folder)
        self.device.connect()
        self.twists: list[TwistStamped] = []
        self.joys: list[Joy] = []
        node = ros.node()
        node.create_subscription(TwistStamped, topics.TWIST_COMMAND, self.twists.append, 10)
        node.create_subscription(Joy, topics.JOY, self.joys.append, 10)
        ros.add(TeleopNode(self.device))
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


def test_a_label_is_said_exactly_once(listener: Listener) -> None:
    success = topics.JOY_BUTTONS.index("success")
    listener.pad.send(event(BUTTON, Y, 1))
    listener.ros.spin_until(lambda: any(joy.buttons[success] for joy in listener.joys))
    joys = len(listener.joys)
    listener.ros.spin_until(lambda: len(listener.joys) > joys + 10)
    assert sum(joy.buttons[success] for joy in listener.joys) == 1


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
