"""Observations, action chunks, and the step that comes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from controllers.spatial import Pose, SpatialError
from robot_rl.contract.errors import ContractError
from robot_rl.contract.outcome import Outcome, Source
from robot_rl.contract.reading import Reading

INSTRUCTION = "instruction"  # what the policy is told, among what an episode's record keeps beside its steps
PREFERENCE = "preference"  # the same: digest of the person's preference that its rewards have in them
MAX_ROWS = 100  # of a chunk
PLACE = tuple(f"tcp/{name}" for name in ("x", "y", "z", "qx", "qy", "qz", "qw"))  # columns of places
MAX_SPACING = 0.5  # [s] between the rows of a chunk: for so long one action may be repeated


@dataclass(frozen=True, eq=False)
class Planned:
    """The plan that the arm goes on with while a policy thinks about an observation.

    ``actions (n, a)`` float32: due at its time, a control period later, and so on; n may be 0. ``delay``: so many of
    them will have acted, as far as one knows, when the answer can.

    Raises `ContractError` for other shapes, more than `MAX_ROWS` actions, values that are not finite, or a delay that
    is not from 0 to n.
    """

    actions: np.ndarray
    delay: int

    def __post_init__(self) -> None:
        actions = np.asarray(self.actions, dtype=np.float32)
        if actions.ndim != 2 or len(actions) > MAX_ROWS:
            raise ContractError(f"a plan has shape (n, a) with n ≤ {MAX_ROWS}, not {actions.shape}")
        if not np.isfinite(actions).all():
            raise ContractError(f"a plan is not finite: {actions}")
        if not 0 <= self.delay <= len(actions):
            raise ContractError(f"the delay of a plan of {len(actions)} actions cannot be {self.delay}")
        object.__setattr__(self, "actions", actions)


@dataclass(frozen=True, eq=False)
class Observation:
    """Input of a policy: ``state (d,)`` float32, scaled, and images; ``seq`` counts observations of a session.

    ``images``: camera → ``(h, w, 3)`` uint8, or ``(rows, columns, channels)`` float16 where an encoder is set.
    ``planned``: the plan that a chunk shall take up (``session.chunks=rtc``); None: nobody asks for that.
    """

    stamp_ns: int
    seq: int
    state: np.ndarray
    images: Mapping[str, np.ndarray] = field(default_factory=dict)
    planned: Planned | None = None


@dataclass(frozen=True, eq=False)
class ActionChunk:
    """A policy's answer: ``actions (h, a)`` float32 in [−1, 1].

    ``stamp_ns`` is the stamp of the observation it answers; ``version`` that of the parameters that made it (−1: none);
    ``times (h,)`` when each row is due [s] of robot time after that observation, rising, None for one row a control
    period with the first at once; ``places (h, 7)``, where there are any, poses that the TCP shall have at the end of
    each row's period, in the base frame: x, y, z [m] and quat_xyzw. The arm then goes there from wherever it is, by a
    full action at most, and ``actions`` count for the gripper alone.

    Raises `ContractError` for other shapes, values or times that are not finite, more than `MAX_ROWS` rows, times that
    do not rise or lie further apart than `MAX_SPACING`, and places that are no poses.
    """

    stamp_ns: int
    actions: np.ndarray
    version: int = -1
    times: np.ndarray | None = None
    places: np.ndarray | None = None

    def __post_init__(self) -> None:
        actions = np.asarray(self.actions, dtype=np.float32)
        if actions.ndim != 2 or len(actions) == 0:
            raise ContractError(f"an action chunk has shape (h, a) with h ≥ 1, not {actions.shape}")
        if not np.isfinite(actions).all():
            raise ContractError(f"action chunk for observation {self.stamp_ns} is not finite: {actions}")
        if len(actions) > MAX_ROWS:
            raise ContractError(f"an action chunk of {len(actions)} rows is too long; {MAX_ROWS} are allowed")
        object.__setattr__(self, "actions", actions)
        if self.times is not None:
            object.__setattr__(self, "times", _times(self.times, len(actions)))
        if self.places is not None:
            object.__setattr__(self, "places", _places(self.places, len(actions)))


def _times(values: np.ndarray, rows: int) -> np.ndarray:
    """``values`` as the times of a chunk's rows [s], or a `ContractError`."""
    times = np.asarray(values, dtype=float)
    if times.shape != (rows,):
        raise ContractError(f"the times of an action chunk of {rows} rows have shape {times.shape}, not ({rows},)")
    if not np.isfinite(times).all() or times[0] < 0.0:
        raise ContractError(f"the times of an action chunk must be finite and at least 0, not {times}")
    spacing = np.diff(times)
    if (spacing <= 0.0).any() or (spacing > MAX_SPACING).any():
        raise ContractError(f"the times of an action chunk must rise, by {MAX_SPACING} s at most, unlike {times}")
    return times


def _places(values: np.ndarray, rows: int) -> np.ndarray:
    """``values`` as the places of a chunk's rows, or a `ContractError`."""
    places = np.asarray(values, dtype=float)
    if places.shape != (rows, len(PLACE)):
        raise ContractError(f"the places of an action chunk of {rows} rows have shape {places.shape}, not ({rows}, 7)")
    try:
        for place in places:
            Pose(place[:3], place[3:])
    except SpatialError as error:
        raise ContractError(f"a place of an action chunk is none: {error}") from error
    return places


@dataclass(frozen=True)
class Timing:
    """Times of a step, in milliseconds.

    ``decision_ms``: observation sent → action received; ``period_ms``: since the previous observation, robot time;
    ``version``: policy parameters that acted; ``late``: no action of the policy was due, so the arm held.
    """

    decision_ms: float = 0.0
    period_ms: float = 0.0
    version: int = -1
    late: bool = False


@dataclass(frozen=True, eq=False)
class Step:
    """One transition, complete: recorded when the *next* reading is known.

    An observation is not part of it: whoever reads a step derives it from the reading, by the task.

    Attributes:
        reading, next_reading: all that was measured before and after.
        policy_action: what the policy wanted ``(a,)`` (zeros when it was not asked).
        action: what was executed ``(a,)``, after intervention and workspace limits.
        source: who decided ``action``.
        outcome: reward and ending after the action.
        target: the TCP pose that was commanded, in the base frame.
        cost: share of the step, 0–1, during which the passivity filter held back what was asked for.
    """

    reading: Reading
    policy_action: np.ndarray
    action: np.ndarray
    source: Source
    outcome: Outcome
    next_reading: Reading
    target: Pose
    timing: Timing
    cost: float = 0.0
