"""A script in the place of a person who collects for a reward classifier: successes that are marked, and near misses.

In every second episode the driver is told that the arm is some millimetres aside of where it is, so that it does all as
it should, beside the goal. Whether the task is done is asked of the task, as a person looks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from controllers.spatial import Pose
from hardware.interfaces import TeleopCommand, Word
from robot_rl.contract import Ending, Reading
from robot_rl.tasks.base import Task

ASIDE = (0.005, 0.020)  # [m] sideways, in a near miss
GAP = 0.5  # [s] of robot time that tell one episode from the next: a reset lies between
STAY = 2.0  # [s] that the success is left to be seen
NEAR = (6.0, 8.0)  # [s] that a near miss takes
LONGEST = 20.0  # [s] after which a success that does not come is given up


@dataclass(eq=False)
class _Attempt:
    """An episode: began at, and what is done in it.

    Attributes:
        began: robot time [s].
        aside: shift ``(6,)`` [m, rad] of the pose that the driver is told.
        lasts: [s] at most.
        marked: robot time [s] at which success was said; None: it was not.
        ended: whether the end was said.
    """

    began: float
    aside: np.ndarray
    lasts: float
    marked: float | None = None
    ended: bool = False


class Collector:
    """Drives, and says success and end. It is asked only while an episode runs, or is to begin.

    Args:
        driver: who drives.
        task: what is done.
        seed: of the near misses.
    """

    def __init__(self, driver: Callable[[Reading], TeleopCommand | None], task: Task, seed: int) -> None:
        self._driver, self._task = driver, task
        self._rng = np.random.default_rng(seed)
        self._attempts = 0
        self._attempt: _Attempt | None = None
        self._last = -np.inf  # robot time [s] of the last reading

    def __call__(self, reading: Reading) -> TeleopCommand | None:
        now = reading.robot_time
        if self._attempt is None or not 0.0 <= now - self._last <= GAP:
            self._attempt = self._begin(now)
        self._last, attempt = now, self._attempt
        rest = TeleopCommand(np.zeros(6))
        if attempt.ended:
            return rest
        if attempt.marked is None and self._task.outcome(reading).ending is Ending.SUCCESS:
            attempt.marked = now
            return replace(rest, words=(Word.SUCCESS,))
        over = now - attempt.began > attempt.lasts if attempt.marked is None else now - attempt.marked > STAY
        if over:
            attempt.ended = True
            return replace(rest, words=(Word.END,))
        return rest if attempt.marked is not None else self._driver(_told(reading, attempt.aside))

    def _begin(self, now: float) -> _Attempt:
        self._attempts += 1
        if self._attempts % 2:
            return _Attempt(now, np.zeros(6), LONGEST)
        angle, distance = self._rng.uniform(0.0, 2.0 * np.pi), self._rng.uniform(*ASIDE)
        aside = distance * np.array([np.cos(angle), np.sin(angle), 0.0, 0.0, 0.0, 0.0])
        return _Attempt(now, aside, self._rng.uniform(*NEAR))


def _told(reading: Reading, aside: np.ndarray) -> Reading:
    """``reading`` of an arm that is ``aside (6,)`` [m, rad] of where it is."""
    return replace(reading, pose=_shifted(reading.pose, aside), target=_shifted(reading.target, aside))


def _shifted(pose: Pose, aside: np.ndarray) -> Pose:
    return Pose(pose.translation + aside[:3], pose.quat_xyzw)
