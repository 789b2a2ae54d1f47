"""Policies that would destabilise the arm, above a stiff block, with the passivity filter off and on.

*Anti-damping*: the target runs ahead of the measured motion, ``x_d = x_0 + b V``. The spring then pushes with
``K (x_0 − x) + K b V``: for ``K b`` above the law's damping D it feeds every motion it finds.

*Square wave*: the target jumps 10 times a second between 5 cm above and 5 cm below the surface of the block.

Everything else that would stop them is set out of the way, so that what is seen is the filter's own doing: targets jump
(they are given no time to get there, and the reference no limit of speed), the compliant retreat and the robot's own
collision reflex have no threshold, the workspace is open, and the tank may drain with any power. There remain the
spring's clip, the limits of the joints' torques and of their rate, and the robot's reflex to joints that are too fast
or at their end, which ends an attack.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.experiments.passivity.record import RecordedWorld, Trace
from controllers.core import ControllerConfig
from controllers.impedance import ImpedanceGains
from controllers.passivity import TankConfig
from controllers.spatial import Pose
from controllers.state import Setpoint
from hardware.franka.collision import CollisionThresholds
from hardware.interfaces import ArmReading
from hardware.scene import SceneSpec
from robot_rl.tasks.peg_insertion import PEG_BELOW_TCP, PEG_WIDTH
from robot_rl.tasks.scenes.peg import CONTACT, START_Q, held_peg

SECONDS = 5.0
PERIOD = 0.005  # [s] between setpoints
SETTLE = 0.2  # [s] from the start of the motion to the first of them
GAP = 0.01  # [m] between the tip and the block at the start
START_HEIGHT = 0.2  # [m] of the TCP in START_Q
LEAD = 0.1  # b [s]: K b = 200 N·s/m at 2000 N/m
INSENSITIVE = CollisionThresholds(torque=(1e6,) * 7, force=(1e6,) * 6)
FREQUENCY, AMPLITUDE = 10.0, 0.05  # of the square wave [Hz, m]

Policy = Callable[[ArmReading, float], Pose]


def anti_damping(start: Pose) -> Policy:
    """Runs ahead of the motion, about a point on the surface."""
    centre = start.translation - (0.0, 0.0, GAP)
    return lambda reading, time: Pose(centre + LEAD * reading.twist[:3], start.quat_xyzw)


def square_wave(start: Pose) -> Policy:
    """Jumps between above and below the surface."""
    surface = start.translation - (0.0, 0.0, GAP)

    def target(reading: ArmReading, time: float) -> Pose:
        side = AMPLITUDE if (time * FREQUENCY) % 1.0 < 0.5 else -AMPLITUDE
        return Pose(surface + (0.0, 0.0, side), start.quat_xyzw)

    return target


POLICIES: dict[str, Callable[[Pose], Policy]] = {"anti-damping": anti_damping, "square wave": square_wave}


@dataclass(frozen=True)
class Regime:
    """Settings under which a policy attacks; ``title`` says them in words."""

    title: str
    gains: ImpedanceGains
    tank: TankConfig


WEAK = ImpedanceGains(translational_clip=0.05, translational_damping=20.0)
REGIMES: dict[str, Regime] = {
    "default": Regime(
        "defaults: 20 N clip, damping 89 N·s/m, budget 5 W", ImpedanceGains(), TankConfig(outflow=math.inf)
    ),
    "strong": Regime("100 N clip, damping 20 N·s/m, budget 5 W", WEAK, TankConfig(outflow=math.inf)),
    "strict": Regime(
        "100 N clip, damping 20 N·s/m, no budget", WEAK, TankConfig(outflow=math.inf, budget=0.0, episode_budget=0.0)
    ),
}


@dataclass(frozen=True, eq=False)
class Attack:
    """One policy under one regime; ``trace`` begins with the motion, ``reflex`` is why the robot ended it, or ""."""

    policy: str
    regime: Regime
    filtered: bool
    trace: Trace
    reflex: str

    @property
    def bound(self) -> np.ndarray:
        """The most that the filter lets the torques deliver from the start to each row [J] ``(n,)``.

        E_max + min(P t, B): no spring holds energy when a motion starts (see `controllers.passivity`).
        """
        tank, trace = self.regime.tank, self.trace
        return tank.capacity + np.minimum(tank.budget * trace.elapsed, tank.episode_budget)

    @property
    def violations(self) -> int:
        """Milliseconds after which more had been delivered than the bound."""
        return int((self.trace.delivered > self.bound).sum())


def scene() -> SceneSpec:
    """The peg in the hand, ``GAP`` above a block."""
    half = 0.025
    height = START_HEIGHT - PEG_BELOW_TCP - GAP - half
    block = f'<geom type="box" pos="0.5 0 {height}" size="0.1 0.1 {half}" rgba="0.4 0.46 0.54 1" {CONTACT}/>'
    return SceneSpec(worldbody=block, hand=held_peg(), start_q=START_Q, start_width=PEG_WIDTH)


def attack(policy: str, regime: Regime, filtered: bool, seconds: float = SECONDS) -> Attack:
    """Let ``policy`` act for ``seconds`` of robot time."""
    controller = ControllerConfig(
        gains=regime.gains,
        tank=TankConfig(**{**vars(regime.tank), "filter": filtered}),
        max_speed=math.inf,
        max_turn_speed=math.inf,
        force_limit=math.inf,
        moment_limit=math.inf,
    )
    reflex = ""
    with RecordedWorld(scene(), controller, INSENSITIVE) as world:
        world.start()
        target = POLICIES[policy](world.read().pose)
        world.advance(SETTLE)
        for number in range(round(seconds / PERIOD)):
            world.command(Setpoint(target(world.read(), number * PERIOD), number, duration=0.0))
            world.advance(PERIOD)
            if reflex := world.read().fault:
                break
        return Attack(policy, regime, filtered, world.take(), reflex)
