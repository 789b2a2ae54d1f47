from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable

import pytest

from hardware.interfaces import ArmConnectionError, Gripper, HardwareError
from tests.hardware.simulated import SERVER, SimulatedServer, simulated_server, unused_address

pytest.importorskip("franky_sim")
pytest.importorskip("pylibfranka")

from hardware.franka.gripper import FrankaGripper

STUCK_SERVER = (
    "from franky_sim.franka_gripper_server import FrankaGripperServer\n"
    "FrankaGripperServer._check_motion_state = lambda self: None  # moves, and never says that it has arrived\n"
) + SERVER
BLOCKED_SERVER = (
    """
from franky_sim.franka_gripper_protocol import GripperCommand, GripperCommandStatus, GripperMoveCommand
from franky_sim.franka_server import BaseCommand

open_freely = GripperMoveCommand.handle


def open_halfway(command, server):
    if command.width < 0.04:
        return open_freely(command, server)
    kinds = {"command_type_struct": "H", "status_type_struct": "H"}
    status = GripperCommandStatus.kUnsuccessful
    BaseCommand.send_response(command.client_socket, GripperCommand.kMove, command.command_id, status, **kinds)


GripperMoveCommand.handle = open_halfway
"""
    + SERVER
)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60.0
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


def test_width_is_live_while_the_fingers_move(robot: SimulatedServer) -> None:
    with FrankaGripper(robot.address) as gripper:
        gripper.command(0.9)
        wait_until(lambda: gripper.read().width == pytest.approx(0.9, abs=0.02))
        gripper.command(0.1)
        seen = set()

        def arrived() -> bool:
            seen.add(gripper.read().width)
            return gripper.read().width == pytest.approx(0.1, abs=0.02)

        wait_until(arrived)
    assert [width for width in seen if 0.2 < width < 0.8]


def error_of(action: Callable[[], object]) -> str:
    """Message of the first `HardwareError` that ``action`` ends with."""
    message = ""

    def failed() -> bool:
        nonlocal message
        try:
            action()
        except HardwareError as error:
            message = str(error)
        return bool(message)

    wait_until(failed)
    return message


def test_motion_without_an_end_is_an_error_and_a_silent_hand_another() -> None:
    with simulated_server(script=STUCK_SERVER) as server:
        with FrankaGripper(server.address, patience=0.2) as gripper:
            gripper.command(0.25)
            message = error_of(gripper.read)
            assert server.address in message and "not reached 25% within 1.0 s" in message
            with pytest.raises(HardwareError, match="not reached"):
                gripper.command(0.5)
        with FrankaGripper(server.address) as gripper:
            gripper.read()
            server.process.send_signal(signal.SIGSTOP)
            assert f"the gripper at {server.address} fell silent" in error_of(gripper.read)
            server.process.send_signal(signal.SIGCONT)


def test_commands_during_a_motion_never_wait() -> None:
    """A pipe would be full after a few hundred of them."""
    with simulated_server(script=STUCK_SERVER) as server, FrankaGripper(server.address, patience=100.0) as gripper:
        for n in range(2000):
            gripper.command(0.3 + 0.1 * (n % 2))


def test_motion_that_the_hand_gives_up_is_an_error_until_the_next_command() -> None:
    with simulated_server(script=BLOCKED_SERVER) as server, FrankaGripper(server.address) as gripper:
        gripper.command(0.25)
        wait_until(lambda: gripper.read().width == pytest.approx(0.25, abs=0.02))
        gripper.command(0.75)
        assert re.search(f"{server.address} gave up on its way to 75% and rests at 2[0-9]%", error_of(gripper.read))
        gripper.command(0.1)
        wait_until(lambda: not failed(gripper) and gripper.read().width == pytest.approx(0.1, abs=0.02))


def failed(gripper: FrankaGripper) -> bool:
    try:
        gripper.read()
    except HardwareError:
        return True
    return False


def test_death_of_the_process_is_an_error_and_leaves_no_reader_behind(robot: SimulatedServer) -> None:
    with FrankaGripper(robot.address) as gripper:
        child = gripper.process_id
        (reader,) = children(child)
        os.kill(child, signal.SIGKILL)
        assert "was ended by SIGKILL; connect again" in error_of(gripper.read)
        wait_until(lambda: not os.path.exists(f"/proc/{reader}") or is_zombie(reader))
        with pytest.raises(HardwareError, match="SIGKILL"):
            gripper.command(0.5)


def test_a_pause_of_the_hand_interrupts_a_motion_and_no_more(robot: SimulatedServer) -> None:
    """As where the machine stands still: libfranka gives the connection up after 1 s."""
    with FrankaGripper(robot.address, speed=0.02) as gripper:
        child = gripper.process_id
        (reader,) = children(child)
        gripper.command(0.9)
        wait_until(lambda: gripper.read().width == pytest.approx(0.9, abs=0.02))
        gripper.command(0.1)
        wait_until(lambda: gripper.read().width < 0.8)
        robot.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: is_zombie(reader))
        robot.process.send_signal(signal.SIGCONT)
        wait_until(lambda: gripper.read().width == pytest.approx(0.1, abs=0.02))
        gripper.command(0.6)
        wait_until(lambda: gripper.read().width == pytest.approx(0.6, abs=0.02))


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("width", [-0.1, 1.1, float("nan")])
def test_widths_outside_the_stroke_are_errors(width: float) -> None:
    with pytest.raises(HardwareError, match="outside"):
        FrankaGripper("127.0.0.1").command(width)


def test_no_hand_at_the_address() -> None:
    address = unused_address()
    with pytest.raises(ArmConnectionError, match=f"{address}:1338"):
        FrankaGripper(address).connect()
