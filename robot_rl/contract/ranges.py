"""Types of settings: numbers with their bounds, which pydantic checks.

A dataclass of settings annotates its fields with these, or with `Annotated` bounds of its own, and calls `check` when
it is made. `robot_rl.contract.settings` reads files and command lines by the same annotations.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, cast

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import AllowInfNan, BeforeValidator, PydanticSchemaGenerationError, Strict, TypeAdapter, ValidationError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

LARGEST = 2**31 - 1

Count = Annotated[int, Ge(1), Le(LARGEST)]
Natural = Annotated[int, Ge(0), Le(LARGEST)]
Finite = Annotated[float, AllowInfNan(False)]
Positive = Annotated[float, Gt(0), AllowInfNan(False)]
NonNegative = Annotated[float, Ge(0), AllowInfNan(False)]
Share = Annotated[float, Ge(0), Le(1)]
Rate = Annotated[float, Gt(0), Le(1)]
Discount = Annotated[float, Ge(0), Lt(1)]
Seconds = Annotated[float, Ge(0.001), AllowInfNan(False)]
Widths = Annotated[tuple[Count, ...], MinLen(1)]  # of hidden layers

_NAMES = {int: "an integer", float: "a number", str: "text", bool: "true or false", type(None): "null"}
LONGEST = 80  # characters of a value in a message


class RangeError(ValueError):
    """A setting outside its range; the message begins with its name and says the value and what would fit."""


def check(settings: DataclassInstance) -> None:
    """Raises `RangeError` for the first field of the dataclass ``settings`` that is not as its annotation says."""
    for name, hint in hints(type(settings)).items():
        value = getattr(settings, name)
        if not dataclasses.is_dataclass(value) and not fits(value, hint):
            raise RangeError(misfit(name, value, hint))


def hints(kind: type[DataclassInstance]) -> dict[str, object]:
    """Field → annotation of a dataclass, bounds included."""
    found = typing.get_type_hints(kind, include_extras=True)
    return {field.name: found[field.name] for field in dataclasses.fields(kind)}


def converted(value: object, hint: object) -> object:
    """``value`` as ``hint`` says: text and whole numbers as numbers, ``a,b`` as a tuple. Raises ValueError."""
    adapter = _adapter(hint)
    return value if adapter is None else adapter.validate_python(value)


def fits(value: object, hint: object) -> bool:
    """Whether ``value`` is, or can be read as, what ``hint`` says."""
    try:
        converted(value, hint)
    except (ValidationError, ArithmeticError):
        return False
    return True


def misfit(name: str, value: object, hint: object) -> str:
    """One line that names a setting, its value and what would fit."""
    return f"{name}={shown(value)} must be {wanted(hint)}"


def shown(value: object) -> str:
    """``value`` in a message, cut short in its middle where it is long."""
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-LONGEST // 2 :]}"


def wanted(hint: object) -> str:
    """Values of an annotation in words, e.g. "an integer from 1 to 10"."""
    base, *bounds = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
    origin, arguments = typing.get_origin(base), typing.get_args(base)
    if origin in (types.UnionType, typing.Union):
        *most, last = map(wanted, arguments)
        return f"{', '.join(most)} or {last}"
    if origin is Literal:
        return f"{'one of ' if len(arguments) > 1 else ''}{', '.join(map(str, arguments))}"
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            least = any(isinstance(bound, MinLen) for bound in bounds)
            return f"{'one or more values' if least else 'a list'}, each {wanted(arguments[0])}"
        return f"{len(arguments)} values, each {wanted(arguments[0])}"
    text = _NAMES.get(base, f"of type {getattr(base, '__name__', base)}")
    return " ".join(filter(None, (text, _interval(bounds))))


def _interval(bounds: list[object]) -> str:
    low = next((bound for bound in bounds if isinstance(bound, Ge | Gt)), None)
    high = next((bound for bound in bounds if isinstance(bound, Le | Lt)), None)
    if isinstance(low, Ge) and isinstance(high, Le):
        return f"from {low.ge} to {high.le}"
    words = [
        f"of at least {low.ge}" if isinstance(low, Ge) else f"above {low.gt}" if isinstance(low, Gt) else "",
        f"at most {high.le}" if isinstance(high, Le) else f"below {high.lt}" if isinstance(high, Lt) else "",
    ]
    return " and ".join(filter(None, words))


@functools.cache
def _adapter(hint: object) -> TypeAdapter[object] | None:
    """The validator of an annotation; None for what only a constructor can judge, e.g. arrays."""
    try:
        return TypeAdapter(cast("type[object]", _readable(hint)))
    except PydanticSchemaGenerationError:
        return None


def _readable(hint: object) -> object:
    """``hint`` for values as people write them: a bool is no number, a number may be text, ``a,b`` is a tuple."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is bool:
        return Annotated[bool, Strict()]
    if hint in (int, float):
        return Annotated[hint, BeforeValidator(_number)]
    if hint is str:
        return Annotated[str, BeforeValidator(_text)]
    if origin is Annotated:
        return Annotated[_readable(arguments[0]), *arguments[1:]]
    if origin is tuple:
        return Annotated[types.GenericAlias(tuple, tuple(map(_readable, arguments))), BeforeValidator(_items)]
    if origin in (types.UnionType, typing.Union):
        return functools.reduce(operator.or_, map(_readable, arguments))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return Mapping[str, object]
    return hint


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")
    if isinstance(value, str):
        value = float(value)  # one of a list that was written as a,b
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _items(value: object) -> object:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return tuple(item.strip() for item in str(value).split(",") if item.strip())
    return value
