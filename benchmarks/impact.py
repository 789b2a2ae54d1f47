"""Force with which the simulated arm hits a block, against the speed asked for and the stiffness of arm and block.

The peg in the hand goes down onto the block at a steady speed, with and without a bound of the impact energy
(`controllers.impact`). One JSON line a point: ``speed`` of the TCP just before the contact [m/s], ``energy`` along the
motion ½ v² m [J], ``force`` of the contact in its worst millisecond [N], and ``estimate``, the most that the robot's
filtered wrench says [N], which its reflex goes by. ``--draw FILE`` makes a figure of them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from controllers.config import ControllerConfig
from controllers.gains import ImpedanceGains
from controllers.state import TICK, Setpoint
from hardware.franka.collision import CollisionThresholds
from hardware.franka.model import fr3_model
from hardware.scene import HOME_Q
from hardware.sim.scene.wrench import ContactWrench
from hardware.sim.world.inprocess import InProcessWorld
from robot_rl.tasks.peg_insertion import PegInsertion

TASK = PegInsertion()
ASIDE, HEIGHT = 0.03, 0.04  # of the peg from the hole, and above the block [m]
PERIOD, SETTLING = 0.02, 0.5  # between setpoints, and after the impact [s]
SPEEDS = (0.03, 0.06, 0.09, 0.13, 0.17, 0.21)  # [m/s]
STIFFNESSES = (500.0, 2000.0)  # of the arm's spring, which pushes with `PUSH` at most [N/m]
PUSH = 20.0  # [N]
DEEPEST = 0.03  # z of the target [m], in the block
BLOCKS = {"hard": 0.004, "soft": 0.02}  # time in which MuJoCo's contact gives way [s]
NO_REFLEX = CollisionThresholds(torque=(1e3,) * 7, force=(1e4,) * 6)


class Impact(NamedTuple):
    """One impact: see above."""

    speed: float
    energy: float
    force: float
    estimate: float


def hit(speed: float, stiffness: float, block: str, bound: float) -> Impact:
    """Go down onto the block, asked for ``speed`` [m/s]."""
    scene, model = TASK.scene(), fr3_model()
    above = TASK.nominal.moved(np.array([ASIDE, 0.0, HEIGHT, 0.0, 0.0, 0.0]))
    start_q = model.inverse_kinematics(above, HOME_Q)
    soft = scene.worldbody.replace(f"{BLOCKS['hard']} 1", f"{BLOCKS[block]} 1")
    scene = dataclasses.replace(scene, worldbody=soft, start_q=tuple(start_q))
    gains = ImpedanceGains(translational_stiffness=stiffness, translational_clip=PUSH / stiffness)
    config = ControllerConfig(gains=gains.damped_by_ratio(), impact_energy=bound)
    with InProcessWorld(scene, config, NO_REFLEX) as world:
        world.start()
        at_once = ContactWrench(*world.physics, dt=1e9)
        step, goal = np.array([0.0, 0.0, -speed * PERIOD, 0.0, 0.0, 0.0]), above
        falling, mass, force, estimate, ends = 0.0, 0.0, 0.0, 0.0, math.inf
        for tick in range(round((0.3 + 2.0 * HEIGHT / speed + SETTLING) / TICK)):
            if tick % round(PERIOD / TICK) == 0:
                goal = goal.moved(step) if goal.translation[2] > DEEPEST else goal
                world.command(Setpoint(goal, tick, PERIOD))
            world.advance(TICK)
            state = world.read().state
            force = max(force, float(at_once.update()[2]))
            estimate = max(estimate, float(state.wrench[2]))
            if force == 0.0:
                model.update(state.q, state.dq)
                falling, c = -float(model.twist[2]), model.jacobian[2]
                mass = 1.0 / float(c.dot(model.acceleration(c)))
            elif ends == math.inf:
                ends = tick + SETTLING / TICK
            if tick > ends:
                break
    return Impact(falling, 0.5 * falling**2 * mass, force, estimate)


def measure(bounds: tuple[float, ...]) -> Iterator[dict[str, object]]:
    """Every point."""
    for bound, block, stiffness, speed in product(bounds, BLOCKS, STIFFNESSES, SPEEDS):
        impact = hit(speed, stiffness, block, bound)
        point: dict[str, object] = {"benchmark": "impact", "bound": bound if math.isfinite(bound) else None}
        point |= {"block": block, "stiffness": stiffness, "asked": speed}
        yield point | {key: round(value, 4) for key, value in impact._asdict().items()}


def draw(points: list[dict[str, object]], file: Path) -> None:
    """The estimate against the speed, one line for each stiffness and block, dashed with the bound."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    lines = sorted({(p["block"], p["stiffness"], p["bound"] is None, p["bound"]) for p in points}, key=str)
    for block, stiffness, free, bound in lines:
        line = [p for p in points if (p["block"], p["stiffness"], p["bound"]) == (block, stiffness, bound)]
        colour = f"C{list(BLOCKS).index(str(block)) * 2 + STIFFNESSES.index(float(str(stiffness)))}"
        name = f"{block} block, {stiffness:g} N/m" + ("" if free else f", at most {bound:g} J")
        for axes, key in zip(panels, ("estimate", "force"), strict=True):
            axes.plot([p["asked"] for p in line], [p[key] for p in line], "o-" if free else "x--", c=colour, label=name)
    panels[0].axhline(60.0, color="k", lw=1)
    panels[0].text(0.02, 61.0, "reflex")
    panels[0].set(xlabel="speed asked for [m/s]", ylabel="largest estimated force [N]")
    panels[1].set(xlabel="speed asked for [m/s]", ylabel="contact force in the worst millisecond [N]")
    panels[1].legend(fontsize=7)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bound", type=float, default=TASK.impact_energy, help="of the impact energy [J]")
    parser.add_argument("--draw", type=Path, help="file for the figure")
    arguments = parser.parse_args()
    points = []
    for point in measure((math.inf, arguments.bound)):
        print(json.dumps(point), flush=True)
        points.append(point)
    if arguments.draw:
        draw(points, arguments.draw)


if __name__ == "__main__":
    main()
