"""Cartesian impedance with reference limiting: a spring that yields instead of pushing harder.

    e   = [x_d − x; log(R_d Rᵀ)]                base axes, at the TCP
    F   = K clip(e)                             bounded whatever the target
    tau = Jᵀ(F − D V) + N (K_n (q_n − q) − D_n dq) + C(q, dq) dq

The clip is per axis for the translation and on the angle for the rotation. With one stiffness for all rotations this
makes F exactly the negative gradient of the potential

    U = Σ_i K_i φ(e_i, c_i) + κ φ(|e_R|, c_R),    φ(e, c) = ½e² if |e| ≤ c else c|e| − ½c²,

also at errors far beyond the clip, so that the energy in the spring can be booked to the last joule. (Clipping the
rotation vector per axis, or giving its axes different stiffness, would turn the torque away from the geodesic and make
it do net work on closed paths. With translations it is not so: their axes may differ.)

*Damping* is the sum of a fixed part and one that follows the inertia Λ felt at the TCP,

    D = diag(D) + 2ζ K^½ (K^½ Λ⁻¹ K^½)^−½ K^½,    Λ⁻¹ = J M⁻¹ Jᵀ + diag(1/m_max),

the second being the geometric mean of Λ and K: symmetric, never negative, and ζ is the damping ratio of every mode
(the "double diagonalisation" of Albu-Schäffer, Ott, Frese, Hirzinger: Cartesian impedance control of redundant robots,
ICRA 2003). Near a singular posture Λ grows without bound; m_max bounds it.

*Nullspace.* ``N = I − Jᵀ(J Jᵀ + λI)⁻¹J`` is symmetric with eigenvalues in [0, 1]. So projected damping is still
damping, and the posture puts no static load on the TCP (J N = 0 but for λ). It does not decouple the dynamics: a
posture torque still accelerates the TCP by J M⁻¹ N tau, which the spring has to hold. The projector that avoids this,
I − JᵀΛJM⁻¹, is not symmetric, and damping behind it may add energy.
"""

from __future__ import annotations

import eigenpy
import numpy as np

from controllers.gains import ImpedanceGains
from controllers.model import ArmModel
from controllers.spatial import log3


def feedforward(model: ArmModel, wrench: np.ndarray) -> np.ndarray:
    """Joint torques ``(7,)`` [N·m] with which the TCP exerts ``wrench (6,)`` [N, N·m] on the world: ``Jᵀ wrench``."""
    torque: np.ndarray = model.jacobian.T.dot(wrench)
    return torque


class CartesianImpedance:
    """The law above, in parts, because the passivity filter weighs the spring before it is added to the damping.

    Attributes:
        gains: as of the last `set_gains`.
    """

    PROJECTOR_DAMPING = 1e-4  # λ: keeps N defined at singular postures; (0.01)² against singular values of 0.1–2
    MOST_MASS = (100.0, 100.0, 100.0, 10.0, 10.0, 10.0)  # m_max [kg, kg·m²]; ten times what an FR3 has away from them

    def __init__(self, gains: ImpedanceGains) -> None:
        self._K, self._D, self._clip, self._root = np.empty((4, 6))
        self._regular = self.PROJECTOR_DAMPING * np.eye(6)
        self._mobility = np.diag(1.0 / np.array(self.MOST_MASS))
        self._cholesky = eigenpy.LLT(6)
        self._joint_cholesky = eigenpy.LLT(7)
        self._eigen = eigenpy.SelfAdjointEigenSolver(6)
        self._error = np.empty(6)
        self._clipped = np.empty(6)
        self._wrench = np.empty(6)
        self.set_gains(gains)

    def set_gains(self, gains: ImpedanceGains) -> None:
        """Go over to ``gains`` at once; ramping them, and paying for it, is the caller's."""
        self.gains = gains
        K, D, clip = self._K, self._D, self._clip
        K[:3], K[3:] = gains.translational_stiffness, gains.rotational_stiffness
        D[:3], D[3:] = gains.translational_damping, gains.rotational_damping
        clip[:3], clip[3:] = gains.translational_clip, np.inf  # the rotation is clipped as an angle
        if gains.inertial_damping > 0.0:
            # A stiffness of 0 has no damping ratio; a negligible one keeps the root defined.
            np.sqrt(np.maximum(K, 1e-6), out=self._root)

    def spring(self, model: ArmModel, translation: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, float]:
        """The spring's wrench ``(6,)`` [N, N·m], overwritten by the next call, and its potential [J].

        The target is at ``translation (3,)`` [m], ``rotation (3, 3)`` in the base frame.
        """
        e, clip, clipped = self._error, self._clip, self._clipped
        np.subtract(translation, model.translation, out=e[:3])
        turn = e[3:] = log3(rotation.dot(model.rotation.T))
        np.minimum(e, clip, out=clipped)
        np.maximum(clipped, -clip, out=clipped)
        angle, most = float(turn.dot(turn)) ** 0.5, self.gains.rotational_clip
        if angle > most:
            clipped[3:] *= most / angle
        wrench = np.multiply(self._K, clipped, out=self._wrench)
        # φ(e, c) = clip(e) (e − ½ clip(e)), inside the clip and outside.
        return wrench, float(wrench.dot(e) - 0.5 * wrench.dot(clipped))

    def damping(self, model: ArmModel) -> np.ndarray:
        """Damping wrench ``−D V (6,)`` [N, N·m]: never adds energy."""
        wrench: np.ndarray = -self._D * model.twist
        if self.gains.inertial_damping > 0.0:
            wrench -= self._inertial_damping(model).dot(model.twist)
        return wrench

    def nullspace(
        self, model: ArmModel, q: np.ndarray, dq: np.ndarray, posture: np.ndarray, spring_scale: float
    ) -> np.ndarray:
        """Posture torque ``(7,)`` [N·m] that puts no static load on the TCP, toward ``posture (7,)`` [rad].

        The spring is scaled by ``spring_scale`` and, as a vector, kept under the cap, which the projection can only
        shrink further.
        """
        gains, J = self.gains, model.jacobian
        torque: np.ndarray = posture - q
        torque *= spring_scale * gains.nullspace_stiffness
        size = float(torque.dot(torque)) ** 0.5
        if size > gains.nullspace_cap:
            torque *= gains.nullspace_cap / size
        torque -= gains.nullspace_damping * dq
        JJ = J.dot(J.T)
        JJ += self._regular
        torque -= J.T.dot(self._cholesky.compute(JJ).solve(J.dot(torque)))
        return torque

    def _inertial_damping(self, model: ArmModel) -> np.ndarray:
        """The part of D that follows the arm's inertia ``(6, 6)``."""
        J, root = model.jacobian, self._root
        mobility = J.dot(self._joint_cholesky.compute(model.mass).solve(J.T))
        mobility += self._mobility
        stiffness = root[:, None] * mobility * root
        mean: np.ndarray = self._eigen.compute(stiffness).operatorInverseSqrt()
        mean *= 2.0 * self.gains.inertial_damping * root[:, None] * root
        return mean
