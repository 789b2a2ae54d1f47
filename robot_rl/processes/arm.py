"""The arm node around the FR3 driver."""

from __future__ import annotations

import contextlib
import dataclasses

from controllers.core import ControllerConfig
from controllers.ros.runtime import ros, spin
from hardware.franka.arm import FrankaArm
from hardware.franka.gripper import FrankaGripper
from hardware.ros.arm_node import ArmNode
from hardware.sim.client import SceneClient
from robot_rl.config import RunConfig
from robot_rl.processes import await_simulator
from robot_rl.run import Run
from robot_rl.tasks import make_task


def main(run: Run, config: RunConfig, job: str) -> int:
    task = make_task(config.task)
    scene = task.scene()
    controller: ControllerConfig = dataclasses.replace(config.controller, workspace=task.workspace)
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(ros())
        arm = FrankaArm(config.robot_ip, controller, dump_directory=run.logs)
        await_simulator(run, config, stop)
        arm.connect()
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
        spin(ArmNode(arm, gripper, client, objects), stop)
    return 0
