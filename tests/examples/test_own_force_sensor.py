"""The example of a force–torque sensor, on packets that the test sends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from examples import own_force_sensor
from examples.own_force_sensor import TextSensor
from hardware.force import make_force_sensor
from hardware.interfaces import ForceError, ForceEventKind
from tests.contracts.force_contract import LOAD, PATIENT, ForceContract

TEXT = " ".join(map(str, LOAD)).encode()
EVERY = 0.01  # [s] between packets


class Sender:
    """A microcontroller on loopback that goes on sending while it shall."""

    def __init__(self) -> None:
        self.out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.address = free.getsockname()
        self.device = f"127.0.0.1:{self.address[1]}"
        self.sends, self.ended = threading.Event(), threading.Event()
        self.sends.set()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def send(self, packet: bytes = TEXT) -> None:
        self.out.sendto(packet, self.address)

    def end(self) -> None:
        self.ended.set()
        self.thread.join()
        self.out.close()

    def _run(self) -> None:
        while not self.ended.wait(EVERY):
            if self.sends.is_set():
                self.send()


@pytest.fixture
def sender() -> Iterator[Sender]:
    sender = Sender()
    yield sender
    sender.end()


class TestContract(ForceContract):
    @pytest.fixture(autouse=True)
    def setup(self, sender: Sender) -> None:
        self.sender = sender

    def sensor(self, timeout: float = PATIENT) -> TextSensor:
        return TextSensor(self.NAME, self.sender.device, self.FRAME, timeout)

    def absent(self) -> TextSensor:
        return TextSensor(self.NAME, "nowhere", self.FRAME)

    def measure(self) -> None:
        self.sender.sends.set()
        self.sender.send()

    def silence(self) -> None:
        self.sender.sends.clear()


def test_a_packet_that_is_no_wrench_is_a_fault(sender: Sender) -> None:
    with TextSensor("wrist", sender.device, timeout=30.0) as sensor:
        sender.sends.clear()
        with pytest.raises(ForceError, match=r"'wrist'.*no wrench"):
            while True:
                sender.send(b"1 2 3 4 5 nan")
                sensor.read()
        assert {event.kind for event in sensor.events()} == {ForceEventKind.FAULT}


def test_two_programs_cannot_listen_to_one_port(sender: Sender) -> None:
    first, second = (TextSensor("wrist", sender.device, timeout=30.0) for _ in range(2))
    with first, pytest.raises(ForceError, match="another program"):
        second.connect()


def test_it_is_made_by_its_name_and_reads_what_the_program_sends(sender: Sender) -> None:
    sender.sends.clear()
    environment = {**os.environ, "PYTHONPATH": str(Path(own_force_sensor.__file__).parents[1])}
    wrench = ["1", "0", "-7.5", "0", "0.1", "0"]
    command = [sys.executable, own_force_sensor.__file__, sender.device, *wrench, "--seconds", "60"]
    program = subprocess.Popen(command, env=environment)
    try:
        sensor = make_force_sensor("examples.own_force_sensor:TextSensor", "wrist", sender.device, timeout=30.0)
        sensor.connect()
        np.testing.assert_allclose(sensor.read().wrench, [float(value) for value in wrench])
        sensor.disconnect()
    finally:
        program.terminate()
        program.wait()
