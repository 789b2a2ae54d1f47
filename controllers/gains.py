"""Gains of the impedance laws: values that are checked once, so that the laws need not.

The bounds below keep a wrong gain from becoming a strong arm: what a spring can exert is its stiffness times its clip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from controllers.state import TICK

# Bounds of what the spring may exert. An FR3 reaches 0.855 m and has 87 N·m in its first joints: 100 N at full reach
# leaves nothing over. A moment about the last joint's axis goes onto that joint alone, which has 12 N·m.
MAX_FORCE = 100.0  # [N] along each base axis
MAX_MOMENT = 12.0  # [N·m]

# The least inertia felt at the TCP of an FR3 with its hand anywhere within its joint limits, measured on the model with
# the drives of the simulated arm; the drives of the real one are not published.
LEAST_MASS = 1.7  # [kg]
LEAST_INERTIA = 0.04  # [kg·m²]

ROUNDING = 1e-9  # relative; a bound that is met exactly is not to fail by it

UNITS = {
    "translational_stiffness": "N/m",
    "rotational_stiffness": "N·m/rad",
    "translational_damping": "N·s/m",
    "rotational_damping": "N·m·s/rad",
    "translational_clip": "m",
    "rotational_clip": "rad",
    "nullspace_stiffness": "N·m/rad",
    "nullspace_damping": "N·m·s/rad",
    "nullspace_cap": "N·m",
    "inertial_damping": "",
}  # of the gains below

PerAxis = float | tuple[float, float, float]  # one value for all base axes, or one for each
PER_AXIS = ("translational_stiffness", "translational_damping", "translational_clip")  # gains that may be so


class GainError(ValueError):
    """A gain or clip that is not a finite number of the right sign, or one that is not safe."""


@dataclass(frozen=True)
class ImpedanceGains:
    """Gains of the law; the spring force on the TCP never exceeds ``force_bound`` and ``moment_bound``.

    Translational gains are one number, or three: along the x, y and z axes of the base frame.

    Attributes:
        translational_stiffness, rotational_stiffness: [N/m] and [N·m/rad].
        translational_damping, rotational_damping: [N·s/m] and [N·m·s/rad].
        translational_clip, rotational_clip: largest error the spring feels, per axis [m] and as an angle [rad].
        nullspace_stiffness, nullspace_damping: of the posture, [N·m/rad] and [N·m·s/rad].
        nullspace_cap: largest torque of the posture spring, as a vector over all joints [N·m].
        inertial_damping: damping ratio ζ of the part of the damping that follows the arm's inertia.

    Raises:
        GainError: at construction, naming the gain: not finite, negative, or a bound above `MAX_FORCE` or `MAX_MOMENT`.
    """

    translational_stiffness: PerAxis = 2000.0
    rotational_stiffness: float = 75.0
    translational_damping: PerAxis = 89.0
    rotational_damping: float = 7.0
    translational_clip: PerAxis = 0.01
    rotational_clip: float = 0.05
    nullspace_stiffness: float = 10.0
    nullspace_damping: float = 4.0
    nullspace_cap: float = 5.0
    inertial_damping: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, float):
                value = _numbers(name, value)
                object.__setattr__(self, name, value)
            if not (0.0 <= value < math.inf if isinstance(value, float) else all(0.0 <= v < math.inf for v in value)):
                raise GainError(f"{name} must be finite and not negative, not {value}")
        if 0.0 in (self.rotational_clip, *_three(self.translational_clip)):
            raise GainError("a clip of 0 leaves no spring; to switch the spring off set its stiffness to 0")
        bound = self.force_bound
        if (bound if isinstance(bound, float) else max(bound)) > MAX_FORCE * (1.0 + ROUNDING):
            raise GainError(
                f"translational_stiffness {self.translational_stiffness} N/m times translational_clip "
                f"{self.translational_clip} m lets the spring push with {bound} N; the most allowed along an axis is "
                f"{MAX_FORCE} N: lower one of them"
            )
        if self.moment_bound > MAX_MOMENT * (1.0 + ROUNDING):
            raise GainError(
                f"rotational_stiffness {self.rotational_stiffness} N·m/rad times rotational_clip "
                f"{self.rotational_clip} rad lets the spring turn with {self.moment_bound} N·m; the most allowed is "
                f"{MAX_MOMENT} N·m: lower one of them"
            )

    @property
    def force_bound(self) -> PerAxis:
        """Largest spring force on the TCP along each base axis [N]."""
        K, c = self.translational_stiffness, self.translational_clip
        if isinstance(K, float) and isinstance(c, float):
            return K * c
        (kx, ky, kz), (cx, cy, cz) = _three(K), _three(c)
        return (kx * cx, ky * cy, kz * cz)

    @property
    def moment_bound(self) -> float:
        """Largest spring moment on the TCP [N·m]."""
        return self.rotational_stiffness * self.rotational_clip

    def damped_by_ratio(self, ratio: float = 1.0) -> ImpedanceGains:
        """These gains with ``D = 2 ratio √K``: the damping ratio of a mass of 1 kg and 1 kg·m² in the spring."""
        (kx, ky, kz) = _three(self.translational_stiffness)
        damping = (2.0 * ratio * kx**0.5, 2.0 * ratio * ky**0.5, 2.0 * ratio * kz**0.5)
        rotational = 2.0 * ratio * self.rotational_stiffness**0.5
        return replace(self, translational_damping=damping, rotational_damping=rotational, inertial_damping=0.0)

    def damped_by_mass(self, ratio: float = 1.0) -> ImpedanceGains:
        """These gains with ``ratio`` as the damping ratio of the arm's own inertia in the spring, and nothing besides.

        The inertia is the model's, so the model has to know the drives' (`ArmModel.from_urdf`), which is most of what
        the wrist has.
        """
        return replace(self, translational_damping=0.0, rotational_damping=0.0, inertial_damping=ratio)

    def check_sampling(
        self, period: float = TICK, mass: float = LEAST_MASS, inertia: float = LEAST_INERTIA
    ) -> ImpedanceGains:
        """These gains, if a controller that acts once in ``period`` [s] may have them.

        A held spring force pushes by the position of a sample ago and so adds energy, which the damping must take out:
        ``D > K T / 2`` (Colgate & Schenkel, Passivity of a class of sampled-data systems, J. Robotic Systems 14, 1997).
        A held damping force must not turn the velocity round with gain: ``D T < 2 m`` for the least ``mass`` [kg] and
        ``inertia`` [kg·m²] that it acts on.

        Raises:
            GainError: naming the damping, its value, and the range it may have.
        """
        K, D = _three(self.translational_stiffness), _three(self.translational_damping)
        checks = [("translational_damping", k, d, mass) for k, d in zip(K, D, strict=True)]
        checks.append(("rotational_damping", self.rotational_stiffness, self.rotational_damping, inertia))
        for name, k, d, m in checks:
            check_damping(name, k, d + 2.0 * self.inertial_damping * math.sqrt(k * m), period, m)
        check_damping("nullspace_damping", self.nullspace_stiffness, self.nullspace_damping, period, inertia)
        return self


def describe_change(old: ImpedanceGains, new: ImpedanceGains) -> str:
    """The differences, in words for the operator."""
    changes = []
    for name, unit in UNITS.items():
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            changes.append(f"{name.replace('_', ' ')} {_words(before)} → {_words(after)} {unit}".rstrip())
    return ", ".join(changes) if changes else "gains as they were"


def interpolate(a: ImpedanceGains, b: ImpedanceGains, s: float) -> ImpedanceGains:
    """Gains at the share ``s`` of the way from ``a`` to ``b``, held at the ends.

    Stiffness, damping and the *force bound* go linearly, so that the bound never leaves the range between its ends, as
    the product of a rising stiffness and a falling clip would. The clip is the quotient.
    """
    if s <= 0.0:
        return a
    if s >= 1.0:
        return b
    return ImpedanceGains(
        _mix(a.translational_stiffness, b.translational_stiffness, s),
        _mix_number(a.rotational_stiffness, b.rotational_stiffness, s),
        _mix(a.translational_damping, b.translational_damping, s),
        _mix_number(a.rotational_damping, b.rotational_damping, s),
        _mix_clips(a, b, s),
        _mix_clip(a.rotational_stiffness, a.rotational_clip, b.rotational_stiffness, b.rotational_clip, s),
        _mix_number(a.nullspace_stiffness, b.nullspace_stiffness, s),
        _mix_number(a.nullspace_damping, b.nullspace_damping, s),
        _mix_number(a.nullspace_cap, b.nullspace_cap, s),
        _mix_number(a.inertial_damping, b.inertial_damping, s),
    )


def _mix_number(x: float, y: float, s: float) -> float:
    return x + s * (y - x)


def _mix(x: PerAxis, y: PerAxis, s: float) -> PerAxis:
    if isinstance(x, float) and isinstance(y, float):
        return _mix_number(x, y, s)
    (ax, ay, az), (bx, by, bz) = _three(x), _three(y)
    return (ax + s * (bx - ax), ay + s * (by - ay), az + s * (bz - az))


def _mix_clip(K0: float, c0: float, K1: float, c1: float, s: float) -> float:
    """The clip between ``c0`` and ``c1`` with which the bound K c goes linearly."""
    K = K0 + s * (K1 - K0)
    return ((1.0 - s) * K0 * c0 + s * K1 * c1) / K if K > 0.0 else c0 + s * (c1 - c0)


def _mix_clips(a: ImpedanceGains, b: ImpedanceGains, s: float) -> PerAxis:
    K0, c0, K1, c1 = a.translational_stiffness, a.translational_clip, b.translational_stiffness, b.translational_clip
    if isinstance(K0, float) and isinstance(c0, float) and isinstance(K1, float) and isinstance(c1, float):
        return _mix_clip(K0, c0, K1, c1, s)
    x, y, z = (_mix_clip(*axis, s) for axis in zip(_three(K0), _three(c0), _three(K1), _three(c1), strict=True))
    return (x, y, z)


def _words(value: PerAxis) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"({', '.join(f'{v:.4g}' for v in value)})"


def _three(value: PerAxis) -> tuple[float, float, float]:
    return value if isinstance(value, tuple) else (value, value, value)


def _numbers(name: str, value: object) -> PerAxis:
    """``value`` as one float, also if it is the same on all axes, else as three."""
    numbers = np.asarray(value, dtype=np.float64).tolist()
    if isinstance(numbers, float):
        return numbers
    if len(numbers) != 3 or name not in PER_AXIS:
        raise GainError(f"{name} must be one number (translational ones may be three: x, y, z), not {value}")
    x, y, z = numbers
    return x if x == y == z else (x, y, z)


def check_damping(name: str, stiffness: float, damping: float, period: float, inertia: float) -> None:
    """Whether a spring and a damper may be held for ``period`` [s] at a time; see `ImpedanceGains.check_sampling`.

    Raises:
        GainError: unless ``stiffness · period / 2 < damping < 2 inertia / period``; without a stiffness the damping may
            be 0.
    """
    least, most = 0.5 * stiffness * period, 2.0 * inertia / period
    if damping >= most or (stiffness > 0.0 and damping <= least):
        raise GainError(
            f"{name} is {damping:.4g} in all; held for {1e3 * period:.4g} ms, with stiffness {stiffness:.4g} and "
            f"inertia {inertia:.4g} (SI units) it must lie between {least:.4g} and {most:.4g}"
        )
