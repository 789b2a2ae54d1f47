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


class ControlError(ValueError):
    """A configuration of the controller that makes no sense."""


@dataclass(frozen=True)
class ControllerConfig:
    """Settings of a controller. Values only, so that it can be sent to another process.

    Raises:
        ControlError: at construction, naming the field.
        GainError: the gains are not stable when sampled (`ImpedanceGains.check_sampling`).
    """

    gains: ImpedanceGains = field(default_factory=ImpedanceGains)
    joint_gains: JointGains = field(default_factory=JointGains)
    friction: FrictionConfig = field(default_factory=FrictionConfig)  # what is compensated; nothing by default
    tank: TankConfig = field(default_factory=TankConfig)

    # The gate.
    workspace: Workspace | None = None  # where targets are clipped to; None leaves them alone
    max_jump: float = 0.5  # a target further than this from the measured TCP is rejected [m]
    max_speed: float = 0.5  # of the reference; setpoints that ask for more take longer [m/s]
    max_turn_speed: float = 2.5  # of the reference's orientation, and of each joint of a joint setpoint [rad/s]
    impact_energy: float = math.inf  # with which the TCP may hit something (`controllers.impact`) [J]
    max_force: float = 30.0  # a wrench setpoint that asks for more is rejected [N] …
    max_moment: float = 10.0  # … [N·m]

    # Yielding to what the TCP pushes against; below the robot's own collision thresholds of 60 N and 30 N·m.
    force_limit: float = 35.0  # [N]
    moment_limit: float = 15.0  # [N·m]

    # The watchdog, and how the stiffness and the gains come and go.
    hold_after: float = 0.25  # without a fresh setpoint: hold the measured pose [s of robot time]
    damp_after: float = 1.0  # still none: damp out and finish [s]
    first_after: float = 1.0  # so long, if longer, a motion holds for its first setpoint [s]
    ramp_up: float = 0.1  # stiffness from 0 to full after the start [s]
    ramp_down: float = 0.5  # stiffness from full to 0 when damping out [s]
    gain_ramp: float = 0.3  # from the old gains to new ones [s]
    wrench_ramp: float = 0.1  # a commanded wrench that is not renewed goes to zero [s]
    rest_speed: float = 0.02  # damping out ends when no joint is faster [rad/s] …
    rest_timeout: float = 0.5  # … or this long after the stiffness is gone [s]

    # Torques.
    max_torque_step: float = MAX_TORQUE_STEP  # per tick, against the torque the robot accepted last [N·m]
    repulsion_margin: float = 0.2  # distance to a joint limit where the push away from it begins [rad]
    repulsion_peak: float = 5.0  # torque at the limit [N·m]

    def __post_init__(self) -> None:
        for name in ("max_jump", "hold_after", "damp_after", "first_after", "ramp_up", "ramp_down"):
            self._require(name, finite=True)
        for name in ("gain_ramp", "wrench_ramp", "rest_speed", "rest_timeout"):
            self._require(name, finite=True)
        for name in ("max_speed", "max_turn_speed", "impact_energy", "max_force", "max_moment"):
            self._require(name, finite=False)
        for name in ("force_limit", "moment_limit"):
            self._require(name, finite=False)
        self.gains.check_sampling()
        self.joint_gains.check_sampling()
        if self.damp_after <= self.hold_after:
            raise ControlError(f"damp_after ({self.damp_after} s) must be later than hold_after ({self.hold_after} s)")

    def _require(self, name: str, finite: bool) -> None:
        value = getattr(self, name)
        if not value > 0.0 or (finite and math.isinf(value)):
            raise ControlError(f"{name} must be {'finite and ' if finite else ''}positive, not {value}")
