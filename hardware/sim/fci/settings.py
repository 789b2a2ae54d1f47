"""Settings of the hand that a driver may make: transforms and loads that make sense; an FR3 takes no others."""

from __future__ import annotations

from typing import Any

import numpy as np
from franky_sim.franka_robot_protocol import SetEEToKCommand, SetLoadCommand, SetNEToEECommand

INVALID_ARGUMENT = 2  # status of libfranka's setters
FARTHEST = 2.0  # [m] of a frame at the hand
HEAVIEST = 20.0  # [kg]
LARGEST_INERTIA = 10.0  # [kg·m²]
TOLERANCE = 1e-3  # of a rotation


def is_transform(values: tuple[float, ...]) -> bool:
    """Whether ``values (16,)`` are, by columns, a rigid transform near the hand."""
    matrix = np.array(values).reshape(4, 4).T
    if not np.isfinite(matrix).all() or not (matrix[3] == (0.0, 0.0, 0.0, 1.0)).all():
        return False
    rotation = matrix[:3, :3]
    rigid = np.abs(rotation).max() <= 1.0 + TOLERANCE and np.allclose(rotation @ rotation.T, np.eye(3), atol=TOLERANCE)
    return bool(rigid and np.linalg.norm(matrix[:3, 3]) <= FARTHEST)


class SetEEToK(SetEEToKCommand):
    """The stiffness frame at the hand."""

    def handle(self, server: Any) -> None:
        if is_transform(self.EE_T_K):
            super().handle(server)
        else:
            self.reply(INVALID_ARGUMENT)


class SetNEToEE(SetNEToEECommand):
    """The end effector's frame."""

    def handle(self, server: Any) -> None:
        if is_transform(self.NE_T_EE):
            super().handle(server)
        else:
            self.reply(INVALID_ARGUMENT)


class SetLoad(SetLoadCommand):
    """The load in the hand."""

    def handle(self, server: Any) -> None:
        centre, inertia = np.array(self.F_x_Cload), np.array(self.I_load)
        fits = bool((np.abs(centre) <= FARTHEST).all() and (np.abs(inertia) <= LARGEST_INERTIA).all())
        if fits and 0.0 <= self.m_load <= HEAVIEST:
            super().handle(server)
        else:
            self.reply(INVALID_ARGUMENT)
