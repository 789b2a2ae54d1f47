"""franky-control against a simulated robot: ``python franky_client.py ADDRESS``; prints one JSON object."""

from __future__ import annotations

import json
import sys

import franky


def main(address: str) -> dict:
    robot = franky.Robot(address, realtime_config=franky.RealtimeConfig.Ignore)
    robot.recover_from_errors()
    robot.relative_dynamics_factor = 0.1
    start = list(robot.state.q)
    target = [start[0] + 0.1, *start[1:]]
    robot.move(franky.JointMotion(target))
    result = {"joint": robot.state.q_d[0] - start[0]}

    before = robot.current_cartesian_state.pose.end_effector_pose.translation
    down = franky.Affine([0.0, 0.0, 0.03])  # along the end effector's z axis
    robot.move(franky.CartesianMotion(down, franky.ReferenceType.Relative))
    after = robot.current_cartesian_state.pose.end_effector_pose.translation
    result["cartesian"] = [float(b - a) for a, b in zip(before, after, strict=True)]

    robot.relative_dynamics_factor = 0.5
    try:
        robot.move(franky.CartesianMotion(franky.Affine([1.5, 0.0, 0.0]), franky.ReferenceType.Relative))
        result["unreachable"] = "fine"
    except franky.ControlException as error:
        result["unreachable"] = str(error)
    result["errors"] = robot.has_errors
    result["recovered"] = robot.recover_from_errors()
    robot.move(franky.JointMotion(target))
    result["again"] = robot.state.q_d[0] - start[0]

    gripper = franky.Gripper(address)
    result["gripper"] = gripper.move(0.04, 0.05)
    return result


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
