"""Rigid-body poses. One spatial type everywhere; twists and wrenches are plain ``(6,)`` arrays.

A twist is ``[v (3) m/s, w (3) rad/s]`` and a wrench ``[f (3) N, m (3) N·m]``, both expressed in the axes of the base
frame and taken at the tool centre point (TCP), unless a docstring says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pinocchio as pin

QUATERNION_NORM_TOLERANCE = 1e-3


class SpatialError(ValueError):
    """A pose, twist or wrench that is not finite, not of the right shape, or not a rotation."""


@dataclass(frozen=True, eq=False)
class Pose:
    """A rigid transform ``T_ab``: the pose of frame *b* in frame *a*.

    Attributes:
        translation: ``(3,)`` [m].
        quat_xyzw: ``(4,)`` unit quaternion, scalar last. Normalised at construction, with the sign that makes w ≥ 0,
            because q and -q are the same rotation.
    """

    translation: np.ndarray
    quat_xyzw: np.ndarray

    def __post_init__(self) -> None:
        translation = np.array(self.translation, dtype=np.float64)
        quat = np.array(self.quat_xyzw, dtype=np.float64)
        if translation.shape != (3,) or quat.shape != (4,):
            raise SpatialError(
                f"a pose needs a translation of shape (3,) and quat_xyzw of shape (4,), "
                f"not {translation.shape} and {quat.shape}"
            )
        if not (np.isfinite(translation).all() and np.isfinite(quat).all()):
            raise SpatialError(f"pose is not finite: translation {translation}, quat_xyzw {quat}")
        norm = float(np.linalg.norm(quat))
        if abs(norm - 1.0) > QUATERNION_NORM_TOLERANCE:
            raise SpatialError(f"quat_xyzw {quat} has norm {norm:.4f}; a rotation needs norm 1")
        quat = quat / norm if quat[3] >= 0.0 else -quat / norm
        translation.flags.writeable = False
        quat.flags.writeable = False
        object.__setattr__(self, "translation", translation)
        object.__setattr__(self, "quat_xyzw", quat)

    @staticmethod
    def identity() -> Pose:
        return Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))

    @staticmethod
    def from_rotation(translation: np.ndarray, rotation: np.ndarray) -> Pose:
        """From a translation ``(3,)`` [m] and a rotation matrix ``(3, 3)``."""
        return Pose(translation, pin.Quaternion(np.asarray(rotation, dtype=np.float64)).coeffs())

    @staticmethod
    def from_rotvec(translation: np.ndarray, rotvec: np.ndarray) -> Pose:
        """From a translation ``(3,)`` [m] and a rotation vector ``(3,)`` [rad]."""
        return Pose.from_rotation(translation, exp3(rotvec))

    @property
    def rotation(self) -> np.ndarray:
        """Rotation matrix ``(3, 3)``."""
        x, y, z, w = self.quat_xyzw
        matrix: np.ndarray = pin.Quaternion(w, x, y, z).toRotationMatrix()
        return matrix

    @property
    def rotvec(self) -> np.ndarray:
        """Rotation vector ``(3,)`` [rad], of norm at most π."""
        return log3(self.rotation)

    def compose(self, other: Pose) -> Pose:
        """``T_ab.compose(T_bc) = T_ac``."""
        rotation = self.rotation
        return Pose.from_rotation(self.translation + rotation @ other.translation, rotation @ other.rotation)

    def inverse(self) -> Pose:
        """``T_ab.inverse() = T_ba``."""
        rotation = self.rotation.T
        return Pose.from_rotation(-rotation @ self.translation, rotation)

    def moved(self, delta: np.ndarray) -> Pose:
        """This pose moved by ``delta (6,)``: translation [m] and rotation vector [rad], both in the axes of frame *a*.

        The rotation turns about the origin of *b* (the TCP stays where the translation puts it).
        """
        delta = np.asarray(delta, dtype=np.float64)
        return Pose.from_rotation(self.translation + delta[:3], exp3(delta[3:]) @ self.rotation)

    def difference(self, other: Pose) -> np.ndarray:
        """``(6,)`` [m, rad] such that ``other.moved(self.difference(other))`` is this pose: self minus other."""
        return np.concatenate((self.translation - other.translation, log3(self.rotation @ other.rotation.T)))


def exp3(rotvec: np.ndarray) -> np.ndarray:
    """Rotation matrix ``(3, 3)`` of a rotation vector ``(3,)`` [rad]."""
    rotation: np.ndarray = pin.exp3(np.asarray(rotvec, dtype=np.float64))
    return rotation


def log3(rotation: np.ndarray) -> np.ndarray:
    """Rotation vector ``(3,)`` [rad] of a rotation matrix ``(3, 3)``; well behaved at 180°."""
    rotvec: np.ndarray = pin.log3(np.asarray(rotation, dtype=np.float64))
    return rotvec


def rpy_to_rotation(rpy: np.ndarray) -> np.ndarray:
    """Rotation matrix ``(3, 3)`` of roll, pitch, yaw ``(3,)`` [rad] about the fixed axes x, y, z, in this order."""
    about_x, about_y, about_z = (exp3(angle * axis) for angle, axis in zip(rpy, np.eye(3), strict=True))
    rotation: np.ndarray = about_z @ about_y @ about_x
    return rotation


def rotation_to_rpy(rotation: np.ndarray) -> np.ndarray:
    """Roll, pitch and yaw ``(3,)`` [rad] of a rotation matrix ``(3, 3)``, as `rpy_to_rotation` takes them."""
    R = rotation
    return np.array(
        [np.arctan2(R[2, 1], R[2, 2]), -np.arcsin(np.clip(R[2, 0], -1.0, 1.0)), np.arctan2(R[1, 0], R[0, 0])]
    )
