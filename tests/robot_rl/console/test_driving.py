"""A person's hands on the page."""

from __future__ import annotations

import numpy as np
import pytest

from controllers.spatial import Pose, exp3
from hardware.teleop.motion import Speeds
from robot_rl.console.driving import GRIP_TIME, SLOW, Hands

TCP = Pose(np.array([0.5, 0.0, 0.2]), np.array([1.0, 0.0, 0.0, 0.0]))
UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])
PERIOD = 0.02


def handle(x: float, y: float, z: float, turn: np.ndarray | None = None) -> Pose:
    return Pose.from_rotvec(np.array([x, y, z]), np.zeros(3) if turn is None else turn)


def test_nobody_drives_until_somebody_takes_hold() -> None:
    command = Hands().command(0.0, TCP)
    assert not command.engaged
    assert command.gripper is None


def test_taking_the_handle_engages_and_moves_nothing() -> None:
    hands = Hands()
    hands.grab(1, TCP)
    command = hands.command(0.0, TCP)
    assert command.engaged
    assert (command.twist == 0.0).all()


def test_the_tcp_comes_to_the_handle_no_faster_than_a_device_and_without_overshoot() -> None:
    hands, pose, speeds = Hands(), TCP, Speeds()
    hands.grab(1, TCP)
    hands.drag(1, handle(0.5, 0.08, 0.15, np.array([0.0, 0.0, 0.4])))
    for i in range(400):
        twist = hands.command(PERIOD * i, pose).twist
        assert np.linalg.norm(twist[:3]) <= speeds.linear + 1e-9
        assert np.linalg.norm(twist[3:]) <= speeds.angular + 1e-9
        pose = pose.moved(PERIOD * twist)
        assert pose.translation[1] <= 0.08 + 1e-6
    assert pose.translation == pytest.approx([0.5, 0.08, 0.15], abs=1e-3)
    turned = exp3(np.array([0.0, 0.0, 0.4])) @ TCP.rotation
    assert pose.rotation == pytest.approx(turned, abs=2e-3)


def test_letting_go_ends_it_even_away_from_the_goal() -> None:
    hands = Hands()
    hands.grab(1, TCP)
    hands.drag(1, handle(0.6, 0.0, 0.2))
    assert hands.command(0.0, TCP).twist[0] > 0.0
    hands.let_go(1)
    assert not hands.command(0.0, TCP).engaged
    hands.drag(1, handle(0.6, 0.0, 0.2))  # a late message
    assert not hands.command(0.0, TCP).engaged


def test_of_two_browsers_the_first_one_drives() -> None:
    hands = Hands()
    hands.grab(1, TCP)
    hands.grab(2, TCP)
    hands.drag(2, handle(0.6, 0.0, 0.2))
    assert (hands.command(0.0, TCP).twist == 0.0).all()
    hands.let_go(2)
    assert hands.dragging


def test_nothing_is_taken_of_an_arm_that_is_nowhere() -> None:
    hands = Hands()
    hands.grab(1, None)
    assert not hands.command(0.0, None).engaged


def test_a_key_drives_while_it_repeats() -> None:
    hands = Hands()
    hands.key("w", 0.0)
    assert hands.command(0.1, TCP).twist[0] == pytest.approx(Speeds().linear)
    assert not hands.command(2.0, TCP).engaged


def test_fine_work_is_slow() -> None:
    hands = Hands()
    hands.slow = True
    hands.key("w", 0.0)
    assert hands.command(0.1, TCP).twist[0] == pytest.approx(SLOW * Speeds().linear)
    hands.grab(1, TCP)
    hands.drag(1, handle(0.9, 0.0, 0.2))
    assert hands.command(0.1, TCP).twist[0] == pytest.approx(SLOW * Speeds().linear)


def test_a_word_to_the_gripper_engages_at_rest_for_a_moment() -> None:
    hands = Hands()
    hands.grip(0.0, 0.0)
    command = hands.command(0.5 * GRIP_TIME, TCP)
    assert command.engaged
    assert command.gripper == 0.0
    assert (command.twist == 0.0).all()
    assert not hands.command(1.1 * GRIP_TIME, TCP).engaged
