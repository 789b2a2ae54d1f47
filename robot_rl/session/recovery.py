"""Faults of the arm: what they are called, and whether the motion itself has brought one about."""

from __future__ import annotations

import numpy as np

from controllers.state import Mode
from robot_rl.contract import Reading

RECOVERY_ATTEMPTS = 3  # in a row, before a person has to look
DAMPED_ATTEMPTS = 30  # to start an arm that has only damped out: the link, or a busy machine, kept commands from it
REFLEX = "the robot stopped the motion"  # how the reason of an episode begins that a reflex ended …
STOPPED = "stopped by a person"  # … and of one that a person did
# Faults, by libfranka's names, that the motion itself brings about, so its author: failures of the task.
MOTION_ERRORS = (
    *("joint_reflex", "cartesian_reflex", "self_collision_avoidance_violation", "power_limit_violation"),
    *("joint_position_limits_violation", "cartesian_position_limits_violation", "force_control_safety_violation"),
    *("joint_velocity_violation", "cartesian_velocity_violation"),
)
NETWORK_ERROR = "communication_constraints_violation"  # what comes with it may come of it
RECOVERED_STEPS = 10  # of an episode without a fault, after which the arm has recovered; or the end of a shorter one
RECOVERY_PATIENCE = 20  # control periods that one attempt may take


def fault_of(reading: Reading) -> str:
    """Why no episode can run at this reading, with the robot's own words where it has some; "" when one can."""
    if reading.mode in (Mode.FAULT, Mode.STOPPED):
        what = REFLEX if reading.mode is Mode.FAULT else STOPPED
        return f"{what}: {reading.fault}" if reading.fault else what
    idle = {Mode.IDLE: "the arm is not under control", Mode.DAMP: "setpoints went stale; the controller damped out"}
    return reading.fault or idle.get(reading.mode, "")


def brought_about(reading: Reading, before: Reading) -> bool:
    """Whether the robot stopped because of how it was moved, not of the network or a person, and all of it was seen.

    ``before``: the reading that the motion began at.
    """
    moved_badly = any(name in reading.fault for name in MOTION_ERRORS) and NETWORK_ERROR not in reading.fault
    measured = np.concatenate((reading.q, reading.twist, reading.wrench))
    pictures = reading.images.keys() == before.images.keys() and reading.features.keys() == before.features.keys()
    lanes = pictures and (reading.sensed is None) == (before.sensed is None)
    seen = np.isfinite(measured).all() and lanes
    return bool(reading.mode is Mode.FAULT and moved_badly and seen)
