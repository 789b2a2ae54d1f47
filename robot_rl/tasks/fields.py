"""Parts of state vectors that tasks share, and the arithmetic between readings and those parts.

Scales bring typical values to order 1: 0.1 m/s is a full action a step, 20 N and 1 cm the limits of the spring.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from controllers.spatial import Pose
from robot_rl.contract import ContractError, Field, Reading

LINEAR_VELOCITY = Field("linear_velocity", 3, 10.0)  # per m/s
ANGULAR_VELOCITY = Field("angular_velocity", 3, 2.0)  # per rad/s
FORCE = Field("force", 3, 0.05)  # per N
MOMENT = Field("moment", 3, 1.0)  # per N·m
LINEAR_SPRING = Field("linear_spring", 3, 100.0)  # per m of reference − measured
ANGULAR_SPRING = Field("angular_spring", 3, 20.0)  # per rad
GRIPPER = Field("gripper", 1, 1.0)  # opening 0–1
TANK = Field("tank", 1, 1.0)  # per J
BUDGET = Field("budget", 1, 0.003)  # per J left of the episode's budget, which is 300 J unless configured


def arm_values(reading: Reading) -> dict[str, np.ndarray | float]:
    """Values of the fields above, by name, unscaled."""
    spring = reading.target.difference(reading.pose)
    return {
        "linear_velocity": reading.twist[:3],
        "angular_velocity": reading.twist[3:],
        "force": reading.contact[:3],
        "moment": reading.contact[3:],
        "linear_spring": spring[:3],
        "angular_spring": spring[3:],
        "gripper": reading.gripper,
        "tank": reading.tank,
        "budget": reading.budget,
    }


def pack(fields: tuple[Field, ...], values: Mapping[str, np.ndarray | float]) -> np.ndarray:
    """The state vector float32: each field's value times its scale, in order.

    Values of names that are no field are ignored. Raises `ContractError` on a field without a value, or of the wrong
    size.
    """
    parts = []
    for item in fields:
        if item.name not in values:
            raise ContractError(f"no value for the state's field {item.name!r}; there are {sorted(values)}")
        part = np.atleast_1d(values[item.name])
        if part.shape != (item.size,):
            raise ContractError(f"the state's field {item.name!r} has size {item.size}, its value {part.shape}")
        parts.append(item.scale * part)
    return np.concatenate(parts).astype(np.float32)


def object_pose(reading: Reading, name: str) -> Pose:
    """Pose of an object in the base frame. Raises `ContractError` when the scene does not know it."""
    try:
        return reading.objects[name]
    except KeyError:
        raise ContractError(
            f"this task needs the pose of {name!r}, and the scene knows {sorted(reading.objects) or 'no objects'}"
        ) from None
