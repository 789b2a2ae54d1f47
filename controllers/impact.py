"""A bound of the energy with which the TCP hits what it meets: the arm is braked by its own inertia, not by a speed.

An arm that moves with the velocity V, of speed v and direction u, brings the kinetic energy

    E = ½ v² m(u),    m(u) = 1 / (uᵀ J M⁻¹ Jᵀ u),

into a contact that stops it along u: m is the mass that a push along u feels at the TCP. It is 2 to 13 kg for an FR3
above its table, so that the same energy is another speed in every direction. With ``E_max`` the arm may be as fast as
v_max = √(2 E_max / m).

*The reference* moves at `HEADROOM` times v_max at most, in the direction of its way.

*The law* is braked. Torques tau push along u with P = m uᵀ J M⁻¹ tau (N): the force that would accelerate the TCP as
they do. No more of it may act than

    P ≤ m (v_max − v) / APPROACH,    above v_max at least −MOST_BRAKING,

so that the speed nears v_max within the time `APPROACH` and does not pass it. What exceeds it, B ≥ 0, is taken away by
the torques −B Jᵀu. Their power, −B v, is never positive: **braking is
damping**, by B/v along the motion, and nothing in the argument of `controllers.passivity` changes: it is booked with
the realised torque like all other, and needs no valve.

*Not covered:* links other than the hand, turns of the hand about the TCP, a load that the model does not have, and
somebody who pushes the arm. Nor that a torque takes its time to go, by 1 N·m a millisecond, and that a push across the
motion turns it into a direction with more mass: jumping targets take the arm 4 % above E_max with the default gains, a
spring of 60 N with hardly any damping and jumping wrenches 60 %. And it bounds the *blow*: the push that follows it is
the spring's, bounded by its clip.
"""

from __future__ import annotations

import math

import numpy as np

from controllers.model import ArmModel

HEADROOM = 0.8  # share of v_max that the reference keeps to, so that a push is left to follow it with
APPROACH = 0.01  # [s]; the push of the default spring, 20 N, cannot be taken away faster by torques of limited rate
MOST_BRAKING = 20.0  # deceleration beyond v_max, as a force on the TCP [N]
HEAVIEST = 100.0  # m(u) is above it only next to a singular posture, where the TCP hardly moves along u [kg]
QUIET = 0.3  # share of v_max of the heaviest up to which nothing is braked


class ImpactBound:
    """The bound.

    Args:
        energy: E_max [J], positive; infinite: no bound.

    Attributes:
        energy: E_max [J].
    """

    def __init__(self, energy: float) -> None:
        self.energy = energy
        self._quiet = QUIET**2 * 2.0 * energy / HEAVIEST  # v² [m²/s²]

    def speed(self, model: ArmModel, way: np.ndarray) -> float:
        """How fast the reference may move along ``way (3,)``, any length, base axes [m/s]."""
        length = math.sqrt(way.dot(way))
        if self.energy == math.inf or length == 0.0:
            return math.inf
        c = model.jacobian[:3].T.dot(way / length)
        return HEADROOM * math.sqrt(2.0 * self.energy * float(c.dot(model.acceleration(c))))

    def brake(self, model: ArmModel, torque: np.ndarray) -> np.ndarray | None:
        """Torques ``(7,)`` [N·m] to add to ``torque (7,)``, gravity excluded; None when there is nothing to brake."""
        V = model.twist[:3]
        square = float(V.dot(V))
        if not square > self._quiet:
            return None
        v = math.sqrt(square)
        c = model.jacobian[:3].T.dot(V / v)
        response = model.acceleration(c)
        mobility = float(c.dot(response))  # 1/m
        v_max = math.sqrt(2.0 * self.energy * mobility)
        allowed = max((v_max - v) / (APPROACH * mobility), -MOST_BRAKING)
        B = float(response.dot(torque)) / mobility - allowed
        if B <= 0.0:
            return None
        braking: np.ndarray = -B * c
        return braking
