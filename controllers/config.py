"""Settings of a controller, and the bounds of a request."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from controllers.friction import FrictionConfig
from controllers.gains import ImpedanceGains
from controllers.joint_impedance import JointGains
from controllers.limits import MAX_TORQUE_STEP
from controllers.passivity import TankConfig
from controllers.workspace import Workspace

# The most that the controller of a real arm may be given, whatever its configuration says; see docs/SAFETY.md. Beyond,
# the robot's own limits would be met first: 60 N and 30 N·m of its collision thresholds, 2.5 rad/s of its TCP.
MOST = {
    "max_jump": 1.0,
    "max_speed": 1.0,
    "max_turn_speed": 2.5,
    "max_force": 60.0,
    "max_moment": 12.0,
    "force_limit": 60.0,
    "moment_limit": 30.0,
    "hold_after": 1.0,
    "damp_after": 5.0,
    "wrench_ramp": 1.0,
    "tank.capacity": 10.0,
    "tank.budget": 20.0,
    "tank.episode_budget": 3000.0,
    "tank.outflow": 200.0,
}
MAX_STEP = 1.0  # [N·m] from one tick to the next, beyond which an FR3 ends the motion
MAX_REPULSION = 10.0  # [N·m] of a joint's limit


class ControlError(ValueError):
    """A configuration of the controller that makes no sense, or is not for a real arm."""


@dataclass(frozen=True)
class ControllerConfig:
    """Settings of a controller. Values only, so that it can be sent to another process.

    Attributes:
        gains: of the impedance law.
        joint_gains: of the joint impedance law.
        friction: compensated friction; nothing by default.
        tank: size of the energy tank.
        workspace: where targets are clipped to; None leaves them alone.
        max_jump: a target further than this from the measured TCP is rejected [m].
        max_speed: of the reference; setpoints that ask for more take longer [m/s].
        max_turn_speed: of the reference's orientation, and of each joint of a joint setpoint [rad/s].
        impact_energy: with which the TCP may hit something (`controllers.impact`) [J].
        max_force, max_moment: a wrench setpoint that asks for more is rejected [N, N·m].
        force_limit, moment_limit: of what the TCP pushes against, from 80 % of which the reference gives way [N, N·m];
            below the robot's own collision thresholds of 60 N and 30 N·m.
        hold_after: without a fresh setpoint for so long, the measured pose is held [s of robot time].
        damp_after: still none: the arm damps out and the motion ends [s].
        first_after: so long, if longer, a motion holds for its first setpoint [s].
        ramp_up, ramp_down: of the stiffness, from 0 to full after the start, and back when damping out [s].
        gain_ramp: from the old gains to new ones [s].
        wrench_ramp: a commanded wrench that is not renewed goes to zero within [s].
        rest_speed: damping out ends when no joint is faster [rad/s] …
        rest_timeout: … or this long after the stiffness is gone [s].
        max_torque_step: per tick, against the torque the robot accepted last [N·m].
        repulsion_margin: distance to a joint limit where the push away from it begins [rad].
        repulsion_peak: torque of that push at the limit [N·m].

    Raises:
        ControlError: at construction, naming the field.
        GainError: the gains are not stable when sampled (`ImpedanceGains.check_sampling`).
    """

    gains: ImpedanceGains = field(default_factory=ImpedanceGains)
    joint_gains: JointGains = field(default_factory=JointGains)
    friction: FrictionConfig = field(default_factory=FrictionConfig)
    tank: TankConfig = field(default_factory=TankConfig)

    workspace: Workspace | None = None
    max_jump: float = 0.5
    max_speed: float = 0.5
    max_turn_speed: float = 2.5
    impact_energy: float = math.inf
    max_force: float = 30.0
    max_moment: float = 10.0

    force_limit: float = 35.0
    moment_limit: float = 15.0

    hold_after: float = 0.25
    damp_after: float = 1.0
    first_after: float = 1.0
    ramp_up: float = 0.1
    ramp_down: float = 0.5
    gain_ramp: float = 0.3
    wrench_ramp: float = 0.1
    rest_speed: float = 0.02
    rest_timeout: float = 0.5

    max_torque_step: float = MAX_TORQUE_STEP
    repulsion_margin: float = 0.2
    repulsion_peak: float = 5.0

    def __post_init__(self) -> None:
        for name in ("max_jump", "hold_after", "damp_after", "first_after", "ramp_up", "ramp_down"):
            self._require(name, finite=True)
        for name in ("gain_ramp", "wrench_ramp", "rest_speed", "rest_timeout"):
            self._require(name, finite=True)
        for name in ("max_speed", "max_turn_speed", "impact_energy", "max_force", "max_moment"):
            self._require(name, finite=False)
        for name in ("force_limit", "moment_limit"):
            self._require(name, finite=False)
        for name, most in (
            ("max_torque_step", MAX_STEP),
            ("repulsion_margin", math.pi),
            ("repulsion_peak", MAX_REPULSION),
        ):
            self._require(name, finite=True)
            if getattr(self, name) > most:
                raise ControlError(f"{name} must be at most {most:.4g}, not {getattr(self, name)}")
        self.gains.check_sampling()
        self.joint_gains.check_sampling()
        if self.damp_after <= self.hold_after:
            raise ControlError(f"damp_after ({self.damp_after} s) must be later than hold_after ({self.hold_after} s)")

    def _require(self, name: str, finite: bool) -> None:
        value = getattr(self, name)
        if not value > 0.0 or (finite and math.isinf(value)):
            raise ControlError(f"{name} must be {'finite and ' if finite else ''}positive, not {value}")

    def check_real(self) -> None:
        """Raises `ControlError` when a limit is above what it may be for a real arm (`MOST`)."""
        for name, most in MOST.items():
            group, _, key = name.rpartition(".")
            value = getattr(getattr(self, group) if group else self, key)
            if not value <= most:
                raise ControlError(f"{name}={value:g} must be at most {most:g} for a real arm")
