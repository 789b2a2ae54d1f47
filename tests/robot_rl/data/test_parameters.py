"""Parameters as bytes: every damaged byte is noticed."""

from __future__ import annotations

import numpy as np
import pytest

from robot_rl.data.parameters import ParameterError, pack, unpack

PARAMS = {"w0": np.arange(6, dtype=np.float32).reshape(2, 3), "b0": np.zeros(3, np.float32)}


def test_round_trip() -> None:
    params, version, meta = unpack(pack(PARAMS, 12, {"task": "reach", "axes": ["x", "y"]}))
    assert (version, meta) == (12, {"task": "reach", "axes": ["x", "y"]})
    assert params.keys() == PARAMS.keys()
    assert all(np.array_equal(params[name], PARAMS[name]) for name in PARAMS)


def test_the_same_parameters_are_the_same_bytes() -> None:
    assert pack(PARAMS, 1, {}) == pack(PARAMS, 1, {}) != pack(PARAMS, 2, {})


def test_any_damaged_or_missing_byte_is_refused() -> None:
    data = pack(PARAMS, 1, {"task": "reach"})
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        with pytest.raises(ParameterError):
            unpack(bytes(damaged))
    for length in range(len(data)):
        with pytest.raises(ParameterError):
            unpack(data[:length])
