"""Named arrays and a JSON header as bytes: the encoding of the journal's records.

Layout: ``u32`` header length, UTF-8 JSON header, then the arrays' raw little-endian bytes one after the other. The
header's ``"arrays"`` lists ``[name, dtype, shape]`` in that order. Nothing here executes what it reads (no pickle);
integrity is the business of the frame around it.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

_LENGTH = struct.Struct("<I")
_KINDS = "biuf"  # bool, signed, unsigned, float: what may be stored


class BlobError(ValueError):
    """Bytes that are not a whole blob, or values that cannot be put into one."""


class Blob(NamedTuple):
    """A decoded blob. ``arrays`` are read-only views of the bytes they came from."""

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]


def encode(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Bytes of ``header`` (JSON values) and ``arrays``. Raises `BlobError` on anything else."""
    layout = []
    parts = []
    for name, value in arrays.items():
        array = np.asarray(value, order="C")
        if array.dtype.kind not in _KINDS:
            raise BlobError(f"array {name!r} has dtype {array.dtype}; only numbers and booleans can be stored")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        layout.append([name, array.dtype.str, list(array.shape)])
        parts.append(array.tobytes())
    try:
        text = json.dumps({**header, "arrays": layout}, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise BlobError(f"header cannot be written as JSON: {error}") from error
    return b"".join((_LENGTH.pack(len(text)), text, *parts))


def decode(data: bytes | memoryview) -> Blob:
    """The inverse of `encode`. Raises `BlobError` when the bytes do not add up."""
    view = memoryview(data)
    try:
        (length,) = _LENGTH.unpack_from(view)
        header = json.loads(bytes(view[_LENGTH.size : _LENGTH.size + length]))
        offset = _LENGTH.size + length
        arrays = {}
        for name, text, shape in header.pop("arrays"):
            dtype = np.dtype(text)
            if dtype.kind not in _KINDS or min(shape, default=0) < 0:
                raise BlobError(f"array {name!r} has dtype {text!r} and shape {shape}, which no blob holds")
            count = math.prod(shape)
            arrays[name] = np.frombuffer(view, dtype, count, offset).reshape(shape)
            offset += count * dtype.itemsize
    except (struct.error, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BlobError(f"not a whole blob: {error}") from error
    if offset != len(view):
        raise BlobError(f"blob has {len(view)} bytes where its header accounts for {offset}")
    return Blob(header, arrays)
