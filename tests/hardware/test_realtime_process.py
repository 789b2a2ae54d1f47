"""The loop of the real-time process, run in the test's own: on the simulated robot, with what it measures spoiled."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers.core import ControllerConfig
from controllers.state import ArmState, Event, EventKind, Mode
from tests.hardware.simulated import SimulatedServer

pytest.importorskip("franky_sim")
pytest.importorskip("pylibfranka")

from hardware.franka.mailbox import Mailbox, Request
from hardware.franka.realtime import RealtimeProcess, RealtimeSettings, claim_core
from hardware.franka.telemetry import load_telemetry

Spoil = Callable[[RealtimeProcess, ArmState, int], ArmState]


class SpoiledProcess(RealtimeProcess):
    """Hands every state that it measures, with its number from 1 on, to ``spoil``, and goes on with the answer."""

    spoil: Spoil | None = None
    measured = 0

    def _measure(self, received: Any) -> tuple[ArmState, float]:
        state, success = super()._measure(received)
        self.measured += 1
        return self.spoil(self, state, self.measured) if self.spoil is not None else state, success


class Loop:
    """A connected process and the driver's end of its mailbox."""

    def __init__(self, address: str, directory: Path) -> None:
        self.mailbox = Mailbox.create()
        # Rehearsals measure, too, and states are spoiled by their number.
        settings = RealtimeSettings(address, ControllerConfig(), dump_directory=str(directory), rehearse=False)
        self.process = SpoiledProcess(settings, Mailbox(self.mailbox.descriptor))
        self.process.connect()
        self.serve(Request.RECOVER)  # from the end of another test's motion

    def serve(self, *requests: Request) -> tuple[str, tuple[Event, ...]]:
        """Have ``requests`` served in one go, a motion to its end; why the first was refused, and the events."""
        for request in requests:
            self.mailbox.request(request)
        self.process._serve_orders()
        return self.mailbox.served(requests[0])[1], self.mailbox.take_events()

    def start(self, spoil: Spoil) -> tuple[str, tuple[Event, ...]]:
        """One motion during which ``spoil`` sees every state."""
        self.process.spoil = spoil
        try:
            return self.serve(Request.START)
        finally:
            self.process.spoil = None

    @property
    def mode(self) -> Mode:
        reading = self.mailbox.read_state()
        assert reading is not None
        return reading.mode


@pytest.fixture
def loop(robot: SimulatedServer, tmp_path: Path) -> Iterator[Loop]:
    loop = Loop(robot.address, tmp_path)
    yield loop
    loop.process._robot = None  # ends the connection even where a failed test keeps the loop alive
    loop.mailbox.close()


def not_finite(at: int) -> Spoil:
    return lambda _, state, n: state._replace(q=np.full(7, np.nan)) if n == at else state


@pytest.mark.parametrize("other", [Request.STOP, Request.QUIT])
def test_start_together_with_a_stop_begins_nothing(loop: Loop, other: Request) -> None:
    refusal, events = loop.serve(Request.START, other)
    assert "asked to stop" in refusal
    assert events == ()
    assert len(loop.mailbox.telemetry()) == 0


def test_start_while_a_motion_is_being_ended_is_refused(loop: Loop) -> None:
    def stop_and_start(_: RealtimeProcess, state: ArmState, n: int) -> ArmState:
        if n == 20:
            loop.mailbox.request(Request.STOP)
            loop.mailbox.request(Request.START)
        return state

    refusal, _ = loop.start(stop_and_start)
    assert "its motion is being ended" in refusal
    assert loop.mailbox.served(Request.START)[0] == 2
    assert loop.mode is Mode.IDLE


def test_state_that_is_not_finite_is_a_fault_with_reason_event_and_telemetry(loop: Loop, tmp_path: Path) -> None:
    refusal, events = loop.start(not_finite(100))
    assert refusal == ""
    assert loop.mode is Mode.FAULT
    reason = loop.mailbox.read_state().fault
    assert "not finite" in reason
    assert events[-1].kind is EventKind.REFLEX and events[-1].detail == reason
    (file,) = tmp_path.glob("fault-*.npz")
    assert load_telemetry(file).reason == reason
    loop.serve(Request.RECOVER)
    assert loop.mode is Mode.IDLE


def test_first_state_that_is_not_finite_refuses_the_start(loop: Loop) -> None:
    refusal, _ = loop.start(not_finite(1))
    assert "not finite" in refusal
    assert len(loop.mailbox.telemetry()) == 0


def asked_to_stop(events: tuple[Event, ...]) -> bool:
    (detail,) = (event.detail for event in events if event.kind is EventKind.DAMPING)
    return detail == "asked to stop"


def test_signal_while_a_motion_begins_is_not_forgotten(loop: Loop) -> None:
    def interrupt(process: RealtimeProcess, state: ArmState, n: int) -> ArmState:
        if n == 1:
            process.stop_and_quit()
        return state

    assert asked_to_stop(loop.start(interrupt)[1])


def test_loss_of_the_parent_ends_the_motion_at_once(loop: Loop) -> None:
    loop.process._parent = -1
    assert asked_to_stop(loop.serve(Request.START)[1])


def test_full_disk_does_not_end_the_process(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.rmdir()
    tmp_path.touch()  # no folder: nothing can be written below
    with open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(full, write_through=True))
        loop.serve(Request.START)  # without setpoints: the watchdog ends it, which is written down
        monkeypatch.undo()
    assert loop.mode is Mode.IDLE


def test_no_two_loops_claim_one_core() -> None:
    """Each in a process of its own, while the others live; cores that this computer need not have."""
    program = (
        "from hardware.franka.realtime import claim_core; print(claim_core([9001, 9002, 9003]), flush=True); input()"
    )
    command, claimed, living = [sys.executable, "-c", program], [], []
    try:
        for _ in range(4):
            living.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            claimed.append(living[-1].stdout.readline().strip())
        assert claimed == ["9003", "9002", "9001", "None"]
        living[1].communicate("")
        living.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert living[-1].stdout.readline().strip() == "9002", "whose loop has ended"
    finally:
        for process in living:
            process.kill()
            process.communicate()


def test_a_single_core_is_nobodys() -> None:
    assert claim_core([9001]) is None
