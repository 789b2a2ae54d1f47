"""Named arrays and JSON values as bytes that are known to be whole: parameters and checkpoints.

``magic (4) | SHA-256 of the rest (32) | safetensors``. The JSON values are the entry ``meta`` of the safetensors'
metadata, so that the part after the first 36 bytes is a file that other programs read. Nothing here executes what it
reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from robot_rl.contract.values import JsonValue

DIGEST = hashlib.sha256().digest_size
HEADER = 4 + DIGEST  # bytes before the safetensors
_LENGTH = 8  # bytes of the length that safetensors begin with
_META = "meta"


class TensorError(ValueError):
    """Values that cannot be stored, or bytes that are not as they were packed."""


class Tensors(NamedTuple):
    """``meta``: JSON values; ``arrays``: name → array."""

    meta: dict[str, JsonValue]
    arrays: dict[str, np.ndarray]


def pack_tensors(magic: bytes, meta: Mapping[str, JsonValue], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Bytes of ``meta`` (JSON values) and ``arrays`` (numbers and booleans). Raises `TensorError` on anything else."""
    contiguous = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in arrays.items()}
    try:
        text = json.dumps(dict(meta), allow_nan=False, separators=(",", ":"))
        body = safetensors.save(contiguous, {_META: text})
    except (TypeError, ValueError, KeyError, SafetensorError) as error:
        raise TensorError(f"cannot be stored: {error}") from error
    return magic + hashlib.sha256(body).digest() + body


def unpack_tensors(magic: bytes, data: bytes | memoryview) -> Tensors:
    """The inverse of `pack_tensors`. Raises `TensorError` unless every byte is as it was packed with ``magic``."""
    view = memoryview(data)
    if bytes(view[: len(magic)]) != magic:
        raise TensorError(f"{len(view)} bytes of another kind or version (they start with {bytes(view[:4])!r})")
    body = bytes(view[HEADER:])
    if hashlib.sha256(body).digest() != bytes(view[len(magic) : HEADER]):
        raise TensorError(f"wrong checksum of {len(view)} bytes")
    try:
        header = json.loads(body[_LENGTH : _LENGTH + int.from_bytes(body[:_LENGTH], "little")])
        return Tensors(json.loads(header["__metadata__"][_META]), safetensors.load(body))
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise TensorError(f"not to be read: {error}") from error
