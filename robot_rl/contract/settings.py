"""Settings: values from YAML and ``key=value`` put over dataclasses, and these as plain values.

Defaults live in the dataclasses beside the code that uses them. An unknown key is an error that names the nearest one.
Values are read by the annotations of the dataclasses (`robot_rl.contract.ranges`); what a constructor refuses besides
comes out as the same error.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import yaml

from robot_rl.contract.files import write_atomically
from robot_rl.contract.ranges import RangeError, converted, hints, misfit, shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")
Made = TypeVar("Made")

LONGEST = 300  # characters of what a library says, in a message of one line
# The errors of constructors that are given values they cannot use.
REFUSALS = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError)


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key, the value and what would fit."""


def nested(overrides: Sequence[str]) -> dict[str, object]:
    """``["learner.utd=4"]`` as ``{"learner": {"utd": 4}}``; of two for the same key, the later one."""
    values: dict[str, object] = {}
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise ConfigError(f"override {shown(override)} must have the form key=value, e.g. learner.utd=4")
        *groups, last = key.split(".")
        group = values
        for name in groups:
            inner = group.get(name)
            if not isinstance(inner, dict):
                group[name] = inner = {}
            group = inner
        try:
            group[last] = read_yaml(text) if text else ""
        except ValueError as error:
            raise ConfigError(f"{shown(override)[1:-1]} has a value that is no YAML: {error}") from error
    return values


def read_mapping(path: Path) -> dict[str, object]:
    """The keys and values of a YAML file. Raises `ConfigError` naming it."""
    try:
        values = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {_one_line(error)}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must be a mapping of keys to values, not {type(values).__name__}")
    return values


def read_yaml(text: str) -> object:
    """The value that ``text`` is, in YAML. Raises ValueError, in one line, for what it is not."""
    try:
        value = yaml.load(text, _Loader)
        json.dumps(value, skipkeys=True, default=repr)  # which refuses what contains itself
    except (yaml.YAMLError, RecursionError, *REFUSALS) as error:
        raise ValueError(_one_line(error)) from error
    return value


def write_yaml(path: Path, values: Mapping[str, object]) -> None:
    """Replace the file at ``path`` so that `read_mapping` gives ``values`` back."""
    write_atomically(path, yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False).encode())


def plain(config: DataclassInstance) -> dict[str, object]:
    """A configuration as dicts, lists and scalars."""
    return {field.name: plain_value(getattr(config, field.name)) for field in dataclasses.fields(config)}


def plain_value(value: object) -> object:
    """A value of a configuration as dicts, lists and scalars."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(value)
    if isinstance(value, Mapping):
        return {key: plain_value(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain_value(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def put_over(config: Settings, values: Mapping[str, object], prefix: str = "") -> Settings:
    """``config``, a dataclass, with ``values`` put over it; ``prefix`` is of its keys. Raises `ConfigError`."""
    changes = _read(type(config), values, prefix, config)
    return _made(lambda: dataclasses.replace(config, **changes), prefix)


def make_settings(kind: type[Settings], values: Mapping[str, object], prefix: str = "") -> Settings:
    """A ``kind``, a dataclass, of ``values`` and its defaults. Raises `ConfigError`."""
    changes = _read(kind, values, prefix, None)
    return _made(lambda: kind(**changes), prefix)


def nearest(name: str, names: Sequence[str], prefix: str = "") -> str:
    """A hint at the name that may be meant; empty when none is near."""
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {prefix}{near[0]}?" if near else ""


def _read(
    kind: type[DataclassInstance], values: Mapping[str, object], prefix: str, current: DataclassInstance | None
) -> dict[str, object]:
    """Field → value as its annotation says, of those that ``values`` has."""
    known = hints(kind)
    changes = {}
    for key, value in values.items():
        if key not in known:
            name = shown(f"{prefix}{key}")[1:-1] or "''"
            hint = nearest(str(key), sorted(known), prefix)
            raise ConfigError(f"unknown key {name}{hint} (valid: {', '.join(sorted(known))})")
        old = getattr(current, key) if current is not None else None
        changes[key] = _value(f"{prefix}{key}", value, known[key], old)
    return changes


def _value(name: str, value: object, hint: object, old: object) -> object:
    kinds = [kind for kind in typing.get_args(hint) or (hint,) if isinstance(kind, type)]
    group = next(filter(dataclasses.is_dataclass, kinds), None)
    if group is not None and typing.get_origin(hint) is tuple:
        if not (isinstance(value, list) and all(isinstance(item, dict) for item in value)):
            raise ConfigError(f"{name} is a list of groups of keys, not {shown(value)}")
        return tuple(make_settings(group, item, f"{name}[{index}].") for index, item in enumerate(value))
    if group is not None and (value is not None or type(None) not in kinds):
        if not isinstance(value, dict):
            raise ConfigError(f"{name} is a group of keys ({name}.<key>=value), not {shown(value)}")
        if dataclasses.is_dataclass(old) and not isinstance(old, type):
            return put_over(old, value, f"{name}.")
        return make_settings(group, value, f"{name}.")
    if isinstance(old, Mapping):
        if not isinstance(value, dict):
            raise ConfigError(f"{name} is a group of keys ({name}.<key>=value), not {shown(value)}")
        return {**old, **value}
    try:
        return converted(value, hint)
    except (ValueError, ArithmeticError) as error:
        raise ConfigError(misfit(name, value, hint)) from error


def _made(make: Callable[[], Made], prefix: str) -> Made:
    """The result of a constructor; its refusals become errors that name the group."""
    try:
        return make()
    except RangeError as error:
        raise ConfigError(f"{prefix}{error}") from error
    except REFUSALS as error:
        raise ConfigError(f"{prefix.rstrip('.') or 'configuration'}: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    """The message of an error; a parser's without the text that it points into."""
    text = " ".join(str(getattr(error, "problem", None) or error).split()) or type(error).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


class _Loader(yaml.SafeLoader):
    """YAML with the numbers of its version 1.2: 1e4 is one, 010 (eight), 1:30 (ninety) and dates are text."""


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads: text that looks like one of its numbers is quoted."""


_INT, _FLOAT, _DATE = (f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp"))
_DIGITS = list("-+0123456789.")  # that a number may begin with
for _kind in (_Loader, _Dumper):
    _kind.yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in forms if tag not in (_INT, _FLOAT, _DATE)]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _kind.add_implicit_resolver(_INT, re.compile(r"([-+]?(0|[1-9][0-9_]*)|0x[0-9a-fA-F]+)\Z"), _DIGITS)
    _kind.add_implicit_resolver(
        _FLOAT,
        re.compile(r"([-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)\Z"),
        _DIGITS,
    )
