"""The example of a device, on UDP ports that the system gives."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from examples import own_device
from examples.own_device import HOST, LET_GO, LOST, UdpDevice, command_of
from hardware.interfaces import TeleopError, Word
from hardware.teleop import make_teleop
from robot_rl.jobs.config import load_config
from tests.contracts.teleop_contract import TeleopContract

NAME = "examples.own_device:UdpDevice"


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


class TestContract(TeleopContract):
    @pytest.fixture(autouse=True)
    def setup(self) -> Iterator[None]:
        self.now, self.port = 100.0, free_port()
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as self.sender,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as self.other,
        ):
            self.other.bind((HOST, 0))
            yield

    def say(self, **said: object) -> None:
        self.sender.sendto(json.dumps(said).encode(), (HOST, self.port))

    def device(self) -> UdpDevice:
        return UdpDevice(port=self.port, clock=lambda: self.now)

    def absent(self) -> UdpDevice:
        return UdpDevice(port=self.other.getsockname()[1])

    def push_away(self) -> None:
        self.say(twist=[0.05, 0.0, 0.0, 0.0, 0.0, 0.0])

    def let_go(self) -> None:
        self.now += LET_GO + 0.01

    def close_gripper(self) -> None:
        self.say(gripper=0.0)

    def unplug(self) -> None:
        self.now += LOST + 0.01

    def test_a_packet_without_a_wish_lets_go(self) -> None:
        with self.connected() as device:
            self.push_away()
            self.say()
            assert not device.read().engaged
            self.now += LOST + 0.01  # a sender may rest then
            assert not device.read().engaged

    def test_no_word_is_lost_or_said_twice(self) -> None:
        with self.connected() as device:
            self.say(words=["take_over"])
            self.say(words=["success"])
            assert device.read().words == (Word.TAKE_OVER, Word.SUCCESS)
            assert device.read().words == ()

    def test_the_sender_drives_lets_go_and_speaks(self) -> None:
        port = str(self.other.getsockname()[1])
        given = ["0.05", "0", "0", "--seconds", "0.06", "--port", port, "--say", "take_over", "success"]
        environment = {**os.environ, "PYTHONPATH": str(Path(own_device.__file__).parents[1])}
        subprocess.run([sys.executable, own_device.__file__, *given], check=True, env=environment)
        heard = [command_of(self.other.recv(1000)) for _ in range(4)]
        assert [command.engaged for command in heard] == [True, True, True, False]
        assert [command.words for command in heard] == [(), (), (), (Word.TAKE_OVER, Word.SUCCESS)]
        np.testing.assert_array_equal(heard[0].twist, [0.05, 0.0, 0.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize(
    "packet", [b"", b"\xff", b"3", b'{"twist": [1, 2]}', b'{"twist": [NaN, 0, 0, 0, 0, 0]}', b'{"words": ["up"]}']
)
def test_a_packet_that_is_no_command_is_an_error(packet: bytes) -> None:
    with pytest.raises(TeleopError, match="packet"):
        command_of(packet)


def test_a_job_takes_it_by_its_name() -> None:
    assert isinstance(make_teleop(load_config(None, [f"source={NAME}"]).source), UdpDevice)
