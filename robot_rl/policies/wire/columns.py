"""Actions by a server's columns: rows of an answer → actions of a task, and back.

A row says where the TCP goes from where the row before has led it (``delta``) or by place (``absolute``). Summed up,
the rows of an answer are a path from the measured pose. It is sampled once a control period T, so that a server may act
at another rate. Deltas become actions, relative to the pose that is measured then, and are followed by no more than a
full action a period. Where every driven axis is absolute, the path's poses are the places of the chunk: the arm goes
there from wherever it is, though it has given way meanwhile.

    p₀ = 0,  pᵢ₊₁ = pᵢ + δᵢ,   δᵢ = uᵢ·unit   or   gᵢ − gᵢ₋₁  (g₋₁: measured; rotations by log3(Rᵢ Rᵢ₋₁ᵀ))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from controllers.spatial import Pose, exp3, log3, rotation_to_rpy, rpy_to_rotation
from robot_rl.contract import ACTION_AXES, TCP_POSITION, TCP_ROTATION, ActionSpec, ContractError, Field
from robot_rl.contract.settings import ConfigError
from robot_rl.contract.steps import MAX_ROWS
from robot_rl.policies.wire.file import JOINTS, ColumnSpec, WireFile
from robot_rl.policies.wire.joints import joint_path, model, tcp_steps
from robot_rl.policies.wire.observing import Fields

SAME_RATE = 1e-6  # of a rate that counts as the task's
BEYOND = 0.5  # of the way between open and closed that a gripper's number may be beyond either
MAX_ANSWER = 2000  # rows
LARGEST = 1e6  # number in an answer
TURNS = ("roll", "pitch", "yaw")


class Moves(NamedTuple):
    """An answer as moves of a task, one a control period.

    Attributes:
        actions: ``(h, a)`` float32 in [−1, 1].
        places: ``(h, 7)`` as `ActionChunk` has them; None where ``actions`` say all.
    """

    actions: np.ndarray
    places: np.ndarray | None


class Columns:
    """Which column moves which axis.

    Args:
        file: says so.
        action: of the task.
        period: its control period [s].
        fields: of its state; absolute places need `TCP_POSITION` or `TCP_ROTATION` there.

    Raises `ConfigError` when an axis has no column, a column no axis, or a place nothing to be measured against.
    """

    def __init__(self, file: WireFile, action: ActionSpec, period: float, fields: tuple[Field, ...]) -> None:
        self._file, self._action, self._period = file, action, period
        self._fields = Fields(fields)
        self._scale = action.delta(np.ones(action.size))  # (6,) [m, rad] of a full action
        keys = {column.key or file.actions for column in file.columns}
        self._columns = {
            key: [column for column in file.columns if (column.key or file.actions) == key] for key in sorted(keys)
        }
        said = [column.axis for column in file.columns if column.axis]
        self.moves_joints = any(axis in JOINTS for axis in said)
        if self.moves_joints:
            self._check_joints(said)
        else:
            self._check_axes(said)

    @property
    def rate(self) -> float:
        """Rows a second [Hz]."""
        return self._file.rate or 1.0 / self._period

    @property
    def keeps_rate(self) -> bool:
        """Whether a row is a control period of the task."""
        return abs(self.rate * self._period - 1.0) < SAME_RATE

    def _check_joints(self, said: list[str]) -> None:
        driven, gripper = self._action.axes, [axis for axis in said if axis == "gripper"]
        if sorted(said) != sorted([*JOINTS, *gripper]):
            raise ConfigError(
                f"columns: joints are moved by {', '.join(JOINTS)} together, and not by {', '.join(said)}"
            )
        if list(driven) != [*ACTION_AXES[:6], *gripper]:
            raise ConfigError(
                f"columns: joints are moved in a task that drives {', '.join((*ACTION_AXES[:6], *gripper))}; this one "
                f"drives {', '.join(driven)}"
            )
        if "joints" not in self._fields.names:
            raise ConfigError(
                f"columns: joints are moved from where they are, so the task's state needs the field joints; it has "
                f"{', '.join(self._fields.names)}"
            )
        model()

    def _check_axes(self, said: list[str]) -> None:
        driven = self._action.axes
        if missing := [axis for axis in driven if axis not in said]:
            raise ConfigError(f"columns: no column moves {', '.join(missing)}, which the task's action has")
        if more := [axis for axis in said if axis not in driven]:
            raise ConfigError(
                f"columns: the task does not drive {', '.join(more)}, but {', '.join(driven)}; "
                f"write {{ignored: {more[0]}}}"
            )
        absolute = [column.axis for column in self._file.columns if column.means == "absolute"]
        turns = [axis for axis in absolute if axis in TURNS]
        if len(turns) not in (0, len(TURNS)) and turns != ["yaw"]:
            raise ConfigError(
                f"columns: {', '.join(turns)} is absolute; an orientation has {', '.join(TURNS)}, or yaw alone"
            )
        for field, axes in ((TCP_POSITION, set(absolute) - set(TURNS)), (TCP_ROTATION, turns)):
            if axes and field not in self._fields.names:
                raise ConfigError(
                    f"columns: {', '.join(sorted(axes))} is absolute, so the task's state needs the field {field}; it "
                    f"has {', '.join(self._fields.names)}"
                )

    def moves(self, answer: Mapping[Any, Any], state: np.ndarray, bounded: bool = True) -> Moves:
        """Moves that ``answer`` to ``state (d,)`` asks for.

        ``bounded``: a jump is refused. Raises `ContractError` for an answer that is wrong-named, of the wrong shape or
        type, not finite, or jumps.
        """
        arrays = {key: _array(answer, key, columns) for key, columns in self._columns.items()}
        lengths = {key: len(array) for key, array in arrays.items()}
        if len(set(lengths.values())) != 1:
            raise ContractError(f"the arrays of the answer have different lengths: {lengths}")
        values = {
            column.axis: arrays[key][:, number]
            for key, columns in self._columns.items()
            for number, column in enumerate(columns)
            if column.axis
        }
        specs = {column.axis: column for column in self._file.columns if column.axis}
        if self.moves_joints:
            measured = self._fields.read(state, "joints")
            steps = tcp_steps(joint_path(values, specs, measured), measured)
        else:
            steps = self._steps(values, specs, state, next(iter(lengths.values())))
        sampled = self._sampled(steps)
        if bounded:
            self._check_jumps(sampled)
        delta = self._followed(sampled)[: self._file.rows]
        openings: list[float | None] = [None] * len(delta)
        if "gripper" in specs:
            openings = list(self._openings(values["gripper"], specs["gripper"], len(sampled)))[: len(delta)]
        actions = np.array([self._action.from_delta(*row) for row in zip(delta, openings, strict=True)])
        return Moves(actions, self._places(sampled[: len(delta)], state) if self._has_places else None)

    @property
    def _has_places(self) -> bool:
        means = [column.means for column in self._file.columns if column.means]
        return "absolute" in means and "delta" not in means

    def _places(self, steps: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Poses ``(h, 7)`` along ``steps (h, 6)`` from the measured one; what no axis drives is as it may be."""
        if self.moves_joints:
            pose = model().forward_kinematics(self._fields.read(state, "joints"))
        else:
            pose = Pose.from_rotvec(*(self._measured(state, name) for name in (TCP_POSITION, TCP_ROTATION)))
        places = []
        for step in steps:
            pose = pose.moved(step)
            places.append([*pose.translation, *pose.quat_xyzw])
        return np.array(places)

    def _measured(self, state: np.ndarray, name: str) -> np.ndarray:
        return self._fields.read(state, name) if name in self._fields.names else np.zeros(3)

    def _steps(
        self, values: Mapping[str, np.ndarray], specs: Mapping[str, ColumnSpec], state: np.ndarray, rows: int
    ) -> np.ndarray:
        """Displacements ``(rows, 6)`` [m, rad] that columns of the TCP's axes ask for."""
        steps = np.zeros((rows, 6))
        for axis, column in specs.items():
            if axis != "gripper" and column.means == "delta":
                number = ACTION_AXES.index(axis)
                steps[:, number] = values[axis] * (self._scale[number] if column.factor is None else column.factor)
        self._put_places(steps, values, specs, state)
        return steps

    def _put_places(
        self, steps: np.ndarray, values: Mapping[str, np.ndarray], specs: Mapping[str, ColumnSpec], state: np.ndarray
    ) -> None:
        """Put the displacements that absolute columns ask for into ``steps (H, 6)``."""
        absolute = {axis: values[axis] * (column.factor or 1.0) for axis, column in _absolute(specs).items()}
        for axis, place in absolute.items():
            number = ACTION_AXES.index(axis)
            if axis not in TURNS:
                measured = self._fields.read(state, TCP_POSITION)[number]
                steps[:, number] = np.diff(place, prepend=measured)
        if "yaw" in absolute and TURNS[0] not in absolute:
            measured = rotation_to_rpy(exp3(self._fields.read(state, TCP_ROTATION)))[2]
            turn = np.diff(absolute["yaw"], prepend=measured)
            steps[:, 5] = np.remainder(turn + np.pi, 2.0 * np.pi) - np.pi
        if TURNS[0] in absolute:
            before = exp3(self._fields.read(state, TCP_ROTATION))
            for row, rpy in enumerate(np.stack([absolute[axis] for axis in TURNS], axis=1)):
                after = rpy_to_rotation(rpy)
                steps[row, 3:] = log3(after @ before.T)
                before = after

    def _sampled(self, steps: np.ndarray) -> np.ndarray:
        """Displacements ``(h, 6)`` in each control period, of ``steps (H, 6)`` in each row's time."""
        if self.keeps_rate:
            return steps[:MAX_ROWS]
        row = 1.0 / self.rate
        path = np.concatenate((np.zeros((1, 6)), np.cumsum(steps, axis=0)))
        count = min(MAX_ROWS, max(1, round(len(steps) * row / self._period)))
        at, times = row * np.arange(len(path)), self._period * np.arange(count + 1)
        return np.diff(np.stack([np.interp(times, at, axis) for axis in path.T], axis=1), axis=0)

    def _check_jumps(self, steps: np.ndarray) -> None:
        """Raises `ContractError` where ``steps (h, 6)`` ask for more than ``jump`` full actions on a driven axis."""
        for axis in self._action.axes:
            if axis == "gripper":
                continue
            number = ACTION_AXES.index(axis)
            bound = self._file.jump * self._scale[number]
            row = int(np.abs(steps[:, number]).argmax())
            if not abs(steps[row, number]) <= bound:
                unit = "rad" if axis in TURNS else "m"
                raise ContractError(
                    f"the answer jumps: {axis} by {steps[row, number]:.4g} {unit} in control period {row}, and jump="
                    f"{self._file.jump:g} allows {bound:.4g}; {self._doubt(axis)}"
                )

    def _doubt(self, axis: str) -> str:
        """The likely mistake in the file, where the answer jumps along ``axis``."""
        name = JOINTS[0] if self.moves_joints else axis
        column = next(column for column in self._file.columns if column.axis == name)
        other = "absolute" if column.means == "delta" else "delta"
        which = "are the joints' columns" if self.moves_joints else "is the column"
        return f"{which} {other}, or of another unit than {column.unit}?"

    def _followed(self, steps: np.ndarray) -> np.ndarray:
        """``steps (h, 6)`` as far as full actions lead; what is left over follows in later periods."""
        followed, left = np.empty_like(steps), np.zeros(6)
        for row, step in enumerate(steps):
            left += step
            followed[row] = np.clip(left, -self._scale, self._scale)
            left -= followed[row]
        return followed

    def _openings(self, values: np.ndarray, column: ColumnSpec, count: int) -> np.ndarray:
        """Opening ``(count,)`` 0–1 of the gripper in each control period."""
        closed, opened = column.ends
        openings = (values - closed) / (opened - closed)
        far = np.abs(openings - 0.5) > 0.5 + BEYOND
        if far.any():
            raise ContractError(
                f"gripper is {values[far][0]:.4g} in row {int(far.argmax())}, far from closed={closed:g} and "
                f"open={opened:g}"
            )
        times = self._period * np.arange(count)
        rows = np.minimum((times * self.rate + SAME_RATE).astype(int), len(values) - 1)
        clipped: np.ndarray = np.clip(openings[rows], 0.0, 1.0)
        return clipped

    def answer(self, actions: np.ndarray, state: np.ndarray) -> dict[str, np.ndarray]:
        """The inverse of `moves`, at the task's rate: key → ``(h, columns)`` float32. Ignored columns are 0."""
        steps = np.array([self._action.delta(row) for row in actions])
        values = {axis: steps[:, number] for number, axis in enumerate(ACTION_AXES[:6])}
        absolute = _absolute({column.axis: column for column in self._file.columns if column.axis})
        for axis in absolute:
            if axis not in TURNS:
                measured = self._fields.read(state, TCP_POSITION)[ACTION_AXES.index(axis)]
                values[axis] = measured + np.cumsum(values[axis])
        if turned := [axis for axis in TURNS if axis in absolute]:
            rotation, turns = exp3(self._fields.read(state, TCP_ROTATION)), []
            for step in steps:
                rotation = exp3(step[3:]) @ rotation
                turns.append(rotation_to_rpy(rotation))
            values |= {axis: np.array(turns)[:, TURNS.index(axis)] for axis in turned}
        if (openings := [self._action.gripper(row) for row in actions])[0] is not None:
            values["gripper"] = np.array(openings, dtype=float)
        return {
            key: np.stack([self._said(column, values, len(steps)) for column in columns], axis=1).astype(np.float32)
            for key, columns in self._columns.items()
        }

    def _said(self, column: ColumnSpec, values: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
        if not column.axis:
            return np.zeros(rows)
        if column.axis == "gripper":
            closed, opened = column.ends
            return closed + (opened - closed) * values["gripper"]
        number = ACTION_AXES.index(column.axis)
        return values[column.axis] / (self._scale[number] if column.factor is None else column.factor)


def _absolute(specs: Mapping[str, ColumnSpec]) -> dict[str, ColumnSpec]:
    return {axis: column for axis, column in specs.items() if column.means == "absolute"}


def _array(answer: Mapping[Any, Any], key: str, columns: list[ColumnSpec]) -> np.ndarray:
    """The array ``(H, C)`` of ``columns`` in an answer, finite, or a `ContractError`."""
    if key not in answer:
        raise ContractError(f"the answer has no {key!r}, but {', '.join(sorted(map(str, answer))) or 'nothing'}"[:300])
    array = answer[key]
    names = ", ".join(column.axis or column.ignored for column in columns)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        kind = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ContractError(f"{key} of the answer must be an array of numbers, not {kind}")
    if array.ndim != 2 or array.shape[1] != len(columns) or not 1 <= len(array) <= MAX_ANSWER:
        raise ContractError(f"{key} of the answer has shape {array.shape}; it must be rows of {len(columns)}: {names}")
    numbers = array.astype(np.float64)
    wrong = ~(np.abs(numbers) <= LARGEST)
    if wrong.any():
        row, column = (int(place[0]) for place in np.nonzero(wrong))
        name, number = columns[column].axis or columns[column].ignored, numbers[row, column]
        why = f"beyond ±{LARGEST:g}" if np.isfinite(number) else "not finite"
        raise ContractError(f"{key} of the answer is {why}: {name} is {number:g} in row {row}")
    return numbers
