"""Where the joints of a simulated arm stop mechanically."""

from __future__ import annotations

import mujoco

from hardware.sim.fci.conformance import ConformanceLimits
from hardware.sim.scene.model import ROBOT

BEYOND = 0.05  # the stops lie this far outside the limits that the robot watches [rad]


def set_joint_stops(model: mujoco.MjModel, limits: ConformanceLimits, robot: str = ROBOT) -> None:
    """Put the mechanical stops of the arm beyond its position limits, as they are on the real one.

    franky-sim's model has the narrower ranges of older system versions, where no joint could ever reach its limit.
    ``robot``: prefix of the arm's names.
    """
    for i, (lower, upper) in enumerate(zip(limits.position_lower, limits.position_upper, strict=True), 1):
        model.jnt_range[model.joint(f"{robot}fr3_joint{i}").id] = (lower - BEYOND, upper + BEYOND)
