from __future__ import annotations

import time

import pytest

from tests.contracts.arm_contract import check_arm
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

    with simulated_server() as server:
        arm = FrankaArm(server.address)
        check_arm(arm, lambda seconds: wait_robot_time(arm, seconds))


def test_in_process_world_meets_the_arm_contract() -> None:
    inprocess = pytest.importorskip("hardware.sim.inprocess")
    from controllers.core import ControllerConfig
    from hardware.sim.scene import SceneSpec

    world = inprocess.InProcessWorld(SceneSpec(), ControllerConfig())
    check_arm(world, world.advance)
