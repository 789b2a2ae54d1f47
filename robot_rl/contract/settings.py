"""Settings: values from YAML and ``key=value`` put over dataclasses, and these as plain values.

Defaults live in the dataclasses beside the code that uses them. An unknown key is an error that names the nearest one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any

import yaml

from robot_rl.contract.ranges import RangeError


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key, the value and what would fit."""


def nested(overrides: list[str] | tuple[str, ...]) -> dict[str, Any]:
    """``["learner.utd=4"]`` as ``{"learner": {"utd": 4}}``; of two for the same key, the later one."""
    values: dict[str, Any] = {}
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise ConfigError(f"override {override!r} must have the form key=value, e.g. learner.utd=4")
        *groups, last = key.split(".")
        group = values
        for name in groups:
            if not isinstance(group.get(name), dict):
                group[name] = {}
            group = group[name]
        try:
            group[last] = yaml.safe_load(text) if text else ""
        except yaml.YAMLError as error:
            raise ConfigError(f"override {override!r} has a value that is no YAML: {error}") from error
    return values


def plain(value: Any) -> Any:
    """A configuration as dicts, lists and scalars."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def put_over(config: Any, values: dict[str, Any], prefix: str) -> Any:
    """``config`` with ``values`` put over it, checked key by key."""
    hints = typing.get_type_hints(type(config))
    known = {f.name for f in dataclasses.fields(config)}
    changes = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if key not in known:
            nearest = difflib.get_close_matches(str(key), sorted(known), n=1)
            hint = f"; did you mean {prefix}{nearest[0]}?" if nearest else ""
            raise ConfigError(f"unknown key {name}{hint} (valid: {', '.join(sorted(known))})")
        current = getattr(config, key)
        if dataclasses.is_dataclass(current) or isinstance(current, Mapping):
            if not isinstance(value, dict):
                raise ConfigError(f"{name} is a group of keys ({name}.<key>=value), not {value!r}")
            changes[key] = (
                {**current, **value} if isinstance(current, Mapping) else put_over(current, value, f"{name}.")
            )
        else:
            changes[key] = coerce(name, value, hints[key])
    try:
        return dataclasses.replace(config, **changes)
    except RangeError as error:
        raise ConfigError(f"{prefix}{error}") from error
    except ValueError as error:
        raise ConfigError(f"{prefix.rstrip('.') or 'configuration'}: {error}") from error


def coerce(name: str, value: Any, hint: Any) -> Any:
    """``value`` as the type ``hint``, or a `ConfigError` that names ``name``, the value and the type wanted."""
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        *others, hint = options = tuple(option for option in options if option is not type(None))
        if not others:
            return coerce(name, value, hint)
        for option in options:
            with contextlib.suppress(ConfigError):
                return coerce(name, value, option)
        raise ConfigError(f"{name}={value!r} must be {' or '.join(map(_wanted, options))}")
    if origin is typing.Literal:
        if value in typing.get_args(hint):
            return value
        raise ConfigError(f"{name}={value!r} is unknown; choose from {', '.join(map(str, typing.get_args(hint)))}")
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, dict):
        try:
            return hint(**value)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{name}={value!r}: {error}") from error
    if origin is tuple and isinstance(value, list | tuple | str | int) and not isinstance(value, bool):
        kind = typing.get_args(hint)[0]
        items = str(value).split(",") if isinstance(value, str | int) else value
        if kind in (int, float):
            items = [yaml.safe_load(item) if isinstance(item, str) else item for item in items]
        return tuple(coerce(name, item, kind) for item in items if item not in ("", None))
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):  # YAML takes 1e-3 for text
            return float(value)
    if hint is str and isinstance(value, str | int | float):
        return str(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{name}={value!r} must be {_wanted(hint)}")


def _wanted(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(map(repr, typing.get_args(hint)))
    return f"of type {getattr(hint, '__name__', hint)}"
