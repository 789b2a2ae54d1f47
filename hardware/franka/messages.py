"""Messages between a driver and its child process: JSON, and arrays beside it; nothing executes what it reads.

Settings travel as the fields of their dataclasses and are built anew on the other side, which checks them again.
"""

from __future__ import annotations

import dataclasses
import io
import json
import types
import typing
from collections.abc import Mapping
from multiprocessing.connection import Connection, Pipe
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


class MessagePipe:
    """One end of a pipe between two processes. Reading raises `EOFError` or `OSError` when the other end is gone."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @staticmethod
    def pair() -> tuple[MessagePipe, MessagePipe]:
        """Two ends of a new pipe."""
        one, other = Pipe()
        return MessagePipe(one), MessagePipe(other)

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self._connection.close()

    def poll(self, timeout: float = 0.0) -> bool:
        """Whether there is something to read, or the other end is gone; waits for at most ``timeout`` [s]."""
        return self._connection.poll(timeout)

    def send(self, content: Any) -> None:
        """Send what JSON can hold; tuples arrive as lists. Raises `OSError`."""
        self._connection.send_bytes(json.dumps(content).encode())

    def receive(self) -> Any:
        return json.loads(self._connection.recv_bytes())

    def send_settings(self, settings: Any) -> None:
        """Send a dataclass. Raises `OSError`."""
        self.send(to_plain(settings))

    def receive_settings(self, kind: type[T]) -> T:
        """Build the ``kind`` of dataclass that was sent. Raises what its constructor raises, and `TypeError`."""
        return typing.cast(T, from_plain(kind, self.receive()))

    def send_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Send arrays by name, structured ones too. Raises `OSError`."""
        buffer = io.BytesIO()
        named: dict[str, Any] = {**arrays}
        np.savez(buffer, **named)
        self._connection.send_bytes(buffer.getvalue())

    def receive_arrays(self) -> dict[str, np.ndarray]:
        with np.load(io.BytesIO(self._connection.recv_bytes()), allow_pickle=False) as saved:
            return dict(saved)


def to_plain(value: Any) -> Any:
    """``value``, of dataclasses, tuples, arrays and numbers, as JSON can hold it."""
    if dataclasses.is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


def from_plain(kind: Any, value: Any) -> Any:
    """The value of type ``kind`` that `to_plain` made ``value`` of.

    Raises:
        TypeError: ``value`` is none, or a field is unknown.
    """
    options = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    for option in options:
        if _fits(option, value):
            return _build(option, value)
    raise TypeError(f"{value!r} is no {kind}")


def _fits(kind: Any, value: Any) -> bool:
    """Whether ``value`` has the form of a ``kind``; its content is not looked at."""
    if dataclasses.is_dataclass(kind):
        return isinstance(value, dict)
    if kind is np.ndarray or typing.get_origin(kind) is tuple:
        return isinstance(value, list)
    if kind is float:
        return isinstance(value, float | int) and not isinstance(value, bool)
    return type(value) is kind


def _build(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        if unknown := set(value) - set(hints):
            raise TypeError(f"{kind} has no field {', '.join(sorted(unknown))}")
        return typing.cast(Any, kind)(**{name: from_plain(hints[name], item) for name, item in value.items()})
    if kind is np.ndarray:
        return np.array(value)
    if typing.get_origin(kind) is tuple:
        kinds = typing.get_args(kind)
        each = (kinds[0],) * len(value) if kinds[-1] is ... else kinds
        return tuple(from_plain(part, item) for part, item in zip(each, value, strict=True))
    return float(value) if kind is float else value
