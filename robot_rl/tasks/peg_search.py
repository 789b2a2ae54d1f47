"""Peg search: the peg insertion with a tighter hole that is not where it is said to be. It has to be felt.

The observation is relative to the *nominal* hole. The true one is displaced by up to 3 mm and turned by up to 5°, which
only contact forces and the way the peg moves give away. Upright, a peg has to be within a quarter of a millimetre and
2° before anything can be felt at all. But the policy may lean it: one corner of a leaning peg drops into the hole from
5 mm around, and slides on until two of the hole's walls stop it.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from controllers.spatial import Pose, exp3, log3
from controllers.workspace import OrientationCone, Workspace
from hardware.interfaces import TeleopCommand
from hardware.sim.scene import SceneSpec
from robot_rl.contract import ActionSpec, Field, Reading
from robot_rl.tasks import fields
from robot_rl.tasks.base import Start
from robot_rl.tasks.peg_insertion import (
    BLOCK_TOP,
    FRICTION,
    HOLE_XY,
    MAX_STEP,
    PEG_WIDTH,
    PLUNGE,
    PegInsertion,
    block_with_hole,
    tip,
)

DISPLACEMENT = 0.003  # [m] of the hole, x and y
MISALIGNMENT = np.radians(5.0)
STEEPEST = np.radians(15.0)  # that the peg may lean

# The expert's. It leans the peg about AXIS, so that the corner at CORNER, seen from the tip's middle, is the lowest.
CORNER = np.array([0.5 * PEG_WIDTH, 0.5 * PEG_WIDTH, 0.0])  # [m] base axes, of an upright peg
AXIS = np.array([-1.0, 1.0, 0.0]) / np.sqrt(2.0)  # base axes
LEAN = np.radians(8.0)
ENTRY = 0.003  # [m] x and y of where the corner comes down: within the hole, wherever it is
NEAR = 0.0015  # [m] of it, and …
LEANING = 0.015  # [rad] … of LEAN, before it comes down
DEPTH = -0.0003  # [m] of a leaning corner: higher, it is not in the hole
OVER = 0.004  # [m] of the corner above the block until then
PUSH = np.array([0.004, 0.004, -0.005])  # [m] ahead of the measured corner: towards the two walls, and down
WALL = 4.0  # [N] with which each of them has to answer
RISE = 0.03  # [rad] per step
MAX_TURN = 0.05  # [rad] per step, about any axis
SWEEP = 0.03  # [rad] per step, of the yaw, between ± MISALIGNMENT
STUCK = 0.045  # [rad] of the yaw's reference ahead of the measured: it turns back
INSIDE = -0.002  # [m] of the tip's middle: the peg is in, …
FALLING = -0.005  # [m/s] … and goes down by itself
SLIPPERY = np.zeros(2)  # [m] no friction to push through


class PegSearch(PegInsertion):
    """Success: the TCP 15 mm below where it is when an upright peg touches, which is possible in the hole only."""

    name: ClassVar[str] = "peg_search"
    action: ClassVar[ActionSpec] = ActionSpec(
        ("x", "y", "z", "roll", "pitch", "yaw"), (0.01, 0.01, 0.01, 0.05, 0.05, 0.05)
    )
    fields: ClassVar[tuple[Field, ...]] = (
        Field("position", 3, 30.0),  # of the tip's middle, relative to the middle of the nominal hole
        Field("offset", 3, 1.0),  # the same, magnified near there
        *PegInsertion.fields[2:],
    )
    horizon: ClassVar[int] = 150
    workspace: ClassVar[Workspace] = Workspace(
        PegInsertion.workspace.lower,
        PegInsertion.workspace.upper,
        cone=OrientationCone(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, -1.0]), STEEPEST),
    )
    clearance: ClassVar[float] = 0.0005
    capture: ClassVar[float] = DISPLACEMENT + 0.002

    def scene(self) -> SceneSpec:
        fixed = super().scene()
        return SceneSpec(
            worldbody=block_with_hole(PEG_WIDTH + self.clearance, mocap=True),
            hand=fixed.hand,
            objects=("hole",),
            start_q=fixed.start_q,
            start_width=fixed.start_width,
            look_at=fixed.look_at,
        )

    def sample_start(self, rng: np.random.Generator) -> Start:
        start = super().sample_start(rng)
        aside = rng.uniform(-DISPLACEMENT, DISPLACEMENT, 2)
        yaw = rng.uniform(-MISALIGNMENT, MISALIGNMENT)
        centre = np.array([HOLE_XY[0] + aside[0], HOLE_XY[1] + aside[1], BLOCK_TOP])
        hole = Pose.from_rotvec(centre, np.array([0.0, 0.0, yaw]))
        return Start(start.pose, start.gripper, {"hole": hole})

    def state(self, reading: Reading) -> np.ndarray:
        return self._state_at(reading, self._tip(reading), magnified=3)

    def _tip(self, reading: Reading) -> np.ndarray:
        """``(6,)`` [m, rad] of the tip's middle: from the middle of the nominal hole, upright."""
        return tip(reading.pose).difference(tip(self.nominal))

    def expert(self, reading: Reading) -> TeleopCommand:
        """Feels, and never looks where the hole is.

        It leans the peg and lets a corner down into the hole, slides it until two walls stop it, and rises, turning the
        yaw to and fro until the peg drops.
        """
        position, rotation = np.split(self._tip(reading), 2)
        corner = position + exp3(rotation) @ CORNER
        lean = float(rotation @ AXIS)
        to_entry = np.append(ENTRY - corner[:2], OVER - corner[2])
        astray = np.abs(to_entry[:2]).max()
        leans = lean > LEAN - LEANING
        yaw = np.array([0.0, 0.0, self._sweep(reading, rotation[2])])
        if position[2] < INSIDE:
            if reading.twist[2] < FALLING:
                yaw[2] = rotation[2]
            return self._move(reading, np.array([0.0, 0.0, PLUNGE]), yaw)
        if corner[2] > 0.5 * OVER or (corner[2] > DEPTH and leans and astray > 2.0 * NEAR):
            if astray < NEAR and np.abs(rotation - LEAN * AXIS).max() < LEANING:
                to_entry[2] = PUSH[2]
            return self._move(reading, to_entry, LEAN * AXIS, FRICTION[:2])
        walls = reading.wrench[:2] < -WALL
        if leans and not walls.all():
            return self._move(reading, PUSH, LEAN * AXIS, np.where(walls, 0.0, FRICTION[:2]))
        return self._move(reading, PUSH * (0.5, 0.5, 1.0), max(0.0, lean - RISE) * AXIS + yaw)

    def _sweep(self, reading: Reading, yaw: float) -> float:
        """The next yaw [rad]: on the way it is being pulled, and back from where it ends or does not get on."""
        ahead = reading.target.difference(reading.pose)[5]
        direction = np.sign(ahead if abs(ahead) < STUCK else -ahead) or 1.0
        if abs(yaw) > MISALIGNMENT:
            direction = -np.sign(yaw)
        return yaw + direction * SWEEP

    def _move(
        self, reading: Reading, corner: np.ndarray, rotation: np.ndarray, friction: np.ndarray = SLIPPERY
    ) -> TeleopCommand:
        """Move the corner by ``corner (3,)`` [m], and turn about it to ``rotation (3,)`` relative to the nominal.

        ``friction (2,)`` [m] of x and y is pushed through, where it is not 0.
        """
        now = self._tip(reading)[3:]
        turn = np.clip(log3(exp3(rotation) @ exp3(now).T), -MAX_TURN, MAX_TURN)
        arm = reading.pose.translation - tip(reading.pose).translation - exp3(now) @ CORNER
        spring = reading.target.difference(reading.pose)
        way = fields.saturate(corner, MAX_STEP) + np.cross(turn, arm)
        sticks = np.flatnonzero(friction)
        way[sticks] = fields.push_through_friction(way[sticks], spring[sticks], reading.twist[sticks], friction[sticks])
        turn = fields.push_through_friction(turn, spring[3:], reading.twist[3:], np.full(3, FRICTION[2]))
        return fields.drive(np.concatenate((way, turn)), self.control_period)
