"""The arm node around the FR3 driver."""

from __future__ import annotations

import contextlib
import dataclasses
import time

import rclpy

from controllers.core import ControllerConfig
from hardware.franka.arm import FrankaArm
from hardware.franka.gripper import FrankaGripper
from hardware.interfaces import ArmConnectionError
from hardware.ros.arm_node import ArmNode, spin
from hardware.sim.client import SceneClient
from robot_rl.config import RunConfig
from robot_rl.run import Run
from robot_rl.tasks import make_task

SIMULATOR_PATIENCE = 30.0  # [s] for the simulator, started at the same time, to come up


def main(run: Run, config: RunConfig, job: str) -> int:
    task = make_task(config.task)
    scene = task.scene()
    controller: ControllerConfig = dataclasses.replace(config.controller, workspace=task.workspace)
    rclpy.init()
    with contextlib.ExitStack() as stack:
        stack.callback(rclpy.try_shutdown)
        arm = FrankaArm(config.robot_ip, controller)
        patience = SIMULATOR_PATIENCE if config.arm == "sim" else 0.0
        _connect(arm, patience)
        stack.callback(arm.disconnect)
        gripper = FrankaGripper(config.robot_ip)
        gripper.connect()
        stack.callback(gripper.disconnect)
        objects = scene.objects if config.arm == "sim" else ()
        client = None
        if objects:
            client = SceneClient(config.robot_ip, config.scene_port)
            client.connect()
            stack.callback(client.disconnect)
        spin(ArmNode(arm, gripper, client, objects))
    return 0


def _connect(arm: FrankaArm, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            arm.connect()
            return
        except ArmConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
