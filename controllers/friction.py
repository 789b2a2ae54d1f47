"""Optional compensation of joint friction, so that a weak spring still moves the arm.

    tau_i = c_i tanh(dq_i / v_i) + b_i dq_i,        |tau_i| ≤ cap_i

is what Coulomb friction (c, smoothed below the speed v) and viscous friction (b) take. This torque points along the
motion: it is negative damping, safe only because friction takes away at least as much. Where the true friction of a
joint at every speed is ≥ tau_i (c and b estimated too *low*), the compensated joint still loses energy and the work of
the compensation never exceeds the work lost in friction. Where they are estimated too high, the joint is driven, and the
energy comes from the controller: choose about 70 % of what was identified, in the direction and temperature with the
least friction. Two caveats remain. Velocities are a sample old, so that right at a reversal the torque briefly pushes the
new way against the old; v must be well above the noise of the velocities. And the friction's heat was booked as
delivered energy before, so an energy tank books this torque like any other: it is no exception to the bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controllers.state import JOINTS

# The most that may be compensated [N·m]: published identifications of Panda and FR3 joints find 0.2–1.2 N·m.
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
        torque = np.divide(dq, self.config.smoothing, out=self._torque)
        np.tanh(torque, out=torque)
        torque *= self._coulomb
        torque += np.multiply(self._viscous, dq, out=self._part)
        np.minimum(torque, self.config.cap, out=torque)
        return np.maximum(torque, -self.config.cap, out=torque)
