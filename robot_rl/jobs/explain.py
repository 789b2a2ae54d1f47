"""One setting in words: ``robot-rl config learner.utd``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from robot_rl.contract.explained import explained
from robot_rl.contract.ranges import hints, shown, wanted
from robot_rl.contract.settings import ConfigError, nearest, plain_value

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def explain(root: DataclassInstance, key: str, prefix: str = "") -> str:
    """Value, meaning and choices of ``key`` (``group.group.name``) of the settings ``root``; of a group, all its keys.

    ``prefix`` is of all keys of ``root``. Raises `ConfigError`, with a hint, for a key that there is not.
    """
    value: Any = root
    *path, last = key.split(".")
    for depth, name in enumerate((*path, last)):
        group = value
        if not dataclasses.is_dataclass(group) or isinstance(group, type):
            name = prefix + ".".join(path[:depth])
            raise ConfigError(
                f"{shown(name)[1:-1]} is no group of keys; robot-rl config {shown(name)[1:-1]} explains it"
            )
        names = [field.name for field in dataclasses.fields(group)]
        if name not in names:
            hint = nearest(name, names, "".join((prefix, *(f"{part}." for part in path[:depth]))))
            raise ConfigError(f"unknown key {shown(prefix + key)[1:-1]}{hint} (valid: {', '.join(sorted(names))})")
        value = getattr(group, name)
    lines = [f"{prefix}{key} = {_shown(value)}"]
    if described := explained(type(group)).get(last):
        lines.append(f"  {described}")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        lines += _keys(key, value)
    else:
        lines.append(f"  may be: {wanted(hints(type(group))[last])}")
    return "\n".join(lines) + "\n"


def _keys(key: str, group: DataclassInstance) -> Iterator[str]:
    described = explained(type(group))
    for field in dataclasses.fields(group):
        value = getattr(group, field.name)
        text = described.get(field.name, "").partition(";")[0]
        yield f"  {key}.{field.name} = {_shown(value)}" + (f"   {text}" if text else "")


def _shown(value: Any) -> str:
    """``value`` as it is typed, on one line."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return "…"
    if isinstance(value, str):
        return value or '""'
    return json.dumps(plain_value(value), ensure_ascii=False)
