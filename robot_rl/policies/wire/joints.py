"""Columns that move joints: the way of the TCP that seven joints of an FR3 with its hand make.

The arm goes by the TCP, so its elbow goes its own way, and joint targets need not be met.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from controllers.model import ArmModel
from hardware.franka.model import fr3_model
from robot_rl.policies.wire.file import JOINTS, ColumnSpec


@lru_cache(maxsize=1)
def model() -> ArmModel:
    """The arm. Raises `HardwareError` where its description is not installed."""
    return fr3_model()


def joint_path(values: Mapping[str, np.ndarray], specs: Mapping[str, ColumnSpec], measured: np.ndarray) -> np.ndarray:
    """Joint positions ``(H, 7)`` [rad] after each row: sums of deltas from ``measured (7,)``, or places."""
    path = []
    for joint, start in zip(JOINTS, measured, strict=True):
        column = specs[joint]
        numbers = values[joint] * (column.factor or 1.0)
        path.append(start + np.cumsum(numbers) if column.means == "delta" else numbers)
    return np.stack(path, axis=1)


def tcp_steps(path: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Displacements ``(H, 6)`` [m, rad] of the TCP, base axes, along joints ``path (H, 7)`` from ``measured``."""
    poses = [model().forward_kinematics(q) for q in (measured, *path)]
    return np.array([after.difference(before) for before, after in itertools.pairwise(poses)])
