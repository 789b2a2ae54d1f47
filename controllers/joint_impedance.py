"""Joint impedance with reference limiting: the spring of `controllers.impedance`, one for each joint.

    tau = K clip(q_d − q) − D dq,        U = Σ_i K_i φ(q_d,i − q_i, c_i),

with φ quadratic up to the clip c and linear beyond, so that the torque is exactly −∂U/∂q and never above K c.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controllers.gains import GainError, check_damping
from controllers.state import JOINTS, TICK

# Bound of what each spring may exert [N·m]: half of what an FR3's joints have, so that damping and compensation
# always find room below the clamp.
MAX_TORQUE = (43.5, 43.5, 43.5, 43.5, 6.0, 6.0, 6.0)
# Inertia that each joint moves at least [kg·m²]: the drives alone, as the simulated arm has them.
LEAST_INERTIA = (0.195, 0.195, 0.195, 0.195, 0.074, 0.074, 0.074)

Joints = tuple[float, float, float, float, float, float, float]


@dataclass(frozen=True)
class JointGains:
    """Gains of the law, each for the seven joints from the base on.

    Attributes:
        stiffness: K [N·m/rad].
        damping: D [N·m·s/rad].
        clip: c, largest error a spring feels [rad].

    Raises:
        GainError: at construction, naming the gain and the joint.
    """

    stiffness: Joints = (600.0, 600.0, 600.0, 600.0, 250.0, 150.0, 100.0)
    damping: Joints = (50.0, 50.0, 50.0, 30.0, 10.0, 8.0, 6.0)
    clip: Joints = (0.05, 0.05, 0.05, 0.05, 0.02, 0.03, 0.04)

    def __post_init__(self) -> None:
        for name in ("stiffness", "damping", "clip"):
            values = np.array(getattr(self, name), dtype=np.float64)
            if values.shape != (JOINTS,):
                raise GainError(f"joint {name} needs one number for each of {JOINTS} joints, not {values}")
            for joint, value in enumerate(values, 1):
                if not np.isfinite(value) or value < 0.0 or (name == "clip" and value == 0.0):
                    raise GainError(f"{name} of joint {joint} must be finite and not negative, a clip not 0: {value}")
            object.__setattr__(self, name, tuple(values.tolist()))
        for joint, (bound, most) in enumerate(zip(self.torque_bound, MAX_TORQUE, strict=True), 1):
            if bound > most:
                raise GainError(
                    f"stiffness times clip lets the spring of joint {joint} push with {bound:.4g} N·m; the most "
                    f"allowed is {most} N·m: lower one of them"
                )

    @property
    def torque_bound(self) -> Joints:
        """Largest spring torque of each joint [N·m]."""
        bounds = np.multiply(self.stiffness, self.clip)
        return tuple(bounds.tolist())

    def check_sampling(self, period: float = TICK, inertia: Joints = LEAST_INERTIA) -> None:
        """Raises `GainError` unless a controller that acts once in ``period`` [s] may have these gains.

        See `ImpedanceGains.check_sampling`; ``inertia`` is the least that each joint moves ``(7,)`` [kg·m²].
        """
        for joint, (K, D, m) in enumerate(zip(self.stiffness, self.damping, inertia, strict=True), 1):
            check_damping(f"damping of joint {joint}", K, D, period, m)


class JointImpedance:
    """The law above, in parts, because the passivity filter weighs the spring before it is added to the damping."""

    def __init__(self, gains: JointGains) -> None:
        self._K, self._D, self._clip = np.array(gains.stiffness), np.array(gains.damping), np.array(gains.clip)
        self._clipped, self._torque, self._damping = np.empty((3, JOINTS))

    def spring(self, q: np.ndarray, q_d: np.ndarray) -> tuple[np.ndarray, float]:
        """Torque ``(7,)`` [N·m], overwritten by the next call, and potential [J] of the spring from ``q`` to ``q_d``.

        Both are joint positions ``(7,)`` [rad].
        """
        e = q_d - q
        clipped = np.minimum(e, self._clip, out=self._clipped)
        np.maximum(clipped, -self._clip, out=clipped)
        torque = np.multiply(self._K, clipped, out=self._torque)
        return torque, float(torque.dot(e) - 0.5 * torque.dot(clipped))

    def damping(self, dq: np.ndarray) -> np.ndarray:
        """Damping torque ``−D dq (7,)`` [N·m], overwritten by the next call, at velocities ``dq (7,)`` [rad/s]."""
        np.negative(np.multiply(self._D, dq, out=self._damping), out=self._damping)
        return self._damping
