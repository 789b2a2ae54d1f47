"""A tool on a force–torque sensor: its weight and the sensor's bias, identified at rest and taken off readings.

With R the rotation of the sensor in the base, g = (0, 0, −9.81) m/s² and u = Rᵀg, a sensor at rest that carries a tool
of mass m with its centre of mass at c, and that touches nothing, measures

    f = b_f + m u            τ = b_τ + h × u,   h = m c,

which is linear in (b_f, m) and in (b_τ, h). Both are solved by least squares, with covariance σ²(AᵀA)⁻¹ and σ from the
residuals. What can be told apart depends on how u moves in the sensor: m needs it to move at all, h in two directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hardware.interfaces import ForceError

GRAVITY = np.array([0.0, 0.0, -9.81])  # [m/s²], base axes
LEAST_POSES = 4
LEAST_SPREAD = 0.02  # of gravity's direction: mean square of its movement across any axis; ±30° about two axes have 0.1
LIGHT = 0.02  # [kg]: of less, a centre of mass means nothing


class ToolError(ForceError):
    """Readings from which no tool can be identified; the message says what to do."""


class StaticPose(NamedTuple):
    """A sensor at rest: its ``rotation (3, 3)`` in the base, and the mean ``wrench (6,)`` [N, N·m] in its own axes."""

    rotation: np.ndarray
    wrench: np.ndarray


@dataclass(frozen=True, eq=False)
class Tool:
    """Load and bias of a sensor.

    Attributes:
        frame: name of the sensor's frame, in whose axes and about whose origin the rest is.
        mass: [kg]. Negative where it corrects a load that the sensor takes off already, as an arm's estimate does.
        moment: first moment of mass ``(3,)`` [kg·m]: mass times centre of mass.
        bias: ``(6,)`` [N, N·m], what the unloaded sensor measures.

    Raises `ToolError` when a value is not finite or not of its shape.
    """

    frame: str
    mass: float
    moment: np.ndarray
    bias: np.ndarray

    def __post_init__(self) -> None:
        for name, size in (("moment", 3), ("bias", 6)):
            value = np.array(getattr(self, name), dtype=np.float64)
            if value.shape != (size,) or not np.isfinite(value).all():
                raise ToolError(f"{name} of a tool is {size} finite numbers, not {getattr(self, name)}")
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        if not np.isfinite(self.mass):
            raise ToolError(f"mass of a tool is a finite number [kg], not {self.mass}")

    @property
    def centre(self) -> np.ndarray | None:
        """Centre of mass ``(3,)`` [m] in the sensor's frame; None for a tool so light that it means nothing."""
        return self.moment / self.mass if abs(self.mass) >= LIGHT else None

    def weight(self, rotation: np.ndarray) -> np.ndarray:
        """Wrench ``(6,)`` [N, N·m] of the tool's weight on a sensor with this ``rotation (3, 3)`` in the base."""
        u = np.asarray(rotation).T @ GRAVITY
        return np.concatenate((self.mass * u, np.cross(self.moment, u)))

    def compensate(self, wrench: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """``wrench (6,)`` [N, N·m] of a sensor without its bias and the tool's weight: what touches the tool."""
        left: np.ndarray = np.asarray(wrench) - self.bias - self.weight(rotation)
        return left


@dataclass(frozen=True, eq=False)
class ToolEstimate:
    """A tool with how well it is known.

    Attributes:
        tool: the estimate.
        mass_std: standard deviation [kg].
        centre_std: ``(3,)`` [m]; infinite where the tool is too light for a centre.
        bias_std: ``(6,)`` [N, N·m].
        residual: root mean square of what the tool does not explain: force [N] and torque [N·m], per axis.
        worst: index of the pose that fits worst, and its force's residual [N].
    """

    tool: Tool
    mass_std: float
    centre_std: np.ndarray
    bias_std: np.ndarray
    residual: tuple[float, float]
    worst: tuple[int, float]


def identify(poses: Sequence[StaticPose], frame: str, correction: bool = False) -> ToolEstimate:
    """The tool from readings at rest, in free space.

    Args:
        poses: four at least, which turn the sensor about two horizontal axes.
        frame: name of the sensor's frame.
        correction: the sensor takes a load off already, so that what is identified may have a negative mass.

    Raises `ToolError` when the poses cannot tell the tool from the bias, or the mass is negative beyond doubt.
    """
    if len(poses) < LEAST_POSES:
        raise ToolError(f"{len(poses)} poses are too few; take {LEAST_POSES} at least, better 9")
    rotations = np.array([pose.rotation for pose in poses], dtype=np.float64)
    wrenches = np.array([pose.wrench for pose in poses], dtype=np.float64)
    _check(rotations, wrenches)
    u = np.einsum("nij,i->nj", rotations, GRAVITY)
    _check_excitation(u)
    count = len(poses)
    of_force = np.concatenate((np.tile(np.eye(3), (count, 1)), u.reshape(-1, 1)), axis=1)
    of_torque = np.concatenate((np.tile(np.eye(3), (count, 1)), -_cross(u).reshape(-1, 3)), axis=1)
    force = _solve(of_force, wrenches[:, :3].ravel())
    torque = _solve(of_torque, wrenches[:, 3:].ravel())
    mass, mass_std = float(force.x[3]), float(force.std[3])
    if mass < -max(3.0 * mass_std, LIGHT) and not correction:
        raise ToolError(
            f"the mass would be {mass:.3f} kg: the sensor reports the load that it exerts, or its axes are turned; "
            "look at the sign, and at the mounting (rotation of the sensor in the hand)"
        )
    tool = Tool(frame, mass, torque.x[3:], np.concatenate((force.x[:3], torque.x[:3])))
    centre_std = np.full(3, np.inf)
    if tool.centre is not None:  # of c = h / m
        centre_std = np.sqrt(torque.std[3:] ** 2 + (tool.centre * mass_std) ** 2) / abs(mass)
    each = np.linalg.norm(force.residual.reshape(-1, 3), axis=1)
    return ToolEstimate(
        tool,
        mass_std,
        centre_std,
        np.concatenate((force.std[:3], torque.std[:3])),
        (_rms(force.residual), _rms(torque.residual)),
        (int(each.argmax()), float(each.max())),
    )


class _Solution(NamedTuple):
    x: np.ndarray
    std: np.ndarray
    residual: np.ndarray


def _solve(a: np.ndarray, y: np.ndarray) -> _Solution:
    """Least squares of ``a x = y`` with the standard deviation of each unknown."""
    x, *_ = np.linalg.lstsq(a, y, rcond=None)
    residual = y - a @ x
    variance = float(residual @ residual) / (len(y) - a.shape[1])
    return _Solution(x, np.sqrt(variance * np.diag(np.linalg.inv(a.T @ a))), residual)


def _check(rotations: np.ndarray, wrenches: np.ndarray) -> None:
    if wrenches.shape[1:] != (6,) or not np.isfinite(wrenches).all():
        raise ToolError("a wrench is six finite numbers [N, N·m]")
    turned = np.einsum("nij,nkj->nik", rotations, rotations)
    if rotations.shape[1:] != (3, 3) or not np.allclose(turned, np.eye(3), atol=1e-3):
        raise ToolError("a rotation is an orthogonal matrix of three rows and columns")


def _check_excitation(u: np.ndarray) -> None:
    """Raises `ToolError` unless gravity moves far enough in the sensor, and in two directions."""
    moved = (u - u.mean(axis=0)) / np.linalg.norm(GRAVITY)
    spread = np.linalg.svd(moved, compute_uv=False) ** 2 / len(u)  # mean squares along its own axes, largest first
    if spread[0] < LEAST_SPREAD:
        angles = np.degrees(np.arccos(np.clip(u @ u.T / (GRAVITY @ GRAVITY), -1.0, 1.0)))
        raise ToolError(
            f"the poses tilt the sensor by {angles.max():.0f}° against each other: too little to tell the tool from "
            "the bias; tilt it by 30° or more, about two axes"
        )
    if spread[1] + spread[2] < LEAST_SPREAD:
        raise ToolError(
            "the poses tilt the sensor about one axis only, which leaves the centre of mass open; tilt it about a "
            "second horizontal axis, too, by 30° or more"
        )


def _cross(vectors: np.ndarray) -> np.ndarray:
    """Matrices ``(n, 3, 3)`` of the cross product with each of ``vectors (n, 3)``."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]]).transpose(2, 0, 1)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
