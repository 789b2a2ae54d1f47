"""The way back to the start of an episode, as setpoints that pass the same controller as everything else.

Up to the height where nothing is in the way, objects put in place, over to the start, down to it, settle. Targets run
at most ``STRIDE`` ahead of the measured pose, so that the energy of each setpoint stays small.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

import numpy as np

from controllers.spatial import Pose
from robot_rl.contract import Reading
from robot_rl.tasks.base import Start, Task

STRIDE = 0.03  # [m] of target ahead of the arm
TURN = 0.15  # [rad] of target ahead of the arm
STRIDE_TIME = 0.1  # [s] that the reference takes for either
ARRIVED = 0.006  # [m]; the joints' stiction leaves 1–3 mm
ARRIVED_ANGLE = 0.05  # [rad]
STILL = 0.01  # [m/s]
STAGE_TIME = 5.0  # [s] before a stage is given up …
JAMMED_TIME = 1.5  # … and before a lift rocks what it lifts,
ROCKING_TIME = 0.3  # to and fro for so long each


class Stage(enum.IntEnum):
    """Stages of a reset, in order."""

    LIFT = 0
    TRAVEL = 1
    DESCEND = 2
    DONE = 3


class ResetStep(NamedTuple):
    """One control period of a reset.

    ``target`` for the arm, ``gripper`` opening 0–1, ``place`` objects now, ``done`` when the arm stands at the start,
    ``failure`` when it cannot get there.
    """

    target: Pose
    gripper: float
    place: dict[str, Pose] | None = None
    done: bool = False
    failure: str = ""


class ResetMotion:
    """Moves the arm to ``start`` of ``task``; call `step` once a control period."""

    def __init__(self, task: Task, start: Start) -> None:
        self._task = task
        self._start = start
        self._stage = Stage.LIFT
        self._steps = 0
        periods = (round(seconds * task.rate) for seconds in (STAGE_TIME, JAMMED_TIME, ROCKING_TIME))
        self._stage_steps, self._jammed_steps, self._rocking_steps = periods
        self._jammed = start.pose.quat_xyzw  # orientation that a lift last had before it was rocked

    def step(self, reading: Reading) -> ResetStep:
        goal = self._goal(reading)
        error = goal.difference(reading.pose)
        arrived = (
            np.linalg.norm(error[:3]) < ARRIVED
            and np.linalg.norm(error[3:]) < ARRIVED_ANGLE
            and np.linalg.norm(reading.twist[:3]) < STILL
        )
        if self._stage is Stage.LIFT:
            arrived = reading.pose.translation[2] > goal.translation[2] - ARRIVED
        self._steps += 1
        place = None
        if arrived:
            if self._stage is Stage.LIFT:
                place = self._start.objects
            self._stage = Stage(self._stage + 1)
            self._steps = 0
        elif self._steps > self._stage_steps:
            off = np.linalg.norm(error[:3]) * 1000
            return ResetStep(
                reading.pose,
                self._start.gripper,
                failure=f"reset stage {self._stage.name.lower()} still {off:.0f} mm from its goal after "
                f"{STAGE_TIME:g} s; is something in the way?",
            )
        if self._stage is Stage.DONE:
            return ResetStep(self._start.pose, self._start.gripper, done=True)
        return ResetStep(self._ahead(reading.pose, self._goal(reading)), self._start.gripper, place)

    def _goal(self, reading: Reading) -> Pose:
        height = max(self._task.retreat_height, self._start.pose.translation[2])
        if self._stage is Stage.LIFT:
            x, y, z = reading.pose.translation
            if self._steps < self._jammed_steps:
                self._jammed = reading.pose.quat_xyzw
                return Pose(np.array([x, y, max(height, z)]), self._jammed)
            return Pose(np.array([x, y, max(height, z)]), self._jammed).moved(self._rocking())
        if self._stage is Stage.TRAVEL:
            x, y, _ = self._start.pose.translation
            return Pose(np.array([x, y, height]), self._start.pose.quat_xyzw)
        return self._start.pose

    def _rocking(self) -> np.ndarray:
        """``(6,)`` [m, rad]: to and fro about one axis after the other, which frees what is held from where it jams."""
        number, step = divmod(self._steps - self._jammed_steps, 2 * self._rocking_steps)
        rocking = np.zeros(6)
        rocking[3 + number % 3] = TURN if step < self._rocking_steps else -TURN
        return rocking

    @staticmethod
    def _ahead(pose: Pose, goal: Pose) -> Pose:
        """The pose on the way to ``goal``, at most a stride and a turn away from ``pose``."""
        difference = goal.difference(pose)
        reach = max(np.linalg.norm(difference[:3]) / STRIDE, np.linalg.norm(difference[3:]) / TURN, 1.0)
        return pose.moved(difference / reach)
