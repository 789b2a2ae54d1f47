"""Values as msgpack, with arrays in one of two forms: openpi's (`OPENPI`) and GR00T's (`GROOT`).

Nothing that is read is ever run: only maps, lists, text, bytes, numbers and arrays of plain numbers are; objects,
structured types, complex numbers, dates and msgpack's extensions are refused.

    openpi   {b"__ndarray__": true, b"data": bytes, b"dtype": "<f4", b"shape": [h, a]}
             {b"__npgeneric__": true, b"data": number, b"dtype": "<f4"}
    GR00T    {"__ndarray_class__": true, "as_npy": bytes of an .npy file}
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.lib import format as npy

from robot_rl.contract import ContractError

PLAIN = (bool, int, float, str, bytes, type(None))
KINDS = "biuf"  # of numpy's types: truth values, whole numbers, floats
DTYPE = re.compile(rf"[<>|=]?[{KINDS}]\d{{1,2}}", re.ASCII)
MAX_DIMENSIONS = 8
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
MAX_DEPTH = 16  # of maps and lists in each other


class PackingError(ContractError):
    """Bytes or a value that have no place on the wire."""


class Form(NamedTuple):
    """How arrays are written.

    Attributes:
        write: an array, or a numpy scalar → a map.
        read: a map → the array that it stands for; None where it is only a map.
    """

    write: Callable[[np.ndarray | np.generic], dict[Any, Any]]
    read: Callable[[dict[Any, Any]], np.ndarray | np.generic | None]


def pack(value: object, form: Form) -> bytes:
    """``value`` as msgpack. Raises `PackingError` for what has no place in it."""
    return msgspec.msgpack.encode(_written(value, form, MAX_DEPTH))


def unpack(data: bytes, form: Form) -> Any:
    """The value that ``data`` holds. Raises `PackingError` for what is no msgpack, or may not be read."""
    try:
        value = msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, TypeError) as error:
        raise PackingError(f"{len(data)} bytes are no msgpack: {error}") from error
    return _read(value, form, MAX_DEPTH)


def _written(value: object, form: Form, depth: int) -> object:
    if depth == 0:
        raise PackingError(f"maps and lists lie in each other more than {MAX_DEPTH} deep")
    if isinstance(value, np.ndarray | np.generic):
        _check_kind(value.dtype)
        return form.write(value)
    if isinstance(value, dict):
        return {key: _written(item, form, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_written(item, form, depth - 1) for item in value]
    if not isinstance(value, PLAIN):
        raise PackingError(f"a value of type {type(value).__name__} has no place on the wire")
    return value


def _read(value: object, form: Form, depth: int) -> Any:
    if depth == 0:
        raise PackingError(f"maps and lists lie in each other more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        array = form.read(value)
        return {key: _read(item, form, depth - 1) for key, item in value.items()} if array is None else array
    if isinstance(value, list):
        return [_read(item, form, depth - 1) for item in value]
    if not isinstance(value, PLAIN):
        raise PackingError(f"an extension of msgpack ({type(value).__name__}) is not read")
    return value


def _check_kind(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in KINDS:
        raise PackingError(f"an array of type {dtype} is refused; numbers and truth values are taken")


def _dtype(text: object) -> np.dtype[Any]:
    if not isinstance(text, str) or DTYPE.fullmatch(text) is None:
        raise PackingError(f"an array of type {str(text)[:20]!r} is refused; numbers and truth values are taken")
    try:
        return np.dtype(text)
    except TypeError as error:
        raise PackingError(f"numpy has no type {text!r}") from error


def _openpi_map(value: np.ndarray | np.generic) -> dict[Any, Any]:
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": list(value.shape)}


def _openpi_array(value: dict[Any, Any]) -> np.ndarray | np.generic | None:
    if b"__npgeneric__" in value:
        number = value.get(b"data")
        if not isinstance(number, bool | int | float):
            raise PackingError(f"a numpy scalar holds {type(number).__name__}, not a number")
        try:
            with np.errstate(over="ignore"):
                scalar: np.generic = _dtype(value.get(b"dtype")).type(number)
        except (OverflowError, ValueError) as error:
            raise PackingError(f"a numpy scalar does not fit its type: {error}") from error
        return scalar
    if b"__ndarray__" not in value:
        return None
    dtype, shape, data = _dtype(value.get(b"dtype")), value.get(b"shape"), value.get(b"data")
    if not isinstance(shape, list) or not isinstance(data, bytes):
        raise PackingError("an array needs a list as its shape and bytes as its data")
    return _array(data, dtype, shape)


def _npy_map(value: np.ndarray | np.generic) -> dict[Any, Any]:
    file = io.BytesIO()
    np.save(file, np.asarray(value), allow_pickle=False)
    return {"__ndarray_class__": True, "as_npy": file.getvalue()}


def _npy_array(value: dict[Any, Any]) -> np.ndarray | None:
    if "__ndarray_class__" not in value:
        return None
    data = value.get("as_npy")
    if not isinstance(data, bytes):
        raise PackingError("an array needs the bytes of an .npy file as as_npy")
    file = io.BytesIO(data)
    try:
        version = npy.read_magic(file)
        if version not in HEADERS:
            raise PackingError(
                f"an array is an .npy file of version {version}; {', '.join(map(str, HEADERS))} are read"
            )
        shape, by_columns, dtype = HEADERS[version](file)
    except (ValueError, EOFError, SyntaxError, TypeError, OverflowError, RecursionError) as error:
        raise PackingError(f"an array of {len(data)} bytes is no .npy file: {error}") from error
    _check_kind(dtype)
    return _array(data[file.tell() :], dtype, list(shape), "F" if by_columns else "C")


def _array(data: bytes, dtype: np.dtype[Any], shape: list[Any], order: Literal["C", "F"] = "C") -> np.ndarray:
    if len(shape) > MAX_DIMENSIONS or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise PackingError(f"an array has the shape {str(shape)[:60]}; up to {MAX_DIMENSIONS} sizes are taken")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise PackingError(f"an array of {len(data)} bytes says that it is {tuple(shape)} of {dtype}"[:200])
    return np.frombuffer(data, dtype).reshape(shape, order=order).astype(dtype.newbyteorder("="))


OPENPI = Form(_openpi_map, _openpi_array)
GROOT = Form(_npy_map, _npy_array)
