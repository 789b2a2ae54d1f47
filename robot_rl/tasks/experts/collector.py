"""A script in the place of a person who collects for a reward classifier: successes that are marked, and near misses.

In every second episode the driver is told that the arm is some millimetres aside of where it is, so that it does all as
it should, beside the goal. Where stages are marked, that begins after one stage or the other, and the objects are told
to be as far aside, since what has been lifted moves with the arm. How far the task is done is asked of the task, as a
person looks.
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
BESIDE = (0.025, 0.040)  # [m] the same before the first of several stages, where fingers open wide
GAP = 0.5  # [s] of robot time that tell one episode from the next: a reset lies between
STAY = 2.0  # [s] that the success is left to be seen
NEAR = (6.0, 8.0)  # [s] that a near miss takes
LONGEST = 20.0  # [s] after which a success that does not come is given up


@dataclass(eq=False)
class _Attempt:
    """An episode, and what is done in it.

    Attributes:
        aside: shift ``(6,)`` [m, rad] of the pose that the driver is told …
        after: … once so many stages are reached.
        lasts: [s] at most, as long as it gets no further.
        since: robot time [s] of the beginning, or since when it has got no further.
        reached: stages that are said to be reached now.
        highest: largest number of them so far.
        ended: whether the end was said.
    """

    aside: np.ndarray
    after: int
    lasts: float
    since: float
    reached: int = 0
    highest: int = 0
    ended: bool = False


class Collector:
    """Drives, and says success and end. It is asked only while an episode runs, or is to begin.

    Args:
        driver: who drives.
        task: what is done.
        seed: of the near misses.
        stages: so many are marked; with one, success.
    """

    def __init__(self, driver: Callable[[Reading], TeleopCommand | None], task: Task, seed: int, stages: int) -> None:
        self._driver, self._task, self._stages = driver, task, stages
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
        reached = self._reached(reading)
        done = attempt.reached == self._stages  # a success stays one, however the picture changes
        if reached != attempt.reached and not done:
            on = reached > attempt.reached
            attempt.reached += 1 if on else -1
            if attempt.reached > attempt.highest:
                attempt.highest, attempt.since = attempt.reached, now
            return replace(rest, words=(Word.SUCCESS if on else Word.FAILURE,))
        if now - attempt.since > (STAY if done else attempt.lasts):
            attempt.ended = True
            return replace(rest, words=(Word.END,))
        if done:
            return rest
        if attempt.reached < attempt.after:
            return self._driver(reading)
        return self._driver(_told(reading, attempt.aside, with_objects=attempt.reached > 0))

    def _reached(self, reading: Reading) -> int:
        """Number of stages that are reached; of one, whether the task is done."""
        if self._stages == 1:
            return int(self._task.outcome(reading).ending is Ending.SUCCESS)
        return self._task.stage(reading)

    def _begin(self, now: float) -> _Attempt:
        self._attempts += 1
        if self._attempts % 2:
            return _Attempt(np.zeros(6), 0, LONGEST, now)
        after = (self._attempts // 2 - 1) % self._stages
        reach = BESIDE if self._stages > 1 and not after else ASIDE
        angle, distance = self._rng.uniform(0.0, 2.0 * np.pi), self._rng.uniform(*reach)
        aside = distance * np.array([np.cos(angle), np.sin(angle), 0.0, 0.0, 0.0, 0.0])
        return _Attempt(aside, after, self._rng.uniform(*NEAR), now)


def _told(reading: Reading, aside: np.ndarray, with_objects: bool) -> Reading:
    """``reading`` of an arm that is ``aside (6,)`` [m, rad] of where it is; ``with_objects``, so are these."""
    told = replace(reading, pose=_shifted(reading.pose, aside), target=_shifted(reading.target, aside))
    if not with_objects:
        return told
    return replace(told, objects={name: _shifted(pose, aside) for name, pose in reading.objects.items()})


def _shifted(pose: Pose, aside: np.ndarray) -> Pose:
    return Pose(pose.translation + aside[:3], pose.quat_xyzw)
