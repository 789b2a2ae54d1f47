"""The arm node around the driver of the arm: that of the FR3, simulated or not, or of any arm under CRISP."""

from __future__ import annotations

import contextlib
import dataclasses
import math

from controllers.config import ControllerConfig
from hardware.crisp.driver import CrispArm, CrispGripper
from hardware.crisp.ros.topics import RosCrispTopics
from hardware.franka.arm import FrankaArm
from hardware.franka.description import fr3_joints
from hardware.franka.gripper import FrankaGripper
from hardware.interfaces import Arm, Gripper, HardwareError
from hardware.ros.arm_node import ArmNode
from hardware.ros.runtime import ros, spin
from hardware.ros.served import ServedArm
from hardware.sim.channel.client import SceneClient
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.processes import await_simulator
from robot_rl.jobs.remote import patience_of, served, serves_sessions
from robot_rl.jobs.run import Run
from robot_rl.tasks import make_task
from robot_rl.tasks.base import scene_of


def main(run: Run, config: RunConfig, job: str) -> int:
    task = make_task(config.task)
    scene = scene_of(task)
    first_after = max(config.controller.first_after, patience_of(config, job))
    controller = dataclasses.replace(task.bound(config.controller), first_after=first_after)
    if not serves_sessions(config, job):  # energy is granted by the second only
        controller = dataclasses.replace(controller, tank=dataclasses.replace(controller.tank, episode_budget=math.inf))
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(ros())
        arm, gripper = make_drivers(run, config, controller)
        await_simulator(run, config, stop)
        try:
            arm.connect()
        except HardwareError:
            if stop.asked:  # and the simulator, too, which has gone already
                return 0
            raise
        stack.callback(arm.disconnect)
        if gripper is not None:
            gripper.connect()
            stack.callback(gripper.disconnect)
        # A blind session asks nobody where objects are, but drawn cameras have to show them.
        objects = scene.objects if config.knows_scene or (config.arm == "sim" and config.cameras) else ()
        client = None
        if objects:
            client = SceneClient(config.robot_ip, config.scene_port)
            client.connect()
            stack.callback(client.disconnect)
        # CRISP's own robot_state_publisher describes the arm that is under it.
        joints = () if config.arm == "crisp" else fr3_joints()
        node = ArmNode(arm, gripper, client, objects, controller.gains, task.control_period, joints)
        ServedArm(node, served(config, task, job).to_json(), client if config.knows_scene else None)
        spin(node, stop)
    return 0


def make_drivers(run: Run, config: RunConfig, controller: ControllerConfig) -> tuple[Arm, Gripper | None]:
    """The drivers of arm and gripper that ``config.arm`` names, not connected; None where there is no gripper."""
    if config.arm == "crisp":
        topics = RosCrispTopics(config.crisp)
        gripper = CrispGripper(topics, config.crisp) if config.crisp.gripper_command else None
        return CrispArm(topics, config.crisp, controller), gripper
    return FrankaArm(config.robot_ip, controller, dump_directory=run.logs), FrankaGripper(config.robot_ip)
