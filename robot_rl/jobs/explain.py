"""One setting in words: ``robot-rl config learner.utd``."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from robot_rl.contract.ranges import hints, shown, wanted
from robot_rl.contract.settings import ConfigError, nearest, plain_value

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

COMMENT = re.compile(r"^    ([a-z_]\w*): .*  # (.*)$", re.MULTILINE)
ENTRY = re.compile(r"([a-z_]\w*(?:, [a-z_]\w*)*): (.*)")  # of a docstring's attributes


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
    if described := described_fields(type(group)).get(last):
        lines.append(f"  {described}")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        lines += _keys(key, value)
    else:
        lines.append(f"  may be: {wanted(hints(type(group))[last])}")
    return "\n".join(lines) + "\n"


def described_fields(kind: type) -> dict[str, str]:
    """Field → its text in the attributes of the docstring of ``kind``, on one line, or the comment beside it."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        found |= {match[1]: match[2] for match in COMMENT.finditer(inspect.getsource(base))}
    names: list[str] = []
    _, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    for line in attributes.splitlines():
        if line and not line.startswith(" "):
            break  # the section is over
        entry = ENTRY.fullmatch(line.strip()) if len(line) - len(line.lstrip()) == 4 else None
        if entry is not None:
            names = entry[1].split(", ")
            found |= dict.fromkeys(names, entry[2])
        elif line.strip():
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def _keys(key: str, group: DataclassInstance) -> Iterator[str]:
    described = described_fields(type(group))
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
