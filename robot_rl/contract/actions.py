"""Actions: which axes a policy drives, and the target that an action asks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controllers.spatial import Pose, exp3
from robot_rl.contract.errors import ContractError

ACTION_AXES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
LEAD = np.array([0.01, 0.01, 0.01, 0.05, 0.05, 0.05])  # [m, rad] within which an arm at the default gains pulls harder


def lead_of(reference: Pose, pose: Pose) -> np.ndarray:
    """How far ``(6,)`` [m, rad] a reference is ahead of the arm at ``pose``, no further along an axis than `LEAD`."""
    lead: np.ndarray = np.clip(reference.difference(pose), -LEAD, LEAD)
    return lead


@dataclass(frozen=True)
class ActionSpec:
    """Axes that a policy drives, and how far one action of ±1 moves each.

    Attributes:
        axes: subset of `ACTION_AXES`, in that order.
        scale: metres or radians per step at ±1, one per axis (1 for the gripper: the action is the opening, −1 closed
            to +1 open).
    """

    axes: tuple[str, ...]
    scale: tuple[float, ...]

    def __post_init__(self) -> None:
        unknown = [axis for axis in self.axes if axis not in ACTION_AXES]
        if unknown:
            raise ContractError(f"unknown action axes {unknown}; choose from {ACTION_AXES}")
        if list(self.axes) != [axis for axis in ACTION_AXES if axis in self.axes]:
            raise ContractError(f"action axes {self.axes} must be distinct and in the order of {ACTION_AXES}")
        if len(self.scale) != len(self.axes) or min(self.scale) <= 0.0:
            raise ContractError(f"scale {self.scale} needs one positive number for each of {self.axes}")

    @property
    def size(self) -> int:
        return len(self.axes)

    def delta(self, action: np.ndarray) -> np.ndarray:
        """``(6,)`` [m, rad] displacement of the TCP, base axes, for an action ``(size,)`` in [−1, 1]."""
        delta = np.zeros(6)
        for axis, scale, value in zip(self.axes, self.scale, action, strict=True):
            if axis != "gripper":
                delta[ACTION_AXES.index(axis)] = scale * value
        return delta

    def gripper(self, action: np.ndarray) -> float | None:
        """Opening 0–1 that the action asks for, or None when the gripper is not an axis."""
        return float(np.clip(0.5 * (action[-1] + 1.0), 0.0, 1.0)) if self.axes[-1] == "gripper" else None

    def from_delta(self, delta: np.ndarray, gripper: float | None) -> np.ndarray:
        """The action ``(size,)`` float32, clipped to [−1, 1], that comes nearest to a displacement ``(6,)``.

        ``gripper``: opening 0–1; None only where it is no axis. Raises `ContractError` otherwise.
        """
        if gripper is None and "gripper" in self.axes:
            raise ContractError(f"the axes {', '.join(self.axes)} need an opening of the gripper")
        values = [
            2.0 * (gripper or 0.0) - 1.0 if axis == "gripper" else delta[ACTION_AXES.index(axis)] / scale
            for axis, scale in zip(self.axes, self.scale, strict=True)
        ]
        return np.clip(np.array(values, dtype=np.float32), -1.0, 1.0)

    def target(self, pose: Pose, action: np.ndarray, nominal: Pose) -> Pose:
        """The TCP pose that an action asks for.

        Driven axes move relative to the *measured* ``pose`` (so nothing winds up); axes the policy does not drive stay
        at ``nominal``. Rotations are taken as rotation vectors relative to the nominal orientation.
        """
        return self.displaced(pose, self.delta(action), nominal)

    @property
    def reach(self) -> np.ndarray:
        """``(6,)`` [m, rad] that a target may be away from the arm: an action beyond `LEAD`; 0 where nothing drives."""
        scale = self.delta(np.ones(self.size))
        return np.where(scale > 0.0, scale + LEAD, 0.0)

    def displaced(self, pose: Pose, delta: np.ndarray, nominal: Pose) -> Pose:
        """As `target`, for a displacement ``delta (6,)`` [m, rad] that no action need be able to say."""
        driven = np.array([axis in self.axes for axis in ACTION_AXES[:6]])
        translation = np.where(driven[:3], pose.translation + delta[:3], nominal.translation)
        if driven[3:].all():
            rotation = exp3(delta[3:]) @ pose.rotation
        else:
            tilt = pose.difference(nominal)[3:]
            rotation = exp3(np.where(driven[3:], tilt + delta[3:], 0.0)) @ nominal.rotation
        return Pose.from_rotation(translation, rotation)
