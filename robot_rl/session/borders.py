"""Jumps of what is commanded where one chunk gives way to the next, to none, or begins.

A policy's target moves relative to the measured pose, so where its chunks disagree the commanded pose jumps. `Borders`
measures by how much. Its bounds depend on no policy: an action is ±1 at most, so a target is within the reach of an
action of the measured pose; and the controller's reference goes from where it is to the target on a straight line, in a
control period or as much longer as the speed limits ask for. So the reference's position never jumps, and its velocity
by twice the speed limit at most.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from controllers.spatial import Pose


class Jump(NamedTuple):
    """By how much a commanded pose, and its velocity, differ from those of the decision before.

    Attributes:
        way, turn: of the pose [m], [rad].
        speed, turn_speed: of the velocity, which is the way and turn from one command to the next by the control period
            [m/s], [rad/s].
    """

    way: float = 0.0
    turn: float = 0.0
    speed: float = 0.0
    turn_speed: float = 0.0


class Borders:
    """Follows the commands of a policy.

    Args:
        period: control period [s].

    Attributes:
        count: borders so far.
        largest: jumps at borders so far, each number by itself.
        last: jump of the latest command, if that was at a border.
    """

    def __init__(self, period: float) -> None:
        self.count, self.largest = 0, Jump()
        self.last: Jump | None = None
        self._period = period
        self.interrupt()

    def interrupt(self) -> None:
        """Whatever is commanded next does not follow on: an episode begins, or a person has moved the arm."""
        self._target: Pose | None = None
        self._velocity: np.ndarray | None = None  # (6,) [m/s, rad/s]
        self._chunk: int | None = None

    def commanded(self, target: Pose, chunk: int | None) -> None:
        """``target`` is commanded by an action of the answer of number ``chunk``; None: the arm holds."""
        before, self.last = self._target, None
        velocity = None if before is None else target.difference(before) / self._period
        if velocity is not None and chunk != self._chunk:
            change = np.zeros(6) if self._velocity is None else velocity - self._velocity
            self.last = Jump(*_sizes(velocity * self._period), *_sizes(change))
            self.largest = Jump(*map(max, self.largest, self.last))
            self.count += 1
        self._target, self._velocity, self._chunk = target, velocity, chunk


def _sizes(twist: np.ndarray) -> tuple[float, float]:
    return float(np.linalg.norm(twist[:3])), float(np.linalg.norm(twist[3:]))
