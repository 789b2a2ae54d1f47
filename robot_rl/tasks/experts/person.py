"""A script driven the way people drive: now fast, now slow, with a trembling hand, pauses and detours.

The script says where to go; the person's hand follows it with a *manner* that lasts for about an episode:

    u' = pace · u + n,     n: Ornstein–Uhlenbeck noise, dn = −n dt / T + σ √(2 dt / T) dξ

where u is what the script would say by its device. From time to time the hand rests (u' = 0), and away from contact it
strays in a direction of its own. All of it is drawn from a seed and the robot's time, so that demonstrations are of
mixed quality and can be made again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hardware.interfaces import TeleopCommand
from robot_rl.contract import ContractError, Reading
from robot_rl.tasks.base import Task, expert_of
from robot_rl.tasks.experts.collector import Collector

SCRIPT, PERSON = "script", "person"
STYLES = (SCRIPT, PERSON)
MANNER_TIME = 8.0  # [s], mean, that a manner lasts
TREMOR_TIME = 0.3  # [s] over which the noise changes
PAUSE = (0.2, 0.6)  # [s] that a pause lasts
DETOUR = (0.3, 0.7)  # [s] the same of detours
DETOUR_SPEED = 0.6  # of a full action
FREE = 4.0  # [N] of external force: with less, the hand has room to stray

Driver = Callable[[Reading], TeleopCommand | None]


@dataclass(frozen=True)
class Hand:
    """A person's hand.

    Attributes:
        pace: least and largest share of the script's speed.
        noise: least and largest std of its noise, as a share of a full action.
        braced: share of the noise where it touches something: below 1 it rests on that, above it gropes.
        pause_every, detour_every: [s], mean, between two pauses, and two detours.
    """

    pace: tuple[float, float] = (0.6, 1.0)
    noise: tuple[float, float] = (0.05, 0.2)
    braced: float = 0.2
    pause_every: float = 6.0
    detour_every: float = 8.0


USUAL = Hand()


@dataclass(frozen=True)
class Manner:
    """Way of driving until robot time ``until`` [s]: share of the script's speed, and std of the noise in actions."""

    pace: float
    noise: float
    until: float


@dataclass(frozen=True, eq=False)
class Interruption:
    """Twist ``(6,)`` [m/s, rad/s] that the hand makes, whatever the script says, until robot time ``until`` [s]."""

    twist: np.ndarray
    until: float


class Person:
    """The script of ``task``, driven by a person's ``hand``. Raises `ContractError` when the task has none."""

    def __init__(self, task: Task, seed: int, hand: Hand = USUAL) -> None:
        self._hand = hand
        self._script = expert_of(task)
        self._full = np.abs(task.action.delta(np.ones(task.action.size))) / task.control_period
        self._rng = np.random.default_rng(seed)
        self._now = np.inf  # robot time [s] of the last reading
        self._manner = Manner(1.0, 0.0, -np.inf)
        self._interruption = Interruption(np.zeros(6), -np.inf)
        self._noise = np.zeros(6)

    def __call__(self, reading: Reading) -> TeleopCommand | None:
        command = self._script(reading)
        if command is None:
            return None
        elapsed = self._pass_time(reading.robot_time)
        if reading.robot_time >= self._interruption.until:
            self._interrupt(reading, elapsed)
        if reading.robot_time < self._interruption.until:
            return replace(command, twist=self._interruption.twist)
        steadiness = 1.0 if is_free(reading) else self._hand.braced
        twist = self._manner.pace * command.twist + steadiness * self._manner.noise * self._noise * self._full
        return replace(command, twist=twist)

    def _pass_time(self, now: float) -> float:
        """Seconds since the last reading; 0 at the first, and where the robot's clock began anew."""
        if now < self._now:
            self._now = now
            self._manner, self._interruption = replace(self._manner, until=now), replace(self._interruption, until=now)
        elapsed, self._now = now - self._now, now
        if now >= self._manner.until:
            lasts = self._rng.exponential(MANNER_TIME)
            self._manner = Manner(
                self._rng.uniform(*self._hand.pace), self._rng.uniform(*self._hand.noise), now + lasts
            )
        share = min(elapsed / TREMOR_TIME, 1.0)
        self._noise += -share * self._noise + np.sqrt(2.0 * share) * self._rng.standard_normal(6)
        return elapsed

    def _interrupt(self, reading: Reading, elapsed: float) -> None:
        """Begin a pause or a detour, by chance."""
        if self._rng.random() < elapsed / self._hand.pause_every:
            self._interruption = Interruption(np.zeros(6), self._now + self._rng.uniform(*PAUSE))
        elif self._rng.random() < elapsed / self._hand.detour_every and is_free(reading):
            direction = self._rng.standard_normal(3)
            direction *= DETOUR_SPEED / np.abs(direction).max()
            twist = self._full * np.append(direction, np.zeros(3))
            self._interruption = Interruption(twist, self._now + self._rng.uniform(*DETOUR))


def is_free(reading: Reading) -> bool:
    """Whether the hand touches nothing to speak of."""
    return bool(np.linalg.norm(reading.contact[:3]) < FREE)


def make_driver(task: Task, style: str, seed: int, stages: int = 0) -> Driver:
    """The script of ``task`` in the place of a person, driving in one of `STYLES`, who marks so many ``stages``.

    Raises `ContractError` when the task has no script, or there is no such style.
    """
    if style not in STYLES:
        raise ContractError(f"unknown demo_style {style!r}; choose from {', '.join(STYLES)}")
    driver = Person(task, seed) if style == PERSON else expert_of(task)
    return Collector(driver, task, seed, stages) if stages else driver
