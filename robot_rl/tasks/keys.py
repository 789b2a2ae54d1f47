"""The keys of a task's file, each checked by itself; what they make together is in `robot_rl.tasks.file`.

Lengths are in metres, angles in degrees (their keys end in ``_deg``), everything in the arm's base frame.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le

from controllers.spatial import Pose, rotation_to_rpy, rpy_to_rotation
from hardware.registry import meant
from robot_rl.contract import TCP_POSITION, TCP_ROTATION, ContractError, Field, View
from robot_rl.contract.ranges import RangeError, Share, check
from robot_rl.contract.settings import ConfigError, put_over, read_mapping
from robot_rl.tasks import fields as parts

HalfTurn = Annotated[float, Ge(0), Le(180)]  # [degrees]
NEAR = 0.003  # [m] within which ``near_goal`` magnifies
FIELDS = {
    item.name: item
    for item in (
        Field("position", 3, 10.0),  # TCP relative to the goal, or to the start where there is no goal
        Field("near_goal", 3, 1.0),  # the same, magnified within 3 mm
        Field("rotation", 3, 5.0),  # rotation vector relative to the same
        parts.LINEAR_VELOCITY,
        parts.ANGULAR_VELOCITY,
        parts.FORCE,
        parts.MOMENT,
        parts.LINEAR_SPRING,
        parts.ANGULAR_SPRING,
        Field("joints", 7, 0.5),  # per rad
        Field(TCP_POSITION, 3, 2.0),  # in the base frame
        Field(TCP_ROTATION, 3, 0.3),  # rotation vector in the base frame; it leaps where a hand that points down turns
        parts.GRIPPER,
        parts.TANK,
        parts.BUDGET,
    )
}
SELDOM = ("near_goal", "joints", TCP_POSITION, TCP_ROTATION, "gripper")  # fields that a task has only where it says so


@dataclass(frozen=True)
class PlaceSpec:
    """A pose that each reset draws anew.

    Attributes:
        position: x, y, z [m].
        rpy_deg: roll, pitch, yaw [degrees] about the fixed axes of the base, in this order; 180, 0, 0 points down.
        quat_xyzw: the orientation as a quaternion instead.
        spread: ± so much in x, y, z [m].
        spread_rpy_deg: ± so much about the base's axes [degrees].
    """

    position: tuple[float, ...] = ()
    rpy_deg: tuple[float, ...] = (180.0, 0.0, 0.0)
    quat_xyzw: tuple[float, ...] = ()
    spread: tuple[float, ...] = (0.0, 0.0, 0.0)
    spread_rpy_deg: tuple[float, ...] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        _require_numbers(self, 3, "position", "rpy_deg", "spread", "spread_rpy_deg")
        _require_numbers(self, 4, "quat_xyzw")
        if self.quat_xyzw and abs(np.linalg.norm(self.quat_xyzw) - 1.0) > 1e-2:
            raise RangeError(f"quat_xyzw={list(self.quat_xyzw)} must have length 1")
        if min(self.spread + self.spread_rpy_deg) < 0.0:
            raise RangeError(
                f"spread={list(self.spread + self.spread_rpy_deg)} must not be negative: it counts both ways"
            )

    @property
    def pose(self) -> Pose:
        """The middle of the poses drawn."""
        position = np.array(self.position)
        if self.quat_xyzw:
            return Pose(position, np.array(self.quat_xyzw) / np.linalg.norm(self.quat_xyzw))
        return Pose.from_rotation(position, rotation_of(self.rpy_deg))

    def at(self, share: np.ndarray) -> Pose:
        """The pose at ``share (6,)`` of the spread, each −1 to 1."""
        return self.pose.moved(share * np.concatenate((self.spread, np.radians(self.spread_rpy_deg))))


@dataclass(frozen=True)
class StartSpec(PlaceSpec):
    """Beginning of an episode: a pose of the TCP, and ``gripper``, its opening 0–1."""

    gripper: Share = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self)


@dataclass(frozen=True)
class BoxSpec:
    """Room of the TCP: corners ``lower`` and ``upper`` [m] of a box, and how far the hand may lean.

    ``tilt_deg``: largest angle [degrees] between the fingers' direction and that at the start; 0 leaves it free.
    """

    lower: tuple[float, ...] = ()
    upper: tuple[float, ...] = ()
    tilt_deg: HalfTurn = 0.0

    def __post_init__(self) -> None:
        _require_numbers(self, 3, "lower", "upper")
        check(self)
        if self.lower and self.upper and not all(low < high for low, high in zip(self.lower, self.upper, strict=True)):
            raise RangeError(f"lower={list(self.lower)} must be below upper={list(self.upper)} on each axis")


@dataclass(frozen=True)
class GoalSpec:
    """Goal of the task, if that is a pose of the TCP.

    Attributes:
        position: x, y, z [m].
        rpy_deg: roll, pitch, yaw [degrees]; unset: the start's.
        tolerance: so far from it on x, y, z [m] the task is done.
        tolerance_deg: and turned by no more than this [degrees]; 0 asks for no orientation.
    """

    position: tuple[float, ...] = ()
    rpy_deg: tuple[float, ...] = ()
    tolerance: tuple[float, ...] = (0.01, 0.01, 0.01)
    tolerance_deg: HalfTurn = 0.0

    def __post_init__(self) -> None:
        _require_numbers(self, 3, "position", "rpy_deg", "tolerance")
        check(self)
        if len(self.tolerance) != 3 or min(self.tolerance) <= 0.0:
            raise RangeError(f"tolerance={list(self.tolerance)} needs 3 positive numbers [m]: x, y, z")


@dataclass(frozen=True)
class TaskFile:
    """The keys of a task's file; ``start.position``, ``workspace`` and ``axes`` have to be there.

    Attributes:
        name: of the task, as stores and policies carry it; default: the file's.
        instruction: what is to be done, in words.
        start: see `StartSpec`.
        workspace: see `BoxSpec`.
        impact_energy: with which the arm may hit something [J].
        retreat_height: z [m] of the TCP at which it may move sideways during a reset; default: 1 cm below the top.
        table: z [m] of the table, for `robot-rl task check`.
        axes: axis → how far an action of ±1 moves it: x, y, z [m a step], roll, pitch, yaw [rad a step], gripper 1.
        rate: actions a second [Hz], 5–50.
        horizon: steps until the time limit.
        fields: what the policy sees of the arm, of `FIELDS`.
        scales: field → its scale, which brings typical values to order 1, where it shall not be the one of `FIELDS`.
        cameras: camera → see `robot_rl.contract.View`.
        goal: see `GoalSpec`; may be left out.
        judge: ``task`` (the goal's pose), ``person``, or another judge; default: the task if there is a goal.
        reset_words: what a person is asked to do at each reset.
        scene: for simulation only: a scene's name, ``module:function``, or a file of MJCF elements beside this one.
        objects: movable body of the scene → `PlaceSpec`, where each reset puts it.
        expert: for simulation only: a script's name, or ``module:function`` of a `Reading` and the control period [s].
    """

    name: str = ""
    instruction: str = ""
    start: StartSpec = field(default_factory=StartSpec)
    workspace: BoxSpec = field(default_factory=BoxSpec)
    impact_energy: Annotated[float, Gt(0), Le(0.5)] = 0.05
    retreat_height: float | None = None
    table: float = 0.0
    axes: Mapping[str, float] = field(default_factory=dict)
    rate: Annotated[float, Ge(5), Le(50)] = 10.0
    horizon: Annotated[int, Ge(1), Le(100_000)] = 100
    fields: tuple[str, ...] = tuple(name for name in FIELDS if name not in SELDOM)
    scales: Mapping[str, float] = field(default_factory=dict)
    cameras: Mapping[str, View] = field(default_factory=dict)
    goal: GoalSpec = field(default_factory=GoalSpec)
    judge: str = ""
    reset_words: str = ""
    scene: str = ""
    objects: Mapping[str, PlaceSpec] = field(default_factory=dict)
    expert: str = ""

    def __post_init__(self) -> None:
        check(self)
        for name in (*self.fields, *self.scales):
            if name not in FIELDS:
                raise RangeError(f"fields: {unknown(name, FIELDS)}")
        if repeated := [name for name in self.fields if self.fields.count(name) > 1]:
            raise RangeError(f"fields: {repeated[0]} is there twice")
        for name, scale in self.scales.items():
            if not (isinstance(scale, int | float) and scale > 0.0):
                raise RangeError(f"scales.{name}={scale!r} must be a positive number")
        if not self.fields:
            raise RangeError("fields=[] leaves the policy nothing to see; leave the key out for all of the arm's")


def read_file(path: Path) -> TaskFile:
    """The keys of the file at ``path``, each checked by itself. Raises `ConfigError`."""
    values = read_mapping(path)
    try:
        return parse({"name": path.stem, **values})
    except (ConfigError, ContractError) as error:
        raise ConfigError(f"{path}: {error}") from error


def parse(values: dict[str, Any]) -> TaskFile:
    """The keys of a file, from plain values. Raises `ConfigError` naming key, value and what would fit."""
    members: dict[str, Any] = {}
    for group, default in (("cameras", View()), ("objects", PlaceSpec())):
        given = values.get(group, {})
        if not isinstance(given, dict):
            raise ConfigError(f"{group} is a group of names with their keys, not {given!r}")
        members[group] = {
            name: put_over(default, {} if keys is None else _group(f"{group}.{name}", keys), f"{group}.{name}.")
            for name, keys in given.items()
        }
    file: TaskFile = put_over(TaskFile(), {key: item for key, item in values.items() if key not in members}, "")
    return dataclasses.replace(file, **members)


def rpy_deg_of(pose: Pose) -> tuple[float, float, float]:
    """Roll, pitch and yaw [degrees] of ``pose`` about the fixed axes of the base."""
    roll, pitch, yaw = np.degrees(rotation_to_rpy(pose.rotation))
    return float(roll), float(pitch), float(yaw)


def rotation_of(rpy_deg: tuple[float, ...]) -> np.ndarray:
    """Rotation matrix ``(3, 3)`` of roll, pitch and yaw [degrees] about the fixed axes of the base, in this order."""
    return rpy_to_rotation(np.radians(rpy_deg))


def _require_numbers(spec: object, count: int, *names: str) -> None:
    for name in names:
        value = getattr(spec, name)
        if value and (len(value) != count or not all(map(isfinite, value))):
            raise RangeError(f"{name}={list(value)} needs {count} finite numbers")


def _group(name: str, keys: Any) -> dict[str, Any]:
    if not isinstance(keys, dict):
        raise ConfigError(f"{name} is a group of keys, not {keys!r}")
    return keys


def unknown(name: str, known: Iterable[str]) -> str:
    """An error's words for a name that is none of ``known``, with the nearest of them."""
    known = list(known)
    return f"{name!r} is unknown; choose from {', '.join(known)}{meant(str(name), known)}"
