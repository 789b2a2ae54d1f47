"""Actor parameters as bytes, for the topic between learner and policy: versioned, described and checksummed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from robot_rl.data.blob import BlobError, decode, encode

MAGIC = b"RRP1"
_DIGEST = hashlib.sha256().digest_size


class ParameterError(ValueError):
    """Parameters that were damaged on the way, or that belong to something else."""


class Parameters(NamedTuple):
    """``params``: name → array; ``version`` rises with every publication; ``meta``: JSON values (task, sizes, …)."""

    params: dict[str, np.ndarray]
    version: int
    meta: dict[str, Any]


def pack(params: Mapping[str, np.ndarray], version: int, meta: Mapping[str, Any]) -> bytes:
    """``magic | SHA-256 of the rest | blob``. Raises `BlobError` for values that cannot be stored."""
    body = encode({"version": int(version), "meta": dict(meta)}, params)
    return MAGIC + hashlib.sha256(body).digest() + body


def unpack(data: bytes) -> Parameters:
    """The inverse of `pack`. Raises `ParameterError` unless every byte is as it was packed."""
    body = memoryview(data)[len(MAGIC) + _DIGEST :]
    if bytes(data[: len(MAGIC)]) != MAGIC:
        raise ParameterError(f"{len(data)} bytes that are no parameters (they start with {bytes(data[:4])!r})")
    if hashlib.sha256(body).digest() != bytes(data[len(MAGIC) : len(MAGIC) + _DIGEST]):
        raise ParameterError(f"parameters of {len(data)} bytes have a wrong checksum; the last good ones stay in use")
    try:
        header, arrays = decode(body)
        return Parameters(arrays, header["version"], header["meta"])
    except (BlobError, KeyError) as error:
        raise ParameterError(f"parameters cannot be read: {error}") from error
