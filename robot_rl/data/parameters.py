"""Actor parameters as bytes, for the topic between learner and policy: versioned, described and checksummed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from robot_rl.contract.tensors import TensorError, pack_tensors, unpack_tensors

MAGIC = b"RRP2"


class ParameterError(ValueError):
    """Parameters that were damaged on the way, or that belong to something else."""


class Parameters(NamedTuple):
    """``params``: name → array; ``version`` rises with every publication; ``meta``: JSON values (task, sizes, …)."""

    params: dict[str, np.ndarray]
    version: int
    meta: dict[str, Any]


def pack(params: Mapping[str, np.ndarray], version: int, meta: Mapping[str, Any]) -> bytes:
    """Parameters as bytes (see `robot_rl.contract.tensors`). Raises `TensorError` for values that cannot be stored."""
    return pack_tensors(MAGIC, {"version": int(version), "meta": dict(meta)}, params)


def unpack(data: bytes) -> Parameters:
    """The inverse of `pack`. Raises `ParameterError` unless every byte is as it was packed."""
    try:
        found = unpack_tensors(MAGIC, data)
        header: dict[str, Any] = found.meta
        return Parameters(found.arrays, header["version"], header["meta"])
    except (TensorError, KeyError) as error:
        raise ParameterError(f"these are no parameters: {error}") from error
