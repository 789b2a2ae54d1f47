from __future__ import annotations

import time

import pytest

from hardware.sim.channel.client import SceneClient
from hardware.sim.channel.faults import Faults
from tests.contracts.arm_contract import PATIENT, check_arm
from tests.hardware.simulated import simulated_server

pytest.importorskip("franky_sim")


def wait_robot_time(arm, seconds: float) -> None:
    """Let ``seconds`` of robot time pass."""
    end = arm.read().state.time + seconds
    while arm.read().state.time < end:
        time.sleep(0.001)


def test_franka_arm_meets_the_arm_contract() -> None:
    pytest.importorskip("pylibfranka")
    from hardware.franka.arm import FrankaArm

    with simulated_server() as server, SceneClient(server.address) as scene:
        arm = FrankaArm(server.address, PATIENT)

        def silence() -> None:
            """Cut the network until the robot has missed more commands than it bears."""
            missed = scene.statistics()["missed"]
            scene.set_faults(Faults(loss=1.0))
            while scene.statistics()["missed"] < missed + 20:
                time.sleep(0.001)
            scene.set_faults(Faults())

        check_arm(arm, lambda seconds: wait_robot_time(arm, seconds), silence)


def test_in_process_world_meets_the_arm_contract() -> None:
    inprocess = pytest.importorskip("hardware.sim.world.inprocess")
    from controllers.core import ControllerConfig
    from hardware.scene import SceneSpec

    world = inprocess.InProcessWorld(SceneSpec(), ControllerConfig())

    def knock() -> None:
        """Make the last joint faster than it may be."""
        _, data = world.physics
        data.qvel[6] = 6.0

    check_arm(world, world.advance, knock)
