"""Cartesian impedance with reference limiting: a spring that yields instead of pushing harder.

    e   = [x_d − x; log(R_d Rᵀ)]                base axes, at the TCP
    F   = K clip(e)                             bounded whatever the target
    tau = Jᵀ(F − D V) + N (K_n (q_n − q) − D_n dq) + C(q, dq) dq

The clip is per axis for the translation and on the angle for the rotation. With one stiffness for all rotations this
makes F exactly the negative gradient of the potential

    U = Σ_i k φ(e_i, c_x) + κ φ(|e_R|, c_R),    φ(e, c) = ½e² if |e| ≤ c else c|e| − ½c²,

also at errors far beyond the clip, so that the energy in the spring can be booked to the last joule. (Clipping the
rotation vector per axis would turn the torque away from the geodesic and make it do net work on closed paths.)

The nullspace projector ``N = I − Jᵀ(J Jᵀ + λI)⁻¹J`` is symmetric with eigenvalues in [0, 1]: projected damping is still
damping, and the posture cannot load the TCP at rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import eigenpy
import numpy as np

from controllers.model import ArmModel
from controllers.spatial import log3


class GainError(ValueError):
    """A gain or clip that is not a finite number of the right sign."""


@dataclass(frozen=True)
class ImpedanceGains:
    """Gains of the law; the spring force on the TCP never exceeds ``force_bound`` and ``moment_bound``.

    Attributes:
        translational_stiffness, rotational_stiffness: [N/m] and [N·m/rad].
        translational_damping, rotational_damping: [N·s/m] and [N·m·s/rad].
        translational_clip, rotational_clip: largest error the spring feels, per axis [m] and as an angle [rad].
        nullspace_stiffness, nullspace_damping: of the posture, [N·m/rad] and [N·m·s/rad].
        nullspace_cap: largest torque of the posture spring, as a vector over all joints [N·m].

    Raises:
        GainError: at construction, naming the gain.
    """

    translational_stiffness: float = 2000.0
    rotational_stiffness: float = 75.0
    translational_damping: float = 89.0
    rotational_damping: float = 7.0
    translational_clip: float = 0.01
    rotational_clip: float = 0.05
    nullspace_stiffness: float = 10.0
    nullspace_damping: float = 4.0
    nullspace_cap: float = 5.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not np.isfinite(value) or value < 0.0:
                raise GainError(f"{name} must be finite and not negative, not {value}")
        if self.translational_clip == 0.0 or self.rotational_clip == 0.0:
            raise GainError("a clip of 0 leaves no spring; to switch the spring off set its stiffness to 0")

    @property
    def force_bound(self) -> float:
        """Largest spring force on the TCP along any base axis [N]."""
        return self.translational_stiffness * self.translational_clip

    @property
    def moment_bound(self) -> float:
        """Largest spring moment on the TCP [N·m]."""
        return self.rotational_stiffness * self.rotational_clip


class CartesianImpedance:
    """The law above, in parts, because the passivity filter weighs the spring before it is added to the damping."""

    PROJECTOR_DAMPING = 1e-4  # λ: keeps N defined at singular postures; (0.01)² against singular values of 0.1–2

    def __init__(self, gains: ImpedanceGains) -> None:
        self.gains = gains
        self._K = np.repeat((gains.translational_stiffness, gains.rotational_stiffness), 3)
        self._D = np.repeat((gains.translational_damping, gains.rotational_damping), 3)
        self._regular = self.PROJECTOR_DAMPING * np.eye(6)
        self._cholesky = eigenpy.LLT(6)
        self._error = np.empty(6)
        self._clipped = np.empty(6)
        self._wrench = np.empty(6)

    def spring(self, model: ArmModel, translation: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, float]:
        """The spring's wrench ``(6,)`` [N, N·m], overwritten by the next call, and its potential [J].

        The target is at ``translation (3,)`` [m], ``rotation (3, 3)`` in the base frame.
        """
        gains, e, clipped = self.gains, self._error, self._clipped
        np.subtract(translation, model.translation, out=e[:3])
        turn = e[3:] = log3(rotation.dot(model.rotation.T))
        np.minimum(e, gains.translational_clip, out=clipped)
        np.maximum(clipped, -gains.translational_clip, out=clipped)
        angle = float(turn.dot(turn)) ** 0.5
        clipped[3:] = turn if angle <= gains.rotational_clip else turn * (gains.rotational_clip / angle)
        wrench = np.multiply(self._K, clipped, out=self._wrench)
        # φ(e, c) = clip(e) (e − ½ clip(e)), inside the clip and outside.
        return wrench, float(wrench.dot(e) - 0.5 * wrench.dot(clipped))

    def damping(self, model: ArmModel) -> np.ndarray:
        """Damping wrench ``−D V (6,)`` [N, N·m]: never adds energy."""
        return -self._D * model.twist

    def nullspace(
        self, model: ArmModel, q: np.ndarray, dq: np.ndarray, posture: np.ndarray, spring_scale: float
    ) -> np.ndarray:
        """Posture torque ``(7,)`` [N·m] that leaves the TCP alone, toward ``posture (7,)`` [rad].

        The spring is scaled by ``spring_scale`` and, as a vector, kept under the cap, which the projection can only
        shrink further.
        """
        gains, J = self.gains, model.jacobian
        torque = posture - q
        torque *= spring_scale * gains.nullspace_stiffness
        size = float(torque.dot(torque)) ** 0.5
        if size > gains.nullspace_cap:
            torque *= gains.nullspace_cap / size
        torque -= gains.nullspace_damping * dq
        JJ = J.dot(J.T)
        JJ += self._regular
        torque -= J.T.dot(self._cholesky.compute(JJ).solve(J.dot(torque)))
        return torque
