"""Optional compensation of joint friction, so that a weak spring still moves the arm.

    tau_i = c_i tanh(dq_i / v_i) + b_i dq_i,        |tau_i| ≤ cap_i

is what Coulomb friction (c, smoothed below the speed v) and viscous friction (b) take. The torque points along the
motion: it is negative damping, safe only because friction takes away at least as much. As long as c and b are estimated
too *low*, so that the true friction of each joint is ≥ |tau_i| at every speed, its power tau·dq never exceeds what
friction turns into heat, and the compensated joint still loses energy. Estimated too high, it drives the joint, with
energy from the controller: set about 70 % of what was identified, and identify it where it is least (a warm arm,
unloaded, in the easier direction).

Two caveats. The velocity is a sample old: right at a reversal the torque still pushes the old way, against the motion,
which costs speed but adds no energy; noise in the velocity must stay well below v, or the torque follows the noise. And
an energy tank books this torque like any other, although friction swallows it: its budget has to pay for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controllers.state import JOINTS

# The most that may be compensated [N·m]; the joints of the simulated FR3 have up to 1.14 N·m of friction.
MAX_CAP = 2.0


class FrictionError(ValueError):
    """Friction parameters that are not finite, negative, or beyond what a joint has."""


@dataclass(frozen=True)
class FrictionConfig:
    """Friction to be compensated; nothing by default.

    Attributes:
        coulomb: c, for each joint ``(7,)`` [N·m].
        viscous: b, for each joint ``(7,)`` [N·m·s/rad].
        smoothing: v, speed at which three quarters of the Coulomb friction are compensated [rad/s].
        cap: largest torque on any joint [N·m], at most `MAX_CAP`.

    Raises:
        FrictionError: at construction, naming the parameter.
    """

    coulomb: tuple[float, ...] = (0.0,) * JOINTS
    viscous: tuple[float, ...] = (0.0,) * JOINTS
    smoothing: float = 0.05
    cap: float = 1.0

    def __post_init__(self) -> None:
        for name in ("coulomb", "viscous"):
            values = np.array(getattr(self, name), dtype=np.float64)
            if values.shape != (JOINTS,) or not np.isfinite(values).all() or (values < 0.0).any():
                raise FrictionError(
                    f"{name} friction needs {JOINTS} finite numbers that are not negative, not {values}"
                )
            object.__setattr__(self, name, tuple(values.tolist()))
        if not (np.isfinite(self.smoothing) and self.smoothing > 0.0):
            raise FrictionError(f"smoothing must be a finite and positive speed in rad/s, not {self.smoothing}")
        if not 0.0 <= self.cap <= MAX_CAP:
            raise FrictionError(f"cap must lie in [0, {MAX_CAP}] N·m, not {self.cap}")

    @property
    def active(self) -> bool:
        """Whether anything is compensated at all."""
        return self.cap > 0.0 and any((*self.coulomb, *self.viscous))


class FrictionCompensation:
    """The law above."""

    def __init__(self, config: FrictionConfig) -> None:
        self.config = config
        self._coulomb = np.array(config.coulomb)
        self._viscous = np.array(config.viscous)
        self._torque, self._part = np.empty((2, JOINTS))

    def torque(self, dq: np.ndarray) -> np.ndarray:
        """Torque ``(7,)`` [N·m], overwritten by the next call, at joint velocities ``dq (7,)`` [rad/s]."""
        torque: np.ndarray = np.divide(dq, self.config.smoothing, out=self._torque)
        np.tanh(torque, out=torque)
        torque *= self._coulomb
        torque += np.multiply(self._viscous, dq, out=self._part)
        np.minimum(torque, self.config.cap, out=torque)
        np.maximum(torque, -self.config.cap, out=torque)
        return torque
