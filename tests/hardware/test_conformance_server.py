"""The simulated robot as real clients see it: pylibfranka in processes of its own, and the protocol by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from controllers.state import Mode, Setpoint
from hardware.sim.channel.client import SceneClient
from hardware.sim.channel.faults import Faults
from hardware.sim.fci.conformance import ConformanceLimits
from tests.contracts.arm_contract import PATIENT
from tests.contracts.test_arm_contract import wait_robot_time
from tests.hardware.simulated import SCENE_PORT, SimulatedServer, environment, simulated_server

pytest.importorskip("franky_sim")
pytest.importorskip("pylibfranka")

from hardware.franka.arm import FrankaArm

CLIENT = Path(__file__).with_name("fci_client.py")
PATIENCE = 0.2  # [s] that the robot's clock waits for these clients, which have no real-time scheduling
REFLEX = "ControlException: libfranka: Move command aborted: motion aborted by reflex! "
# A block whose top is 1 cm below the fingertips at the start, and a little in front: where pressing leads them.
BLOCK = '<geom name="block" type="box" pos="0.5 0 0.1" size="0.3 0.3 0.1"/>'


@pytest.fixture(scope="module")
def patient() -> Iterator[SimulatedServer]:
    with simulated_server(patience=PATIENCE) as server:
        yield server


def run(scenario: str, server: SimulatedServer) -> dict:
    done = subprocess.run(
        [sys.executable, CLIENT, scenario, server.address],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_ends_torque_control_and_what_it_takes_to_begin_again(patient: SimulatedServer) -> None:
    told = run("torque", patient)
    assert (told["idle"]["mode"], told["idle"]["errors"], told["idle"]["rate"]) == ("Idle", "[]", 0.0)
    assert told["zero"] == "fine"
    assert told["jump"] == f'{REFLEX}["controller_torque_discontinuity"]'
    assert told["after"] == {
        "mode": "Reflex",
        "errors": '["controller_torque_discontinuity"]',
        "last": '["controller_torque_discontinuity"]',
        "rate": 0.0,
    }
    rejected = (
        'CommandException: libfranka: Move command rejected: command not possible in the current mode ("Reflex")!'
    )
    assert told["refused"] == rejected
    assert told["recovery"] == "fine"
    assert told["recovered"]["mode"] == "Idle"
    assert told["recovered"]["errors"] == "[]"
    assert told["again"] == "fine"
    assert told["silence"] == f'{REFLEX}["communication_constraints_violation"]'
    assert told["nan"].startswith("ValueError")  # libfranka does not even send it
    assert told["nan_after"]["mode"] == "Idle"
    assert told["range"] == f'{REFLEX}["tau_J_range_violation"]'
    assert told["fast"] == f'{REFLEX}["joint_velocity_violation"]'


def test_a_joint_turned_to_its_end_stops_at_the_limit() -> None:
    with simulated_server(patience=PATIENCE) as server:
        told = run("limit", server)
    assert told["outcome"] == f'{REFLEX}["joint_position_limits_violation"]'
    assert told["mode"] == "Reflex"
    # At 0.8 rad/s the brake has it within a few milliseconds, before the mechanical stop 0.05 rad further on.
    assert 0.0 < told["q"] - ConformanceLimits().position_upper[6] < 0.02


def test_motion_generators_and_setters_work_as_before_and_a_jump_is_refused(patient: SimulatedServer) -> None:
    told = run("generators", patient)
    assert told["joint_position"] == pytest.approx(0.1, abs=2e-3)
    assert told["joint_velocity"] == pytest.approx(0.1, abs=0.02)
    assert told["cartesian_pose"] > 0.05
    assert told["cartesian_velocity"] > 0.05
    assert told["jump"].startswith(f'{REFLEX}["joint_motion_generator_velocity_')


def test_an_impedance_controller_like_pylibfrankas_example_runs(patient: SimulatedServer) -> None:
    told = run("impedance", patient)
    assert told["moved"] == pytest.approx(0.2, abs=0.03)
    assert told["rate"] > 0.9


def test_the_gripper_homes_moves_and_grasps(patient: SimulatedServer) -> None:
    told = run("gripper", patient)
    assert told == {"homing": True, "move": True, "width": pytest.approx(0.03, abs=3e-3), "grasp": True, "stop": True}


def test_torques_that_are_no_numbers_abort_and_the_driver_is_spoken_to_from_loopback(patient: SimulatedServer) -> None:
    told = run("raw", patient)
    motion_started, reflex_aborted = 1, 8  # research_interface::robot::Move::Status
    assert told == {"started": motion_started, "aborted": reflex_aborted, "from": patient.address}


def test_the_user_stop_ends_the_motion_until_it_is_released(patient: SimulatedServer) -> None:
    client = subprocess.Popen(
        [sys.executable, CLIENT, "stopped", patient.address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    with client, SceneClient(patient.address, SCENE_PORT) as scene:
        assert client.stdout.readline() == "moving\n"
        scene.user_stop(True)
        assert client.stdout.readline() == "stopped\n"
        scene.user_stop(False)
        told = json.loads(client.communicate("go\n", timeout=110)[0])
    assert told["stopped"] == "ControlException: libfranka: Move command aborted: User Stop pressed!"
    assert (told["after"]["mode"], told["after"]["errors"]) == ("UserStopped", "[]")
    for refused in (told["refused"], told["recovery"]):
        assert refused.startswith("CommandException")
        assert 'command not possible in the current mode ("User stopped")' in refused
    assert told["released"]["mode"] == "Idle"
    assert told["again"] == "fine"


def test_pressing_on_something_is_a_contact_and_then_a_collision() -> None:
    with simulated_server(patience=PATIENCE, worldbody=BLOCK) as server:
        told = run("press", server)
    assert told["contact"]
    assert told["outcome"] == f'{REFLEX}["joint_reflex"]'
    assert told["joint_collision"][1] == 1.0
    assert told["refused"].startswith("CommandException")
    assert "invalid argument" in told["refused"]
    # The block pushes the hand up, which turns joint 2 back: the two are the same load.
    assert told["wrench"][2] > 5.0
    assert told["external"][1] < -5.0


def test_lost_datagrams_lower_the_success_rate_and_silence_is_a_reflex() -> None:
    with (
        simulated_server() as server,
        SceneClient(server.address, SCENE_PORT) as scene,
        FrankaArm(server.address, PATIENT) as arm,
    ):
        missed = scene.statistics()["missed"]
        scene.set_faults(Faults(loss=0.1, seed=4))
        arm.start()
        here = arm.read().pose
        rates = []
        for seq in range(8):
            arm.command(Setpoint(here, seq))
            wait_robot_time(arm, 0.1)
            rates.append(arm.read().success_rate)
        # Of 100 rounds, 19 lose their state or their answer, give or take four.
        assert 0.6 < np.mean(rates[2:]) < 0.95
        assert scene.statistics()["missed"] > missed
        assert arm.read().mode is Mode.TRACK

        scene.set_faults(Faults(loss=1.0))
        steps = scene.statistics()["steps"]
        while scene.statistics()["steps"] < steps + 40:
            pass
        scene.set_faults(Faults())
        while arm.read().mode is not Mode.FAULT:
            pass
        assert "communication_constraints_violation" in arm.read().fault
