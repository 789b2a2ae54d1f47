from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from controllers.core import ControllerConfig
from controllers.impedance import ImpedanceGains
from controllers.state import Event, EventKind, JointSetpoint, Mode, Setpoint, WrenchSetpoint
from hardware.interfaces import ArmConnectionError, ArmFault
from tests.hardware.simulated import SCENE_PORT, SimulatedServer, environment, simulated_server, unused_address

pytest.importorskip("franky_sim")
pytest.importorskip("pylibfranka")

from hardware.franka.arm import FrankaArm
from hardware.franka.telemetry import TELEMETRY, load_telemetry
from hardware.sim.channel.client import SceneClient
from hardware.sim.channel.faults import Faults

PATIENCE = 10.0  # [s] before a test gives up waiting
ORPHAN = """
import sys, time
from hardware.franka.arm import FrankaArm

arm = FrankaArm(sys.argv[1])
arm.connect()
if arm.read().fault:
    arm.recover()
arm.start()
print(arm.process_id, flush=True)
time.sleep(600)
"""


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for does not happen"
        time.sleep(0.001)


def wait_event(arm: FrankaArm, kind: EventKind) -> list[Event]:
    """Events up to and including the first of ``kind``."""
    events: list[Event] = []

    def seen() -> bool:
        events.extend(arm.events())
        return kind in {event.kind for event in events}

    wait_until(seen)
    return events


def wait_exit(pid: int) -> bool:
    """Whether the process ends by itself."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], PATIENCE)[0])
    finally:
        os.close(descriptor)


@pytest.fixture
def arm(robot: SimulatedServer):
    with FrankaArm(robot.address) as arm:
        recover_from(arm)
        yield arm


def recover_from(arm: FrankaArm) -> None:
    """Clear what the end of another test's driver, killed in the middle of a motion, has left behind."""
    if arm.read().mode is Mode.FAULT:
        arm.recover()


def test_watchdog_holds_then_damps_when_setpoints_stop(arm: FrankaArm) -> None:
    arm.start()
    arm.command(Setpoint(arm.read().pose.moved(np.array([0.0, 0.02, 0.0, 0.0, 0.0, 0.0])), seq=1))
    events = [event for event in wait_event(arm, EventKind.FINISHED) if event.kind is not EventKind.TANK_EMPTY]
    assert [event.kind for event in events] == [
        EventKind.STARTED,
        EventKind.SETPOINT_STALE,
        EventKind.DAMPING,
        EventKind.FINISHED,
    ]
    config = ControllerConfig()
    _, stale, damping, finished = (event.time for event in events)
    assert damping - stale == pytest.approx(config.damp_after - config.hold_after, abs=0.05)
    assert finished - damping >= config.ramp_down - 0.05
    wait_until(lambda: arm.read().mode is Mode.IDLE)


def test_telemetry_records_every_tick(arm: FrankaArm) -> None:
    arm.start()
    arm.stop()
    table = arm.telemetry()
    assert table.dtype == TELEMETRY
    assert (np.diff(table["time"]) > 0.0).all()
    assert (table["compute"] > 0.0).all()
    assert np.abs(table["torque"]).max() < 87.0
    assert (table["mode"][0], table["mode"][-1]) == (Mode.HOLD, Mode.IDLE)


def test_loss_of_the_robot_is_a_fault_with_telemetry_and_can_be_recovered(tmp_path) -> None:
    with simulated_server() as server:
        arm = FrankaArm(server.address, dump_directory=tmp_path)
        arm.connect()
        arm.start()
        server.process.kill()
        (*_, reflex) = wait_event(arm, EventKind.REFLEX)
        assert reflex.detail
        assert arm.read().mode is Mode.FAULT
        with pytest.raises(ArmFault, match="recover"):
            arm.start()
        with pytest.raises(ArmFault, match=f"nothing listens at {server.address}"):
            arm.recover()
        (dump,) = tmp_path.glob("fault-*.npz")
        with np.load(dump) as saved:
            assert saved["telemetry"].dtype == TELEMETRY
            assert str(saved["reason"]) == reflex.detail
    with simulated_server(server.address), arm:
        arm.start()
        assert arm.read().mode is Mode.HOLD


def test_death_of_the_real_time_process_is_a_fault(robot: SimulatedServer) -> None:
    with FrankaArm(robot.address) as arm:
        recover_from(arm)
        arm.start()
        os.kill(arm.process_id, signal.SIGKILL)
        assert wait_exit(arm.process_id)
        with pytest.raises(ArmFault, match="SIGKILL"):
            arm.read()
        with pytest.raises(ArmFault, match="SIGKILL"):
            arm.stop()
    with pytest.raises(ArmFault, match="not connected"):
        arm.read()
    # The robot has lost its client in the middle of a motion, and does not go on as if nothing had happened.
    with FrankaArm(robot.address) as arm:
        with pytest.raises(ArmFault, match="communication_constraints_violation"):
            arm.start()
        arm.recover()
        arm.start()


def test_telemetry_outlives_the_real_time_process(robot: SimulatedServer, tmp_path) -> None:
    with FrankaArm(robot.address) as arm:
        recover_from(arm)
    with FrankaArm(robot.address, dump_directory=tmp_path) as arm:
        arm.start()
        wait_until(lambda: len(arm.telemetry()) > 100)
        os.kill(arm.process_id, signal.SIGKILL)
        assert wait_exit(arm.process_id)
        for _ in range(2):  # one death, one file
            with pytest.raises(ArmFault, match="SIGKILL"):
                arm.read()
    (file,) = tmp_path.glob("fault-*.npz")
    saved = load_telemetry(file)
    assert "SIGKILL" in saved.reason
    assert len(saved.ticks) >= 100
    assert [event.kind for event in saved.events] == [EventKind.STARTED]


def test_user_stop_ends_the_motion_and_its_release_moves_nothing(tmp_path) -> None:
    with (
        simulated_server() as server,
        SceneClient(server.address, SCENE_PORT) as scene,
        FrankaArm(server.address, dump_directory=tmp_path) as arm,
    ):
        arm.start()
        wait_until(lambda: arm.read().mode is Mode.HOLD)
        scene.user_stop(True)
        events = wait_event(arm, EventKind.STOPPED)
        assert EventKind.REFLEX not in {event.kind for event in events}
        reading = arm.read()
        assert (reading.mode, reading.fault) == (Mode.STOPPED, events[-1].detail)
        assert "user stop" in reading.fault
        for forbidden in (arm.start, arm.recover):
            with pytest.raises(ArmFault, match="user stop is pressed"):
                forbidden()
        scene.user_stop(False)
        assert "released" in wait_event(arm, EventKind.RECOVERED)[-1].detail
        assert (arm.read().mode, arm.read().fault) == (Mode.IDLE, "")
        count = len(arm.telemetry())
        scene.user_stop(True)  # with no motion active
        wait_until(lambda: arm.read().mode is Mode.STOPPED)
        scene.user_stop(False)
        wait_until(lambda: arm.read().mode is Mode.IDLE)
        assert len(arm.telemetry()) == count  # nothing has moved since
        arm.start()
        assert arm.read().mode is Mode.HOLD
    assert [load_telemetry(file).reason for file in tmp_path.glob("fault-*.npz")] == [reading.fault] * 2


def test_reflex_has_the_robots_own_name_and_waits_for_recovery(tmp_path) -> None:
    with (
        simulated_server() as server,
        SceneClient(server.address, SCENE_PORT) as scene,
        FrankaArm(server.address, dump_directory=tmp_path) as arm,
    ):
        arm.start()
        scene.set_faults(Faults(loss=0.98, burst=100))
        wait_until(lambda: arm.read().mode is Mode.FAULT)
        scene.set_faults(Faults())
        assert "communication_constraints_violation" in arm.read().fault
        with pytest.raises(ArmFault, match=r"communication_constraints_violation.*recover it first"):
            arm.start()
        arm.recover()
        assert (arm.read().mode, arm.read().fault) == (Mode.IDLE, "")
        arm.start()
        assert arm.read().mode is Mode.HOLD
    (file,) = tmp_path.glob("fault-*.npz")
    assert "communication_constraints_violation" in load_telemetry(file).reason


def test_every_kind_of_order_reaches_the_controller(arm: FrankaArm) -> None:
    arm.start()
    seqs = count()

    def tracks() -> bool:
        arm.command(JointSetpoint(arm.read().state.q, seq=next(seqs)))
        return arm.read().mode is Mode.TRACK

    wait_until(tracks)
    arm.begin_episode()
    wait_event(arm, EventKind.BUDGET_GRANTED)
    arm.change_gains(ImpedanceGains(translational_stiffness=500.0))
    wait_event(arm, EventKind.GAINS_CHANGED)
    arm.command(WrenchSetpoint(np.array([0.0, 0.0, -np.inf, 0.0, 0.0, 0.0]), seq=0))
    wait_event(arm, EventKind.SETPOINT_REJECTED)
    arm.stop()
    assert arm.read().budget > 0.0


def test_gains_without_a_motion_are_rejected(arm: FrankaArm) -> None:
    arm.change_gains(ImpedanceGains(translational_stiffness=500.0))
    assert "gains: no motion is active" in wait_event(arm, EventKind.SETPOINT_REJECTED)[-1].detail
    arm.start()
    arm.stop()
    assert EventKind.GAINS_CHANGED not in {event.kind for event in arm.events()}


def test_start_that_was_given_up_begins_no_motion(arm: FrankaArm, monkeypatch: pytest.MonkeyPatch) -> None:
    os.kill(arm.process_id, signal.SIGSTOP)
    monkeypatch.setattr("hardware.franka.arm.REQUEST_TIMEOUT", 0.05)
    try:
        with pytest.raises(ArmFault, match="did not start within"):
            arm.start()
    finally:
        os.kill(arm.process_id, signal.SIGCONT)
    monkeypatch.undo()
    arm.stop()  # answered after everything that was asked for before
    assert len(arm.telemetry()) == 0
    arm.start()
    assert arm.read().mode is Mode.HOLD


def test_records_that_cannot_be_written_hide_no_error(
    robot: SimulatedServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "not-a-folder"
    file.touch()
    with FrankaArm(robot.address, dump_directory=file) as arm:
        recover_from(arm)
        arm.start()
        arm.stop()
        os.kill(arm.process_id, signal.SIGKILL)
        assert wait_exit(arm.process_id)
        with pytest.raises(ArmFault, match="SIGKILL"):
            arm.read()
    said = capfd.readouterr().err
    for name in ("fault-", "telemetry.npz"):
        assert f"cannot be written to {file}/{name}" in said


def test_real_time_process_ends_by_itself_when_its_parent_is_killed(robot: SimulatedServer) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, robot.address], stdout=subprocess.PIPE, text=True, env=environment()
    )
    try:
        child = int(parent.stdout.readline())
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    assert wait_exit(child)


def test_second_driver_is_told_that_the_arm_is_taken(arm: FrankaArm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardware.franka.arm.CONNECT_TIMEOUT", 2.0)
    other = FrankaArm(arm.address)
    with pytest.raises(ArmConnectionError, match="another program"):
        other.connect()
    with pytest.raises(ArmFault, match="not connected"):
        other.read()


@pytest.mark.parametrize("address", [unused_address(), "no-such-robot.invalid"], ids=["silent", "unknown"])
def test_no_arm_at_the_address(address: str) -> None:
    arm = FrankaArm(address)
    with pytest.raises(ArmConnectionError, match=f"{address}:1337.*robot-rl sim"):
        arm.connect()
    arm.disconnect()


def test_something_that_is_no_robot_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    address = unused_address()
    monkeypatch.setattr("hardware.franka.arm.CONNECT_TIMEOUT", 2.0)
    with socket.create_server((address, 1337)), pytest.raises(ArmConnectionError, match=address):
        FrankaArm(address).connect()
