from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from hardware.interfaces import ArmConnectionError, Gripper, HardwareError
from tests.hardware.simulated import SimulatedServer, unused_address

pytest.importorskip("franky_sim")
pytest.importorskip("pylibfranka")

from hardware.franka.gripper import FrankaGripper


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15.0
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for does not happen"
        time.sleep(0.005)


def test_fingers_go_where_they_are_told_and_the_newest_command_wins(robot: SimulatedServer) -> None:
    gripper = FrankaGripper(robot.address)
    assert isinstance(gripper, Gripper)
    with gripper:
        gripper.command(0.5)
        wait_until(lambda: gripper.read().width == pytest.approx(0.5, abs=0.02))
        gripper.command(0.9)
        gripper.command(0.2)
        gripper.command(0.7)
        wait_until(lambda: gripper.read().width == pytest.approx(0.7, abs=0.02))
        assert not gripper.read().grasped  # nothing between the fingers
    gripper.disconnect()
    with pytest.raises(HardwareError, match="not connected"):
        gripper.read()


@pytest.mark.parametrize("width", [-0.1, 1.1, float("nan")])
def test_widths_outside_the_stroke_are_errors(width: float) -> None:
    with pytest.raises(HardwareError, match="outside"):
        FrankaGripper("127.0.0.1").command(width)


def test_no_hand_at_the_address() -> None:
    address = unused_address()
    with pytest.raises(ArmConnectionError, match=f"{address}:1338"):
        FrankaGripper(address).connect()
