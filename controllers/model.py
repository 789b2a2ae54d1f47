"""Kinematics and dynamics of a seven-joint arm, by pinocchio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pinocchio as pin

from controllers.spatial import Pose, log3
from controllers.state import JOINTS

WORLD_ALIGNED = pin.ReferenceFrame.LOCAL_WORLD_ALIGNED
_LOWER = np.tril_indices(JOINTS, -1)


class ModelError(ValueError):
    """A robot description that is not a seven-joint arm with the named frame."""


class InverseKinematicsError(ValueError):
    """No joint positions within the limits were found for a pose."""


@dataclass(frozen=True)
class Inertia:
    """Inertia of a rigid body fixed to the tip frame, in the axes of that frame.

    Attributes:
        mass: [kg].
        com: centre of mass ``(3,)`` [m].
        moments: rotational inertia about the centre of mass ``(ixx, ixy, ixz, iyy, iyz, izz)`` [kg·m²].
    """

    mass: float
    com: tuple[float, float, float]
    moments: tuple[float, float, float, float, float, float]


class ArmModel:
    """An arm at one instant: call `update`, then read the arrays. They are overwritten by the next `update`.

    Attributes:
        translation, rotation: the TCP in the base frame, ``(3,)`` [m] and ``(3, 3)``.
        jacobian: ``(6, 7)``, joint velocities to the TCP twist, base axes.
        twist: ``(6,)`` [m/s, rad/s], base axes, of the TCP.
        coriolis: ``C(q, dq) dq (7,)`` [N·m].
        lower, upper: joint limits ``(7,)`` [rad].
        velocity, effort: joint speed limits ``(7,)`` [rad/s] and torque limits [N·m].
    """

    def __init__(self, model: pin.Model, tcp_frame: int) -> None:
        """From a pinocchio model with the TCP as frame number ``tcp_frame``; most callers want `from_urdf`."""
        if model.nq != JOINTS or model.nv != JOINTS:
            raise ModelError(f"the arm model {model.name!r} has {model.nq} joint positions; an arm has {JOINTS}")
        self.pinocchio = model
        self.lower = model.lowerPositionLimit.copy()
        self.upper = model.upperPositionLimit.copy()
        self.velocity = model.upperVelocityLimit.copy()
        self.effort = model.upperEffortLimit.copy()
        for name in ("lower", "upper", "velocity", "effort"):
            if not np.isfinite(getattr(self, name)).all():
                raise ModelError(f"the description of {model.name!r} lacks finite {name} limits for all joints")
        self._frame = tcp_frame
        # Without gravity the nonlinear effects are the Coriolis torques alone: one recursion instead of two.
        self._weightless = model.copy()
        self._weightless.gravity = pin.Motion.Zero()
        self._data = self._weightless.createData()
        self._placement = self._data.oMf[tcp_frame]  # refers to memory that lives as long as the data
        self._side_data = model.createData()
        self.q, self._still = np.zeros((2, JOINTS))
        self.update(np.clip(np.zeros(JOINTS), self.lower, self.upper), np.zeros(JOINTS))

    @staticmethod
    def from_urdf(
        urdf_xml: str, tip_frame: str, tcp: Pose, hand: Inertia | None = None, armature: np.ndarray | None = None
    ) -> ArmModel:
        """Build from a description.

        Args:
            urdf_xml: the URDF text; exactly seven moving joints.
            tip_frame: link that carries the hand, e.g. ``"link8"``.
            tcp: pose of the TCP in the tip frame.
            hand: inertia of what is mounted on the tip, when the URDF lacks it.
            armature: inertia of each joint's drive, as felt at the joint ``(7,)`` [kg·m²]; part of ``mass``.

        Raises:
            ModelError: not a seven-joint arm, or no such frame.
        """
        try:
            model = pin.buildModelFromXML(urdf_xml)
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"the robot description cannot be read as URDF: {error}") from error
        if not model.existFrame(tip_frame):
            raise ModelError(f"no frame {tip_frame!r} in {model.name!r}; it has {[f.name for f in model.frames]}")
        tip_id = model.getFrameId(tip_frame)
        tip = model.frames[tip_id]
        joint, placement = tip.parentJoint, tip.placement.copy()
        if hand is not None:
            ixx, ixy, ixz, iyy, iyz, izz = hand.moments
            moments = np.array([[ixx, ixy, ixz], [ixy, iyy, iyz], [ixz, iyz, izz]])
            model.inertias[joint] += placement.act(pin.Inertia(hand.mass, np.array(hand.com), moments))
        if armature is not None:
            model.armature = np.array(armature, dtype=np.float64)
        offset = pin.SE3(tcp.rotation, tcp.translation)
        frame = pin.Frame("tcp", joint, tip_id, placement * offset, pin.FrameType.OP_FRAME)
        return ArmModel(model, model.addFrame(frame, False))

    def update(self, q: np.ndarray, dq: np.ndarray) -> None:
        """Compute everything at joint positions ``q (7,)`` [rad] and velocities ``dq (7,)`` [rad/s]."""
        model, data = self._weightless, self._data
        self.q[:] = q
        pin.computeJointJacobians(model, data, q)
        pin.updateFramePlacement(model, data, self._frame)
        self.translation = self._placement.translation.copy()
        self.rotation = self._placement.rotation.copy()
        self.jacobian = pin.getFrameJacobian(model, data, self._frame, WORLD_ALIGNED)
        self.coriolis = pin.nonLinearEffects(model, data, q, dq)
        self.twist = self.jacobian.dot(dq)

    @property
    def pose(self) -> Pose:
        """The TCP in the base frame."""
        return Pose.from_rotation(self.translation, self.rotation)

    @property
    def gravity(self) -> np.ndarray:
        """Torques that hold the arm against gravity ``(7,)`` [N·m], computed when asked for."""
        torque: np.ndarray = pin.computeGeneralizedGravity(self.pinocchio, self._side_data, self.q).copy()
        return torque

    @property
    def mass(self) -> np.ndarray:
        """Joint-space inertia ``(7, 7)`` [kg·m²], symmetric, computed when asked for."""
        mass: np.ndarray = pin.crba(self.pinocchio, self._side_data, self.q).copy()  # the upper triangle is what counts
        mass[_LOWER] = mass.T[_LOWER]
        return mass

    def acceleration(self, torque: np.ndarray) -> np.ndarray:
        """Joint accelerations ``M⁻¹ torque (7,)`` [rad/s²] that ``torque (7,)`` [N·m] adds at this instant."""
        added: np.ndarray = pin.aba(self._weightless, self._side_data, self.q, self._still, torque)
        return added.copy()

    def forward_kinematics(self, q: np.ndarray) -> Pose:
        """The TCP in the base frame at ``q (7,)`` [rad]; leaves the current instant alone."""
        pin.framesForwardKinematics(self.pinocchio, self._side_data, np.asarray(q, dtype=np.float64))
        placement = self._side_data.oMf[self._frame]
        return Pose.from_rotation(placement.translation, placement.rotation)

    def inverse_kinematics(
        self, pose: Pose, q_start: np.ndarray, tolerance: float = 1e-6, iterations: int = 200
    ) -> np.ndarray:
        """Joint positions ``(7,)`` [rad] within the limits that put the TCP at ``pose`` (base frame).

        Levenberg–Marquardt on the error ``[x* − x; log3(R* Rᵀ)]`` from ``q_start (7,)``, projected onto the limits:
        the result is the solution near the start, not the only one. Leaves the current instant alone.

        Raises:
            InverseKinematicsError: the error is still above ``tolerance`` [m and rad] after ``iterations``.
        """
        model, data = self.pinocchio, self._side_data
        goal = pose.rotation
        q = np.clip(np.asarray(q_start, dtype=np.float64), self.lower, self.upper)
        for _ in range(iterations):
            pin.computeJointJacobians(model, data, q)
            placement = pin.updateFramePlacement(model, data, self._frame)
            error = np.concatenate((pose.translation - placement.translation, log3(goal @ placement.rotation.T)))
            size = float(np.linalg.norm(error))
            if size < tolerance:
                return q
            J = pin.getFrameJacobian(model, data, self._frame, WORLD_ALIGNED)
            # A joint at a limit that would be pushed further is left out, or it would absorb the step.
            gradient = J.T @ error
            blocked = ((q <= self.lower) & (gradient < 0.0)) | ((q >= self.upper) & (gradient > 0.0))
            J = np.where(blocked, 0.0, J)
            damping = 1e-3 * min(size, 1.0)
            step = J.T @ np.linalg.solve(J @ J.T + damping * np.eye(6), error)
            step *= min(1.0, 0.3 / max(float(np.abs(step).max()), 1e-12))
            q = np.clip(q + step, self.lower, self.upper)
        raise InverseKinematicsError(
            f"no joint positions found for TCP at {pose.translation} m, quat_xyzw {pose.quat_xyzw}: {size:.2e} left "
            f"after {iterations} iterations; choose a pose within reach or a nearer start"
        )
