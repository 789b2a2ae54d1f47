"""Observations by a server's names: what a client of ours sends, and what a server of ours takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from controllers.spatial import Pose, log3, rotation_to_rpy, rpy_to_rotation
from hardware.registry import meant
from robot_rl.contract import ContractError, Field, FrameSize, Observation
from robot_rl.contract.settings import ConfigError
from robot_rl.policies.wire.file import PartSpec, WireFile

TURN = 3  # numbers of a rotation vector


class Sent(NamedTuple):
    """An observation by the server's names.

    Attributes:
        images: key → ``(h, w, 3)`` uint8 RGB; with a history ``(t, h, w, 3)``.
        state: key → ``(n,)`` float32; with a history ``(t, n)``.
        prompt: key → the instruction.
    """

    images: dict[str, np.ndarray]
    state: dict[str, np.ndarray]
    prompt: dict[str, str]


class Fields:
    """The state vector by its fields, in their units."""

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self._places: dict[str, tuple[slice, float]] = {}
        first = 0
        for field in fields:
            self._places[field.name] = slice(first, first + field.size), field.scale
            first += field.size
        self.size = first

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._places)

    def size_of(self, name: str) -> int:
        place, _ = self._places[name]
        return int(place.stop - place.start)

    def read(self, state: np.ndarray, name: str) -> np.ndarray:
        """The field ``name (n,)`` of ``state (d,)``, in its unit."""
        place, scale = self._places[name]
        return np.asarray(state[place], dtype=np.float64) / scale

    def write(self, state: np.ndarray, name: str, value: np.ndarray) -> None:
        """Put the field ``name``, in its unit, into ``state (d,)``."""
        place, scale = self._places[name]
        state[place] = scale * value


class Observing:
    """Parts of an observation, and the key that each goes to.

    Args:
        file: says so.
        fields: of the task's state.
        images: camera → (height, width) of its images in the observation; with an encoder there are features instead.

    Raises `ConfigError` for names that the task or the run has not.
    """

    def __init__(self, file: WireFile, fields: tuple[Field, ...], images: Mapping[str, FrameSize]) -> None:
        self._file, self._fields, self._images = file, Fields(fields), dict(images)
        for key, camera in file.images.items():
            if camera not in images:
                raise ConfigError(
                    f"images.{key}={camera!r} is no camera of this run; it has cameras={','.join(images) or 'none'}"
                    f"{meant(camera, images)}"
                )
            if len(images[camera]) != 2:
                raise ConfigError(f"images.{key}: the wire carries pictures, not features; leave out encoder=")
        for key, parts in file.state.items():
            for part in parts:
                self._check(key, part)

    def _check(self, key: str, part: PartSpec) -> None:
        names = self._fields.names
        if part.field not in names:
            raise ConfigError(
                f"state.{key}: the state has no field {part.field!r}; choose from {', '.join(names)}"
                f"{meant(part.field, names)}"
            )
        if part.form != "rotvec" and self._fields.size_of(part.field) != TURN:
            raise ConfigError(f"state.{key}: as={part.form} is of a rotation vector, and {part.field} is none")

    @property
    def tells(self) -> bool:
        """Whether an instruction is sent."""
        return bool(self._file.prompt)

    def sizes(self) -> dict[str, int]:
        """Key of the state → how many numbers it has."""
        return {key: sum(map(self._size_of, parts)) for key, parts in self._file.state.items()}

    def _size_of(self, part: PartSpec) -> int:
        return 4 if part.form == "quat_xyzw" else self._fields.size_of(part.field)

    def sent(self, observations: Sequence[Observation], instruction: str) -> Sent:
        """The latest of ``observations``, as many as the file's history, and ``instruction`` as the server has them."""
        latest = observations[-self._file.history :]
        images = {key: [seen.images[camera] for seen in latest] for key, camera in self._file.images.items()}
        state = {key: [self._said(seen.state, parts) for seen in latest] for key, parts in self._file.state.items()}
        return Sent(
            {key: self._joined(values) for key, values in images.items()},
            {key: self._joined(values) for key, values in state.items()},
            {self._file.prompt: instruction} if self._file.prompt else {},
        )

    def _said(self, state: np.ndarray, parts: tuple[PartSpec, ...]) -> np.ndarray:
        return np.concatenate([_form(self._fields.read(state, part.field), part) for part in parts])

    def _joined(self, values: Sequence[np.ndarray]) -> np.ndarray:
        return values[0] if self._file.history == 1 else np.stack(values)

    def check_whole(self) -> None:
        """Raises `ConfigError` for a file from which no observation could be made: a field or camera is missing."""
        known = {part.field for parts in self._file.state.values() for part in parts}
        if missing := [name for name in self._fields.names if name not in known]:
            raise ConfigError(f"state: the policy needs {', '.join(missing)}, which no key of the file has")
        if missing := [name for name in self._images if name not in self._file.images.values()]:
            raise ConfigError(f"images: the policy needs the camera {', '.join(missing)}, which no key of the file has")

    def received(self, request: Mapping[Any, Any], seq: int) -> Observation:
        """The observation that a client has sent, with ``seq`` as number and stamp.

        Raises `ContractError` for a key that is missing or unknown, and for values of another shape or type or that are
        not finite.
        """
        known = {*self._file.images, *self._file.state, *([self._file.prompt] if self._file.prompt else [])}
        if unknown := [key for key in request if key not in known]:
            raise ContractError(f"the key {str(unknown[0])[:80]!r} is unknown; there are {', '.join(sorted(known))}")
        state = np.zeros(self._fields.size, np.float32)
        for key, parts in self._file.state.items():
            values = _numbers(key, _value(request, key), sum(map(self._size_of, parts)))
            first = 0
            for part in parts:
                size = self._size_of(part)
                self._fields.write(state, part.field, _formed(values[first : first + size], part, key))
                first += size
        images = {camera: _image(request, key, self._images[camera]) for key, camera in self._file.images.items()}
        return Observation(seq, seq, state, images)

    def instruction(self, request: Mapping[Any, Any], default: str) -> str:
        """The client's instruction; ``default`` where it sends none. Raises `ContractError` for what is no text."""
        text = request.get(self._file.prompt, default) if self._file.prompt else default
        if not isinstance(text, str):
            raise ContractError(f"{self._file.prompt} must be text, not {type(text).__name__}")
        return text


def _form(value: np.ndarray, part: PartSpec) -> np.ndarray:
    if part.form != "rotvec":
        pose = Pose.from_rotvec(np.zeros(3), value)
        value = pose.quat_xyzw if part.form == "quat_xyzw" else rotation_to_rpy(pose.rotation)
    return (part.scale * value + part.offset).astype(np.float32)


def _formed(values: np.ndarray, part: PartSpec, key: str) -> np.ndarray:
    """The inverse of `_form`."""
    ours = (values - part.offset) / part.scale
    if part.form == "rpy":
        return log3(rpy_to_rotation(ours))
    if part.form == "quat_xyzw":
        try:
            return Pose(np.zeros(3), ours).rotvec
        except ValueError as error:
            raise ContractError(f"{key}: {error}") from error
    return ours


def _value(request: Mapping[Any, Any], key: str) -> object:
    if key not in request:
        raise ContractError(f"the key {key!r} is missing")
    return request[key]


def _numbers(key: str, value: object, size: int) -> np.ndarray:
    if isinstance(value, int | float | list) and not isinstance(value, bool):
        try:
            value = np.atleast_1d(np.array(value, dtype=np.float64))
        except (ValueError, TypeError) as error:
            raise ContractError(f"{key} must be {size} numbers: {error}") from error
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or value.shape != (size,):
        shape = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise ContractError(f"{key} must be an array of {size} numbers, not {shape}")
    if not np.isfinite(value).all():
        raise ContractError(f"{key} is not finite: {value}")
    return value.astype(np.float64)


def _image(request: Mapping[Any, Any], key: str, size: FrameSize) -> np.ndarray:
    value, shape = _value(request, key), (*size, 3)
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.shape != shape:
        found = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise ContractError(f"{key} must be an image uint8 {shape}, not {found}")
    return value
