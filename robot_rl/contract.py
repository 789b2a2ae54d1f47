"""The words that sessions, policies, stores and learners share.

Termination and truncation are different things and cannot be mixed up: an `Outcome` is built only by its named
constructors. A success or failure *terminates* (the future is worth nothing); a time limit, an abort or an interruption
*truncates* (the future is worth what the critic says it is).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from controllers.spatial import Pose, exp3
from controllers.state import Mode

ACTION_AXES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


class ContractError(ValueError):
    """A value that does not fit its specification; the message names it, its value and what would fit."""


class Source(enum.IntEnum):
    """Who decided an action."""

    POLICY = 0
    PERSON = 1


class Ending(enum.Enum):
    """How an episode ended, or RUNNING."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"
    ABORTED = "aborted"


@dataclass(frozen=True)
class Outcome:
    """Reward of a step and whether the episode goes on. Use the named constructors."""

    reward: float
    ending: Ending
    reason: str = ""

    @staticmethod
    def running(reward: float = 0.0) -> Outcome:
        return Outcome(reward, Ending.RUNNING)

    @staticmethod
    def success(reward: float = 1.0) -> Outcome:
        return Outcome(reward, Ending.SUCCESS)

    @staticmethod
    def failure(reason: str, reward: float = 0.0) -> Outcome:
        return Outcome(reward, Ending.FAILURE, reason)

    @staticmethod
    def timeout(reward: float = 0.0) -> Outcome:
        return Outcome(reward, Ending.TIMEOUT)

    @staticmethod
    def aborted(reason: str) -> Outcome:
        return Outcome(0.0, Ending.ABORTED, reason)

    @property
    def terminated(self) -> bool:
        """The task itself is over: no value beyond this step."""
        return self.ending in (Ending.SUCCESS, Ending.FAILURE)

    @property
    def truncated(self) -> bool:
        """The episode stopped for a reason outside the task: value is bootstrapped."""
        return self.ending in (Ending.TIMEOUT, Ending.ABORTED)

    @property
    def done(self) -> bool:
        return self.ending is not Ending.RUNNING


@dataclass(frozen=True)
class Field:
    """One named part of the state vector. ``scale`` (per unit) brings typical values to order 1."""

    name: str
    size: int
    scale: float


@dataclass(frozen=True)
class ActionSpec:
    """Which axes a policy drives, and how far one action of ±1 moves each.

    Attributes:
        axes: subset of `ACTION_AXES`, in that order.
        scale: metres or radians per step at ±1, one per axis (1 for the gripper: the action is the opening, −1 closed
            to +1 open).
    """

    axes: tuple[str, ...]
    scale: tuple[float, ...]

    def __post_init__(self) -> None:
        unknown = [axis for axis in self.axes if axis not in ACTION_AXES]
        if unknown:
            raise ContractError(f"unknown action axes {unknown}; choose from {ACTION_AXES}")
        if list(self.axes) != [axis for axis in ACTION_AXES if axis in self.axes]:
            raise ContractError(f"action axes {self.axes} must be distinct and in the order of {ACTION_AXES}")
        if len(self.scale) != len(self.axes) or min(self.scale) <= 0.0:
            raise ContractError(f"scale {self.scale} needs one positive number for each of {self.axes}")

    @property
    def size(self) -> int:
        return len(self.axes)

    def delta(self, action: np.ndarray) -> np.ndarray:
        """``(6,)`` [m, rad] displacement of the TCP, base axes, for an action ``(size,)`` in [−1, 1]."""
        delta = np.zeros(6)
        for axis, scale, value in zip(self.axes, self.scale, action, strict=True):
            if axis != "gripper":
                delta[ACTION_AXES.index(axis)] = scale * value
        return delta

    def gripper(self, action: np.ndarray) -> float | None:
        """Opening 0–1 that the action asks for, or None when the gripper is not an axis."""
        return float(np.clip(0.5 * (action[-1] + 1.0), 0.0, 1.0)) if self.axes[-1] == "gripper" else None

    def from_delta(self, delta: np.ndarray, gripper: float | None) -> np.ndarray:
        """The action ``(size,)`` float32, clipped to [−1, 1], that comes nearest to a displacement ``(6,)``.

        ``gripper``: opening 0–1; None only where it is no axis. Raises `ContractError` otherwise.
        """
        if gripper is None and "gripper" in self.axes:
            raise ContractError(f"the axes {', '.join(self.axes)} need an opening of the gripper")
        values = [
            2.0 * (gripper or 0.0) - 1.0 if axis == "gripper" else delta[ACTION_AXES.index(axis)] / scale
            for axis, scale in zip(self.axes, self.scale, strict=True)
        ]
        return np.clip(np.array(values, dtype=np.float32), -1.0, 1.0)

    def target(self, pose: Pose, action: np.ndarray, nominal: Pose) -> Pose:
        """The TCP pose that an action asks for.

        Driven axes move relative to the *measured* ``pose`` (so nothing winds up); axes the policy does not drive stay
        at ``nominal``. Rotations are taken as rotation vectors relative to the nominal orientation.
        """
        delta = self.delta(action)
        driven = np.array([axis in self.axes for axis in ACTION_AXES[:6]])
        translation = np.where(driven[:3], pose.translation + delta[:3], nominal.translation)
        if driven[3:].all():
            rotation = exp3(delta[3:]) @ pose.rotation
        else:
            tilt = pose.difference(nominal)[3:]
            rotation = exp3(np.where(driven[3:], tilt + delta[3:], 0.0)) @ nominal.rotation
        return Pose.from_rotation(translation, rotation)


@dataclass(frozen=True)
class Layout:
    """What an agent sees and does, in sizes.

    Attributes:
        state_size, action_size: d and a.
        images: camera → (height, width) of its uint8 RGB images.
        options: the last axis of an action has so many values, evenly spaced from −1 to 1; 0: it is as continuous as
            the others.
    """

    state_size: int
    action_size: int
    images: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    options: int = 0


@dataclass(frozen=True, eq=False)
class Reading:
    """Everything the session knows about one instant, aligned by stamp.

    Attributes:
        stamp_ns: when the arm was measured [ns], the clock of the message stamps.
        robot_time: the arm's own clock [s].
        q: joint positions ``(7,)`` [rad].
        pose, twist, wrench: of the TCP, base axes; twist ``(6,)`` [m/s, rad/s], wrench ``(6,)`` [N, N·m].
        target: the controller's reference pose.
        gripper: opening 0–1.
        tank: energy left in the passivity tank [J].
        mode: what the controller is doing.
        images: camera name → ``(H, W, 3)`` uint8 RGB.
        objects: object name → pose in the base frame, where the scene knows it.
        fault: why no step can begin at this reading (reflex, lost sensor, stall), or "".
        budget: energy left of the episode's budget [J].
        activity: for how long the passivity filter has held back, weighted by the share held back [s]; it only grows
            while a motion lasts. See `controllers.state.Tick`.
    """

    stamp_ns: int
    robot_time: float
    q: np.ndarray
    pose: Pose
    twist: np.ndarray
    wrench: np.ndarray
    target: Pose
    gripper: float
    tank: float
    mode: Mode
    images: Mapping[str, np.ndarray] = field(default_factory=dict)
    objects: Mapping[str, Pose] = field(default_factory=dict)
    fault: str = ""
    budget: float = 0.0
    activity: float = 0.0


@dataclass(frozen=True, eq=False)
class Observation:
    """What a policy sees: ``state (d,)`` float32, scaled, and images; ``seq`` counts observations of a session."""

    stamp_ns: int
    seq: int
    state: np.ndarray
    images: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ActionChunk:
    """A policy's answer: ``actions (h, a)`` float32 in [−1, 1], one row a control period.

    ``stamp_ns`` is the stamp of the observation it answers; ``version`` that of the parameters that made it (−1: none).
    """

    stamp_ns: int
    actions: np.ndarray
    version: int = -1

    def __post_init__(self) -> None:
        actions = np.asarray(self.actions, dtype=np.float32)
        if actions.ndim != 2 or len(actions) == 0:
            raise ContractError(f"an action chunk has shape (h, a) with h ≥ 1, not {actions.shape}")
        if not np.isfinite(actions).all():
            raise ContractError(f"action chunk for observation {self.stamp_ns} is not finite: {actions}")
        object.__setattr__(self, "actions", actions)


@dataclass(frozen=True)
class Timing:
    """How a step went in time, in milliseconds.

    ``decision_ms``: observation sent → action received; ``period_ms``: since the previous observation, robot time;
    ``version``: policy parameters that acted; ``late``: no policy answer came in time, so the arm held.
    """

    decision_ms: float = 0.0
    period_ms: float = 0.0
    version: int = -1
    late: bool = False


@dataclass(frozen=True, eq=False)
class Step:
    """One transition, complete: recorded when the *next* observation is known.

    Attributes:
        observation, next_observation: before and after.
        policy_action: what the policy wanted ``(a,)`` (zeros when it was not asked).
        action: what was executed ``(a,)``, after intervention and workspace limits.
        source: who decided ``action``.
        outcome: reward and ending after the action.
        q: joint positions ``(7,)`` [rad] at ``observation``, ``objects`` likewise; for replays and videos.
        cost: share of the step, 0–1, during which the passivity filter held back what was asked for.
    """

    observation: Observation
    policy_action: np.ndarray
    action: np.ndarray
    source: Source
    outcome: Outcome
    next_observation: Observation
    timing: Timing
    q: np.ndarray
    objects: Mapping[str, Pose] = field(default_factory=dict)
    cost: float = 0.0
