"""The file that says what a server's names mean: which camera, which part of the state, which axis of the action.

Each key is checked by itself; `robot_rl.policies.wire.sent` and `columns` fit them to a task.

    address: ws://gpu:8000                 # tcp://gpu:5555 for groot
    images: {observation/image: front}     # the server's key: our camera
    state:                                 # the server's key: fields of the task's state, one after the other
      observation/state: [tcp_position, {field: tcp_rotation, as: rpy}, gripper]
    prompt: prompt                         # the server's key of the instruction
    columns:                               # of the server's actions, in its order
      - {axis: x, means: delta, unit: m}
      - {ignored: roll}
      - {axis: gripper, open: 1.0, closed: -1.0}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le
from pydantic import AllowInfNan

from hardware.registry import meant
from robot_rl.contract import ACTION_AXES
from robot_rl.contract.acting import MAX_HISTORY, POLICY_RATES
from robot_rl.contract.ranges import RangeError, Seconds, check, shown
from robot_rl.contract.settings import ConfigError, make_settings, put_over, read_mapping
from robot_rl.contract.steps import MAX_ROWS

LINEAR = {"m": 1.0, "cm": 0.01, "mm": 0.001}  # [m]
ANGULAR = {"rad": 1.0, "deg": 0.017453292519943295}  # [rad]
JOINTS = tuple(f"joint{number}" for number in range(1, 8))  # axes of a server that the TCP follows
STEP = "step"  # of the task's action: ±1
LISTED = ("state", "columns")  # keys whose items may be text or groups
Value = Annotated[float, AllowInfNan(False)]


@dataclass(frozen=True)
class PartSpec:
    """A part of what a server calls state.

    Attributes:
        field: of the task's state, in its unit: metres, radians, newtons, the gripper's opening 0–1.
        form: of a rotation vector: ``rotvec``, ``rpy`` (roll, pitch, yaw [rad] about the base's fixed axes) or
            ``quat_xyzw``; written ``as`` in the file.
        scale, offset: the server's number is scale × ours + offset.
    """

    field: str
    form: Literal["rotvec", "rpy", "quat_xyzw"] = "rotvec"
    scale: Value = 1.0
    offset: Value = 0.0

    def __post_init__(self) -> None:
        check(self)
        if self.scale == 0.0:
            raise RangeError(f"scale=0 says nothing of the field {self.field}; give another number, or leave it out")


@dataclass(frozen=True)
class ColumnSpec:
    """A column of a server's actions.

    Attributes:
        axis: of the task's action that it moves; or ``joint1`` to ``joint7``, all of them in place of the TCP's axes.
        means: ``delta`` (displacement since the row before, base axes) or ``absolute`` (where the TCP shall be, in the
            base frame; roll, pitch and yaw [about the base's fixed axes] together, or yaw alone).
        unit: m, cm or mm; rad or deg; ``step`` (±1 is a full action, deltas only); or a number: metres or radians
            that 1 stands for.
        open, closed: of the gripper: the server's number for either.
        ignored: name of a column that moves nothing here, in place of all others.
        key: of the answer's array; default: the file's ``actions``.
    """

    axis: str = ""
    means: Literal["", "delta", "absolute"] = ""
    unit: str = ""
    open: Value | None = None
    closed: Value | None = None
    ignored: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        check(self)
        if self.ignored:
            if self.axis or self.means or self.unit or self.open is not None or self.closed is not None:
                raise RangeError(f"ignored={shown(self.ignored)} moves nothing; leave out what else is said of it")
        elif self.axis not in (*ACTION_AXES, *JOINTS):
            hint = meant(self.axis, (*ACTION_AXES, *JOINTS))
            raise RangeError(
                f"axis={shown(self.axis)} must be one of {', '.join(ACTION_AXES)}, or {JOINTS[0]} to {JOINTS[-1]}{hint}"
            )
        elif self.axis == "gripper":
            self._check_gripper()
        else:
            self._check_motion()

    @property
    def rotates(self) -> bool:
        return self.axis in ("roll", "pitch", "yaw", *JOINTS)

    @property
    def factor(self) -> float | None:
        """Metres or radians that 1 stands for; None for steps of the task's action."""
        known = ANGULAR if self.rotates else LINEAR
        return None if self.unit == STEP else known[self.unit] if self.unit in known else float(self.unit)

    @property
    def ends(self) -> tuple[float, float]:
        """The gripper's numbers, closed and open."""
        return self.closed or 0.0, self.open or 0.0

    def _check_gripper(self) -> None:
        if self.means or self.unit:
            raise RangeError("axis=gripper has open and closed, and neither means nor unit")
        if self.open is None or self.closed is None or self.open == self.closed:
            raise RangeError("axis=gripper needs two numbers, e.g. open: 1.0, closed: 0.0")

    def _check_motion(self) -> None:
        if self.open is not None or self.closed is not None:
            raise RangeError(f"open and closed are of the gripper, not of axis={self.axis}")
        if not self.means:
            raise RangeError(f"means is missing for axis={self.axis}: delta or absolute")
        known = tuple(ANGULAR if self.rotates else LINEAR)
        number = self.unit not in (*known, STEP)
        if number and not _is_positive(self.unit):
            raise RangeError(
                f"unit={shown(self.unit)} of axis={self.axis} must be one of {', '.join((*known, STEP))}, or a positive"
                f" number: the {'radians' if self.rotates else 'metres'} that 1 stands for"
            )
        if self.unit == STEP and (self.means == "absolute" or self.axis in JOINTS):
            raise RangeError(f"unit={STEP} of axis={self.axis} is of deltas of the task's axes; others have a unit")


@dataclass(frozen=True)
class WireFile:
    """The keys of the file.

    Attributes:
        address: of the server; a file that a server of ours is given leaves it out.
        token_file: file that holds the server's token, beside this one or absolute; "" for none.
        timeout: [s] for an answer, of the clock.
        first_timeout: [s] for the first one, while the server compiles.
        images: the server's key → our camera.
        state: the server's key → `PartSpec`, one after the other; a name alone is that of a field.
        prompt: the server's key for the task's instruction; "" sends none.
        history: so many observations are sent, one a control period, the newest last, as one more first axis of each
            image and state; with 1 there is no such axis.
        actions: key of the array of actions in an answer.
        columns: see `ColumnSpec`.
        rate: of its rows [Hz]; unset: the task's.
        rows: so many of an answer's rows, at the task's rate, act at most before it is asked anew.
        jump: an answer is refused that asks for more than so many full actions within a control period.
    """

    address: str = ""
    token_file: str = ""
    timeout: Seconds = 5.0
    first_timeout: Seconds = 300.0
    images: Mapping[str, str] = field(default_factory=dict)
    state: Mapping[str, tuple[PartSpec, ...]] = field(default_factory=dict)
    prompt: str = ""
    history: Annotated[int, Ge(1), Le(MAX_HISTORY)] = 1
    actions: str = "actions"
    columns: tuple[ColumnSpec, ...] = ()
    rate: Annotated[float, Ge(POLICY_RATES[0]), Le(POLICY_RATES[1])] | None = None
    rows: Annotated[int, Ge(1), Le(MAX_ROWS)] = MAX_ROWS
    jump: Annotated[float, Gt(0), AllowInfNan(False)] = 3.0

    def __post_init__(self) -> None:
        check(self)
        keys = [*self.images, *self.state, *([self.prompt] if self.prompt else [])]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise RangeError(f"the key {shown(twice[0])} is there twice")
        for column in self.columns:
            name = column.axis
            if name and [other.axis for other in self.columns].count(name) > 1:
                raise RangeError(f"columns: the axis {name} is there twice")


def read_file(path: Path) -> WireFile:
    """The keys of the file at ``path``. Raises `ConfigError`, which names file and key."""
    values = read_mapping(path)
    try:
        file = parse(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return dataclasses.replace(file, token_file=str(path.parent / file.token_file)) if file.token_file else file


def parse(values: Mapping[str, object]) -> WireFile:
    """The keys of a file, from plain values. Raises `ConfigError` naming key, value and what would fit."""
    file = put_over(WireFile(), {key: value for key, value in values.items() if key not in LISTED})
    for key, camera in file.images.items():
        if not isinstance(camera, str):
            raise ConfigError(f"images.{key}={shown(camera)} must be the name of a camera")
    state = {key: _parts(f"state.{key}", given) for key, given in _group("state", values.get("state", {})).items()}
    given = values.get("columns", [])
    if not isinstance(given, list):
        raise ConfigError(f"columns={shown(given)} must be a list, one item for each of the server's columns")
    columns = tuple(_item(ColumnSpec, f"columns[{number}]", keys) for number, keys in enumerate(given))
    try:
        return dataclasses.replace(file, state=state, columns=columns)
    except RangeError as error:
        raise ConfigError(str(error)) from error


def plain_spec(spec: PartSpec | ColumnSpec) -> dict[str, Any]:
    """Words and values of a spec, as the file has them."""
    said = {
        field.name: getattr(spec, field.name)
        for field in dataclasses.fields(spec)
        if getattr(spec, field.name) != field.default
    }
    return {"as" if key == "form" else key: value for key, value in said.items()}


def plain_names(file: WireFile) -> dict[str, Any]:
    """The keys of a file that say names, as it would have them."""
    return {
        "images": dict(file.images),
        "state": {key: [plain_spec(part) for part in parts] for key, parts in file.state.items()},
        "prompt": file.prompt,
        "actions": file.actions,
        "columns": [plain_spec(column) for column in file.columns],
    }


def said_columns(file: WireFile) -> list[dict[str, Any]]:
    """The columns as metadata have them."""
    return [{"key": file.actions, **plain_spec(column)} for column in file.columns]


def _parts(name: str, given: object) -> tuple[PartSpec, ...]:
    if not isinstance(given, list) or not given:
        raise ConfigError(f"{name}={shown(given)} must be a list of fields of the state")
    parts = []
    for number, part in enumerate(given):
        keys = {"field": part} if isinstance(part, str) else part
        if isinstance(keys, dict):
            keys = {"form" if key == "as" else key: value for key, value in keys.items()}
        parts.append(_item(PartSpec, f"{name}[{number}]", keys))
    return tuple(parts)


def _item(kind: Any, name: str, keys: object) -> Any:
    return make_settings(kind, _group(name, keys), f"{name}.")


def _group(name: str, keys: object) -> Mapping[str, object]:
    if not isinstance(keys, dict) or not all(isinstance(key, str) for key in keys):
        raise ConfigError(f"{name} is a group of keys, not {shown(keys)}")
    return keys


def _is_positive(text: str) -> bool:
    try:
        return 0.0 < float(text) < float("inf")
    except ValueError:
        return False
