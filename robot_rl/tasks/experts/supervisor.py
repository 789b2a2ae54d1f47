"""A scripted person who watches a policy, takes over where it does badly, and gives back.

They look at how much is left to do, a length that no observation need tell (`LEFT`), and take over

- for want of progress: nothing of `GAIN` was gained for as long as their patience lasts,
- for danger: the arm presses harder than they dare,
- for nothing: by chance, as people do who would rather do it themselves.

Then they drive by the task's script with a hand of their own (`person.Hand`), for a while at least, and give back once
they have brought it on, or when they are tired of it. `STYLES` has three of them: a *good* one waits, is steady, and
brings it on; a *hasty* one takes over early and for nothing, rushes, and soon lets go; a *clumsy* one comes late, with
a hand that gropes where it touches something (five times the noise of free space). All of it is drawn from a seed and
the robot's time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hardware.interfaces import TeleopCommand
from robot_rl.contract import ContractError, Reading
from robot_rl.tasks.base import Task
from robot_rl.tasks.experts.person import Hand, Person
from robot_rl.tasks.fields import object_pose
from robot_rl.tasks.peg_insertion import tip
from robot_rl.tasks.peg_search import PegSearch
from robot_rl.tasks.pick_cube import CUBE_WIDTH, LIFT, PickCube, between_fingers

GAIN = 0.002  # [m] less to do than ever before: progress
GAP = 0.5  # [s] of robot time that tell one episode from the next: a reset lies between


@dataclass(frozen=True)
class Style:
    """Manner of watching.

    Attributes:
        patience: [s] without progress, after which they take over.
        danger: [N] of external force at which they do.
        needless: takeovers for nothing, each second.
        stays: [s] that they drive at least, …
        brings: … and until they have brought it on by so much [m], …
        tires: … but no longer than so many seconds.
        hand: with which they drive.
    """

    patience: float
    danger: float
    needless: float
    stays: float
    brings: float
    tires: float
    hand: Hand


STYLES = {
    "good": Style(2.5, 25.0, 0.0, 1.0, 0.006, 10.0, Hand((0.8, 1.0), (0.02, 0.06), 0.2, 20.0, 60.0)),
    "hasty": Style(1.2, 15.0, 0.05, 0.5, 0.002, 2.0, Hand((1.0, 1.5), (0.1, 0.2), 0.5, 60.0, 20.0)),
    "clumsy": Style(4.0, 35.0, 0.0, 1.5, 0.006, 10.0, Hand((0.5, 0.9), (0.05, 0.1), 5.0, 5.0, 6.0)),
}


def left_of_search(task: PegSearch, reading: Reading) -> float:
    """Way [m] of the peg's tip to the hole where it really is, and down to where it counts."""
    x, y, z = tip(reading.pose).translation - object_pose(reading, "hole").translation
    return float(np.hypot(x, y)) + max(0.0, float(z) + task.depth)


def left_of_picking(task: PickCube, reading: Reading) -> float:
    """Way [m] to the cube, and of it up to where it counts."""
    cube = object_pose(reading, "cube").translation
    lifted = float(cube[2]) - 0.5 * CUBE_WIDTH if between_fingers(reading, cube) else 0.0
    return float(np.linalg.norm(cube - reading.pose.translation)) + max(0.0, LIFT - lifted)


LEFT: dict[type[Task], Callable[[Any, Reading], float]] = {PegSearch: left_of_search, PickCube: left_of_picking}


@dataclass(eq=False)
class _Watch:
    """An episode: the least that was left [m] and when [s of robot time], and since they drive, what was left then."""

    least: float
    at: float
    drives_since: float | None = None
    found: float = 0.0


class Supervisor:
    """Watches, and drives at times. It is asked only while an episode runs.

    Args:
        task: of `LEFT`, or a kind of one of these.
        style: of `STYLES`.
        seed: of hand and chance.

    Raises `ContractError` for another style, or a task of which it is not known what is left.
    """

    def __init__(self, task: Task, style: str, seed: int) -> None:
        if style not in STYLES:
            raise ContractError(f"unknown style {style!r} of a supervisor; choose from {', '.join(STYLES)}")
        found = [left for kind, left in LEFT.items() if isinstance(task, kind)]
        if not found:
            known = ", ".join(kind.name for kind in LEFT)
            raise ContractError(f"nobody can see what is left to do of the task {task.name!r}; choose from {known}")
        self._task, self._left, self._style = task, found[0], STYLES[style]
        self._hand = Person(task, seed, self._style.hand)
        self._rng = np.random.default_rng((seed, 1))
        self._watch: _Watch | None = None
        self._last = -np.inf  # robot time [s] of the last reading

    def __call__(self, reading: Reading) -> TeleopCommand | None:
        """The person's command: none, or as the hand goes."""
        now, left = reading.robot_time, self._left(self._task, reading)
        elapsed, self._last = now - self._last, now
        if self._watch is None or not 0.0 <= elapsed <= GAP:
            self._watch, elapsed = _Watch(left, now), 0.0
        watch = self._watch
        if left < watch.least - GAIN:
            watch.least, watch.at = left, now
        command = self._hand(reading)  # the hand is there all along
        if watch.drives_since is not None:
            if self._gives_back(now - watch.drives_since, watch.found - left):
                self._watch = _Watch(left, now)
                return None
            return command
        if self._takes_over(watch, reading, elapsed):
            watch.drives_since, watch.found = now, left
            return command
        return None

    def _takes_over(self, watch: _Watch, reading: Reading, elapsed: float) -> bool:
        style = self._style
        return bool(
            reading.robot_time - watch.at > style.patience
            or np.linalg.norm(reading.contact[:3]) > style.danger
            or self._rng.random() < style.needless * elapsed
        )

    def _gives_back(self, driven: float, brought: float) -> bool:
        """Whether they do after so many seconds, and so much [m] less to do."""
        style = self._style
        return driven > style.tires or (driven > style.stays and brought > style.brings)
