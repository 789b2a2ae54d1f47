"""Clients of a simulated robot, written against pylibfranka alone: ``python fci_client.py SCENARIO ADDRESS``.

Each scenario prints one JSON object. They run in processes of their own, because pylibfranka never releases the
interpreter.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import sys
import time
from collections.abc import Callable

import pylibfranka as franka

ZERO = [0.0] * 7
HIGH = ([100.0] * 7, [100.0] * 7, [100.0] * 6, [100.0] * 6)


def told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def state_of(robot: franka.Robot) -> dict:
    state = robot.read_once()
    return {
        "mode": state.robot_mode.name,
        "errors": str(state.current_errors),
        "last": str(state.last_motion_errors),
        "rate": state.control_command_success_rate,
    }


def torques(robot: franka.Robot, ticks: int, torque: Callable[[int], list[float]], **pause: float) -> franka.RobotState:
    """Torque control for ``ticks``; ``pause``: at which tick to sleep, for how many seconds."""
    control = robot.start_torque_control()
    for tick in range(ticks):
        state, _ = control.readOnce()
        if tick == pause.get("at"):
            time.sleep(pause["seconds"])
        command = franka.Torques(torque(tick))
        command.motion_finished = tick == ticks - 1
        control.writeOnce(command)
    return state


def attempt(action: Callable[[], object]) -> str:
    try:
        action()
    except Exception as error:  # pylibfranka's exceptions share no base class
        return told(error)
    return "fine"


def torque(robot: franka.Robot) -> dict:
    """Everything that ends torque control, and what it takes to begin again."""
    robot.set_collision_behavior(*HIGH)
    jump = [*ZERO[:6], 1.5]
    result = {
        "idle": state_of(robot),
        "zero": attempt(lambda: torques(robot, 200, lambda _: ZERO)),
        "jump": attempt(lambda: torques(robot, 200, lambda tick: jump if tick == 100 else ZERO)),
        "after": state_of(robot),
        "refused": attempt(lambda: torques(robot, 10, lambda _: ZERO)),
        "recovery": attempt(robot.automatic_error_recovery),
        "recovered": state_of(robot),
        "again": attempt(lambda: torques(robot, 200, lambda _: ZERO)),
        "silence": attempt(lambda: torques(robot, 200, lambda _: ZERO, at=100, seconds=0.5)),
    }
    robot.automatic_error_recovery()
    result["nan"] = attempt(lambda: torques(robot, 10, lambda tick: [math.nan] * 7))
    result["nan_after"] = state_of(robot)
    ramp = lambda tick: [*ZERO[:4], min(0.9 * tick, 12.5), *ZERO[5:]]  # noqa: E731 - one of a list of courses
    result["range"] = attempt(lambda: torques(robot, 200, ramp))
    robot.automatic_error_recovery()
    spin = lambda tick: [*ZERO[:6], min(0.5 * tick, 8.0)]  # noqa: E731
    result["fast"] = attempt(lambda: torques(robot, 3000, spin))
    robot.automatic_error_recovery()
    return result


def press(robot: franka.Robot) -> dict:
    """Lower the hand onto what is below it, by torques, until the robot minds."""
    low, up = [2.0] * 7, [8.0] * 7
    robot.set_collision_behavior(low, up, [100.0] * 6, [100.0] * 6)
    seen = {"contact": False}

    def push(tick: int) -> list[float]:
        return [0.0, min(0.05 * tick, 6.0), 0.0, max(-0.05 * tick, -3.0), 0.0, 0.0, 0.0]

    def run() -> None:
        control = robot.start_torque_control()
        for tick in range(6000):
            state, _ = control.readOnce()
            seen["contact"] = seen["contact"] or any(state.joint_contact)
            control.writeOnce(franka.Torques(push(tick)))

    outcome = attempt(run)
    state = robot.read_once()
    return {
        "outcome": outcome,
        **seen,
        "joint_collision": list(state.joint_collision),
        "external": list(state.tau_ext_hat_filtered),
        "wrench": list(state.O_F_ext_hat_K),
        "refused": attempt(lambda: robot.set_collision_behavior(low, [-1.0] * 7, [1.0] * 6, [1.0] * 6)),
    }


def limit(robot: franka.Robot) -> dict:
    """Turn the last joint to its end by torques."""
    robot.set_collision_behavior(*HIGH)

    def run() -> None:
        control = robot.start_torque_control()
        while True:
            state, _ = control.readOnce()
            speed = 0.8 - state.dq[6]  # an ordinary speed, held by a damper; 0.25 N·m of friction
            control.writeOnce(franka.Torques([*ZERO[:6], max(-0.9, min(0.9, 0.25 + speed))]))

    outcome = attempt(run)
    return {"outcome": outcome, "q": robot.read_once().q[6], **state_of(robot)}


def stopped(robot: franka.Robot) -> dict:
    """Move until the user stop is pressed; wait for its release on the standard input."""

    def endless() -> None:
        def command(tick: int) -> list[float]:
            if tick == 50:
                print("moving", flush=True)
            return ZERO

        torques(robot, 100_000, command)

    result = {"stopped": attempt(endless), "after": state_of(robot)}
    result["refused"] = attempt(lambda: torques(robot, 10, lambda _: ZERO))
    result["recovery"] = attempt(robot.automatic_error_recovery)
    print("stopped", flush=True)
    sys.stdin.readline()
    while robot.read_once().robot_mode == franka.RobotMode.UserStopped:
        pass  # states sent before the release
    return {**result, "released": state_of(robot), "again": attempt(lambda: torques(robot, 100, lambda _: ZERO))}


def generators(robot: franka.Robot) -> dict:
    """Short, smooth motions by every motion generator, then one that jumps, and the setters of an ordinary client."""
    robot.set_joint_impedance([3000.0] * 7)
    robot.set_cartesian_impedance([3000.0] * 3 + [300.0] * 3)
    robot.set_load(0.1, [0.0, 0.0, 0.05], [0.001, 0.0, 0.0, 0.0, 0.001, 0.0, 0.0, 0.0, 0.001])
    robot.set_EE([1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    robot.set_collision_behavior(*HIGH)
    internal = franka.ControllerMode

    def follow(control, make: Callable[[franka.RobotState, float], object]) -> list[float]:
        first, _ = control.readOnce()
        elapsed, done, state = 0.0, False, first
        while not done:
            command = make(first, elapsed)
            command.motion_finished = done = elapsed >= 1.0
            control.writeOnce(command)
            if not done:
                state, period = control.readOnce()
                elapsed += period.to_sec()
        return [a - b for a, b in zip(state.q_d, first.q_d, strict=True)]

    def bump(t: float) -> float:
        return 0.05 * (1.0 - math.cos(math.pi * t))

    def joints(first: franka.RobotState, t: float, jump: float = 0.0) -> franka.JointPositions:
        return franka.JointPositions([*first.q_d[:6], first.q_d[6] + bump(t) + (jump if t > 0.5 else 0.0)])

    def pose(first: franka.RobotState, t: float) -> franka.CartesianPose:
        matrix = list(first.O_T_EE_c)
        matrix[14] += bump(t)
        return franka.CartesianPose(matrix)

    speed = lambda t: 0.05 * math.pi * math.sin(math.pi * t)  # noqa: E731
    result = {
        "joint_position": follow(robot.start_joint_position_control(internal.JointImpedance), joints)[6],
        "joint_velocity": follow(
            robot.start_joint_velocity_control(internal.CartesianImpedance),
            lambda _, t: franka.JointVelocities([*ZERO[:6], speed(t)]),
        )[6],
        "cartesian_pose": max(map(abs, follow(robot.start_cartesian_pose_control(internal.JointImpedance), pose))),
        "cartesian_velocity": max(
            map(
                abs,
                follow(
                    robot.start_cartesian_velocity_control(internal.CartesianImpedance),
                    lambda _, t: franka.CartesianVelocities([0.0, 0.0, speed(t), 0.0, 0.0, 0.0]),
                ),
            )
        ),
        "jump": attempt(
            lambda: follow(
                robot.start_joint_position_control(internal.JointImpedance), lambda s, t: joints(s, t, jump=0.004)
            )
        ),
    }
    robot.automatic_error_recovery()
    return result


def impedance(robot: franka.Robot) -> dict:
    """A joint impedance controller as in pylibfranka's example, which loads the model after the start of the motion."""
    robot.set_collision_behavior(*HIGH)
    start = list(robot.read_once().q)
    control = robot.start_torque_control()
    model = robot.load_model()
    elapsed, done = 0.0, False
    while not done:
        state, period = control.readOnce()
        elapsed += min(period.to_sec(), 0.005)  # after a pause, go on where it was
        s = min(elapsed, 1.0)
        goal = [*start[:6], start[6] + 0.2 * s**3 * (10.0 - 15.0 * s + 6.0 * s * s)]
        coriolis = model.coriolis(state)
        law = [
            50.0 * (g - q) - 2.0 * math.sqrt(50.0) * v + c
            for g, q, v, c in zip(goal, state.q, state.dq, coriolis, strict=True)
        ]
        command = franka.Torques(law)
        command.motion_finished = done = elapsed > 1.5
        control.writeOnce(command)
    return {"moved": state.q[6] - start[6], "rate": state.control_command_success_rate}


def gripper(robot: franka.Robot) -> dict:
    """Homing, a move, and a grasp of nothing."""
    hand = franka.Gripper(sys.argv[2])
    return {
        "homing": hand.homing(),
        "move": hand.move(0.03, 0.1),
        "width": hand.read_once().width,
        "grasp": hand.grasp(0.02, 0.1, 20.0),
        "stop": hand.stop(),
    }


def raw(address: str) -> dict:
    """Speak the protocol by hand, to send what libfranka would not: torques that are no numbers."""
    with (
        socket.create_connection((address, 1337), timeout=5.0) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(5.0)
        tcp.sendall(struct.pack("<IIIHH", 0, 1, 16, 10, udp.getsockname()[1]))
        tcp.recv(1000)
        tcp.sendall(struct.pack("<5I6d", 1, 2, 68, 2, 4, *([0.0] * 6)))
        started = tcp.recv(1000)[12]
        source = ("", 0)
        for tick in range(100):
            value = math.nan if tick == 99 else 0.0
            state, source = udp.recvfrom(10_000)
            number = struct.unpack_from("<Q", state)[0]
            udp.sendto(struct.pack("<Q38d??7d?", number, *([0.0] * 38), False, False, *([value] * 7), False), source)
        return {"started": started, "aborted": tcp.recv(1000)[12], "from": source[0]}


if __name__ == "__main__":
    name, where = sys.argv[1:]
    if name == "raw":
        print(json.dumps(raw(where)))
    else:
        robot = franka.Robot(where, franka.RealtimeConfig.kIgnore)
        robot.automatic_error_recovery()  # from whatever the client before has left behind
        print(json.dumps(globals()[name](robot)))
