"""Arrays as bytes: what comes out is what went in, or an error; and the inside is a file of safetensors."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load

from robot_rl.contract.tensors import HEADER, TensorError, pack_tensors, unpack_tensors

MAGIC = b"RRT1"
META = {"version": 3, "names": ["é", None], "nested": {"a": [1.5, True]}}
ARRAYS = {
    "['actor']['w']": np.arange(6.0, dtype=np.float32).reshape(2, 3).T,
    "scalar": np.array(7, np.uint32),
    "none": np.zeros((0, 4), np.float64),
    "flags": np.array([True, False]),
    "half": np.ones(3, np.float16),
    "big-endian": np.arange(3, dtype=">i4"),
}
DATA = pack_tensors(MAGIC, META, ARRAYS)


def test_what_comes_out_is_what_went_in() -> None:
    meta, arrays = unpack_tensors(MAGIC, memoryview(DATA))
    assert meta == META and arrays.keys() == ARRAYS.keys()
    for name, array in arrays.items():
        assert array.dtype == ARRAYS[name].dtype.newbyteorder("=") and array.shape == ARRAYS[name].shape
        np.testing.assert_array_equal(array, ARRAYS[name])


def test_other_programs_read_the_inside() -> None:
    np.testing.assert_array_equal(load(DATA[HEADER:])["half"], ARRAYS["half"])


def test_the_same_values_are_the_same_bytes() -> None:
    assert pack_tensors(MAGIC, META, dict(reversed(ARRAYS.items()))) == DATA


@pytest.mark.parametrize(
    ("meta", "arrays"),
    [
        ({}, {"o": np.array([object()])}),
        ({}, {"s": np.array(["text"])}),
        ({"x": float("nan")}, {}),
        ({"x": object()}, {}),
    ],
)
def test_what_cannot_be_stored_is_refused(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(TensorError, match="cannot be stored"):
        pack_tensors(MAGIC, meta, arrays)


def test_another_kind_is_told_from_damage() -> None:
    with pytest.raises(TensorError, match=r"another kind or version \(they start with b'RRT1'\)"):
        unpack_tensors(b"RRT2", DATA)


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_no_changed_byte_passes(place: int, change: int) -> None:
    damaged = bytearray(DATA)
    damaged[place] ^= change
    with pytest.raises(TensorError):
        unpack_tensors(MAGIC, bytes(damaged))


@given(st.integers(0, len(DATA) - 1))
def test_no_part_passes(length: int) -> None:
    with pytest.raises(TensorError):
        unpack_tensors(MAGIC, DATA[:length])


@given(st.binary(max_size=80) | st.integers(0, len(DATA)).map(lambda cut: DATA[HEADER : HEADER + cut]))
def test_bytes_with_a_right_checksum_that_are_no_tensors_are_refused(body: bytes) -> None:
    """As another program might write them: the checksum is no reason to trust what is inside."""
    data = MAGIC + hashlib.sha256(body).digest() + body
    if data == DATA:
        return
    with pytest.raises(TensorError):
        unpack_tensors(MAGIC, data)
