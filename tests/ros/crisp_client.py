"""A program written for CRISP: drives an arm with crisp_py's own `Robot`. Prints a line of JSON for each thing it saw.

Started as a process by `test_crisp_client.py`, because crisp_py keeps rclpy's default context and threads of its own.
Parts of crisp_py need packages that PyPI does not have (controller_manager_msgs, control_msgs, tf2_ros): left out are
switching between controllers, homing by a trajectory controller, poses from tf.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import types
from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import TransformStamped


class LeftOut:
    """Stands where a part of crisp_py is left out."""

    def __init__(self, *arguments: object, **options: object) -> None: ...


for module, name in (
    ("crisp_py.control.controller_switcher", "ControllerSwitcherClient"),
    ("crisp_py.control.joint_trajectory_controller_client", "JointTrajectoryControllerClient"),
    ("crisp_py.utils.tf_pose", "TfPose"),
):
    sys.modules[module] = types.ModuleType(module)
    setattr(sys.modules[module], name, LeftOut)

sys.modules["tf2_ros"] = types.ModuleType("tf2_ros")
sys.modules["tf2_ros"].TransformStamped = TransformStamped  # type: ignore[attr-defined]

from crisp_py.robot.robot import Robot  # noqa: E402
from crisp_py.robot.robot_config import FrankaConfig  # noqa: E402

STEP = np.array([0.0, 0.03, 0.02])  # [m]
TURN = 0.15  # [rad] of the last joint
NEAR, NEAR_JOINT = 0.003, 0.02  # [m], [rad] at which a target counts as reached
PATIENCE = 60.0  # [s] for each


def tell(what: str, robot: Robot, **more: object) -> None:
    pose = robot.end_effector_pose
    seen = {
        "what": what,
        "position": pose.position.tolist(),
        "quat_xyzw": pose.orientation.as_quat().tolist(),
        "joints": robot.joint_values.tolist(),
        "twist": [*robot.end_effector_twist.linear.tolist(), *robot.end_effector_twist.angular.tolist()],
    }
    sys.stdout.write(json.dumps({**seen, **more}) + "\n")
    sys.stdout.flush()


def wait_until(arrived: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and not arrived():
        time.sleep(0.02)


def main(namespace: str) -> None:
    robot = Robot(namespace=namespace, robot_config=FrankaConfig())
    robot.wait_until_ready(timeout=PATIENCE)
    while robot._current_twist is None:
        time.sleep(0.01)
    tell("ready", robot)

    def at(position: np.ndarray) -> bool:
        return bool(np.linalg.norm(robot.end_effector_pose.position - position) < NEAR)

    start = robot.end_effector_pose
    there = start.position + STEP
    robot.move_to(position=there, speed=0.1)
    wait_until(lambda: at(there))
    tell("move_to", robot, target=there.tolist())

    robot.set_target(pose=start)
    wait_until(lambda: at(start.position))
    tell("set_target", robot, target=start.position.tolist())

    begin = robot.joint_values.astype(np.float64)
    turn = np.zeros(robot.nq)
    for turn[-1] in np.linspace(0.0, TURN, 20):
        robot.set_target_joint(begin + turn)
        time.sleep(0.05)
    wait_until(lambda: bool(np.abs(robot.joint_values - begin - turn).max() < NEAR_JOINT))
    tell("set_target_joint", robot, target=(begin + turn).tolist())
    robot.shutdown()
    for thread in set(threading.enumerate()) - {threading.main_thread()}:
        thread.join(PATIENCE)  # crisp_py's own: what still spins while the interpreter ends may abort the process


if __name__ == "__main__":
    main(sys.argv[1])
