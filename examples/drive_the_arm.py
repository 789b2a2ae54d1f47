"""Drive the arm from Python, without ROS: a square of 5 cm, ahead and to the left, through the ordinary controller.

    python examples/drive_the_arm.py                    # in this process, as fast as it goes
    robot-rl sim --task reach                           # a simulated FR3 at 127.0.0.1, and in another terminal
    python examples/drive_the_arm.py 127.0.0.1

With an FR3's address it drives that: keep the square free, and the user stop in your hand. Nothing else may command the
arm meanwhile; where others do, go through the topics of the arm node (`robot-rl arm`), which says who may.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

from controllers.core import ControllerConfig
from controllers.spatial import Pose
from controllers.state import Setpoint
from hardware.franka.arm import FrankaArm
from hardware.interfaces import Arm, ArmFault, HardwareError
from hardware.scene import SceneSpec

SIDE, SPEED = 0.05, 0.025  # [m], [m/s]
PERIOD = 0.1  # [s] between setpoints; after 0.25 s without one the arm holds, after 1 s it damps out
SETTLE = 0.5  # [s] at each corner
CORNERS = SIDE * np.array([(1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.0, 0.0)])  # x and y from where the arm stands


def square(arm: Arm, wait: Callable[[float], None]) -> Iterator[tuple[Pose, Pose]]:
    """Each corner's pose, wished and measured; ``wait(seconds)`` lets that much time pass.

    Raises `ArmFault` when the arm stops by itself.
    """
    start = previous = arm.read().pose
    sequence = 0
    for corner in CORNERS:
        goal = start.moved(np.array([*corner, 0.0, 0.0, 0.0, 0.0]))
        way, steps = goal.difference(previous), round(SIDE / SPEED / PERIOD)
        for i in range(steps + round(SETTLE / PERIOD)):
            sequence += 1
            arm.command(Setpoint(previous.moved(way * min((i + 1) / steps, 1.0)), sequence, PERIOD))
            wait(PERIOD)
            if fault := arm.read().fault:
                raise ArmFault(fault)
        yield goal, arm.read().pose
        previous = goal


def run(arm: Arm, wait: Callable[[float], None]) -> None:
    """Drive a connected arm, and say where it got."""
    arm.start()
    try:
        for goal, reached in square(arm, wait):
            off = 1000.0 * float(np.linalg.norm(goal.translation - reached.translation))
            print("corner at {:.3f}, {:.3f}, {:.3f} m".format(*reached.translation), f"{off:.1f} mm off", sep=", ")
    finally:
        arm.stop()
        for event in arm.events():
            print(f"{event.time:.3f} s: {event.kind.name.lower()} {event.detail}".rstrip())


def main(arguments: list[str]) -> None:
    try:
        if arguments:
            with FrankaArm(arguments[0]) as arm:
                run(arm, time.sleep)
        else:
            from hardware.sim.world.inprocess import InProcessWorld  # needs the simulator, which a robot does not

            with InProcessWorld(SceneSpec(), ControllerConfig()) as world:
                run(world, world.advance)
    except HardwareError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
