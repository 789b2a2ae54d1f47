"""msgpack with arrays: openpi's bytes and GR00T's, and all that is refused."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from robot_rl.policies.wire.packing import GROOT, OPENPI, Form, PackingError, pack, unpack

# `VALUE` by openpi-client 0.1.2: ``openpi_client.msgpack_numpy.packb(VALUE)``.
RECORDED = bytes.fromhex(
    "88b16f62736572766174696f6e2f696d61676584c40b5f5f6e6461727261795f5fc3c40464617461c418000102030405060708090a0b0c0d"
    "0e0f1011121314151617c4056474797065a37c7531c405736861706593020403b16f62736572766174696f6e2f737461746584c40b5f5f6e"
    "6461727261795f5fc3c40464617461c40c0000003f0000a0bf00004040c4056474797065a33c6634c40573686170659103a670726f6d7074"
    "b07069636b207570207468652063756265a46761696e83c40d5f5f6e7067656e657269635f5fc3c40464617461cb3fd0000000000000c405"
    "6474797065a33c6634a47374657083c40d5f5f6e7067656e657269635f5fc3c4046461746107c4056474797065a33c6938a4666c6167c3a4"
    "6e6f6e65c0a46c6973749301cb4004000000000000a161"
)
VALUE = {
    "observation/image": np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
    "observation/state": np.array([0.5, -1.25, 3.0], np.float32),
    "prompt": "pick up the cube",
    "gain": np.float32(0.25),
    "step": np.int64(7),
    "flag": True,
    "none": None,
    "list": [1, 2.5, "a"],
}
FORMS = pytest.mark.parametrize("form", [OPENPI, GROOT], ids=["openpi", "groot"])


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, np.ndarray | np.generic):
        return found.dtype == wanted.dtype and np.array_equal(found, wanted)
    return type(found) is type(wanted) and found == wanted


def test_the_bytes_are_those_of_openpis_own_client() -> None:
    assert pack(VALUE, OPENPI) == RECORDED
    assert same(unpack(RECORDED, OPENPI), VALUE)


@FORMS
@given(
    array=arrays.arrays(
        st.sampled_from([np.uint8, np.int64, np.float16, np.float32, np.float64, np.bool_, np.dtype(">f4")]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
        elements={"allow_nan": False},
    )
)
def test_arrays_come_back(form: Form, array: np.ndarray) -> None:
    found = unpack(pack({"a": [array]}, form), form)["a"][0]
    assert found.shape == array.shape
    assert np.array_equal(found, array)


@FORMS
@pytest.mark.parametrize(
    "value",
    [
        np.array([object()]),
        np.array([1j]),
        np.zeros(2, dtype=[("a", "f4")]),
        np.array(["text"]),
        {1, 2},
        object(),
    ],
    ids=["objects", "complex", "structured", "text", "set", "object"],
)
def test_what_is_no_number_is_not_written(form: Form, value: object) -> None:
    with pytest.raises(PackingError):
        pack({"a": value}, form)


def array(**change: object) -> bytes:
    whole = {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": "<f4", b"shape": [2]}
    return msgspec.msgpack.encode(whole | {key.encode(): value for key, value in change.items()})


def npy_bytes(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=True)  # as an attacker would: it has to be refused
    return file.getvalue()


def npy(values: np.ndarray) -> bytes:
    return msgspec.msgpack.encode({"__ndarray_class__": True, "as_npy": npy_bytes(values)})


@pytest.mark.parametrize(
    ("data", "form", "words"),
    [
        (b"\x81\xa1a", OPENPI, "no msgpack"),
        (b"", OPENPI, "no msgpack"),
        (b"\x91" * 100_000, OPENPI, "no msgpack"),
        (b"\x91" * 20 + b"\x01", OPENPI, "deep"),
        (b"\xa2\xff\xff", OPENPI, "no msgpack"),
        (b"\xc7\x01\x05a", OPENPI, "extension"),
        (b"\xd6\xff\x00\x00\x00\x00", OPENPI, "extension"),
        (array(dtype="|O"), OPENPI, r"type '\|O' is refused"),
        (array(dtype="<c8"), OPENPI, "is refused"),
        (array(dtype="f4,f4"), OPENPI, "is refused"),
        (array(dtype="<f3"), OPENPI, "no type"),
        (array(dtype=7), OPENPI, "is refused"),
        (array(shape=[3]), OPENPI, "8 bytes says that it is"),
        (array(shape=[-2]), OPENPI, "has the shape"),
        (array(shape=[1] * 9 + [2]), OPENPI, "has the shape"),
        (array(shape=[2**62, 2**62]), OPENPI, "8 bytes says"),
        (array(shape=2), OPENPI, "needs a list"),
        (array(data="text"), OPENPI, "bytes as its data"),
        (msgspec.msgpack.encode({b"__npgeneric__": True, b"data": 1, b"dtype": "|O"}), OPENPI, "is refused"),
        (msgspec.msgpack.encode({b"__npgeneric__": True, b"data": "1", b"dtype": "<f4"}), OPENPI, "not a number"),
        (msgspec.msgpack.encode({b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}), OPENPI, "does not fit"),
        (npy(np.array([{"a": 1}], dtype=object)), GROOT, "type object is refused"),
        (npy(np.array(["text"])), GROOT, "is refused"),
        (npy(np.zeros(3))[:-1], GROOT, "no msgpack"),
        (msgspec.msgpack.encode({"__ndarray_class__": True, "as_npy": npy_bytes(np.zeros(3))[:-1]}), GROOT, "23 bytes"),
        (msgspec.msgpack.encode({"__ndarray_class__": True, "as_npy": b"\x93NUMPY\x01\x00"}), GROOT, "no .npy file"),
        (msgspec.msgpack.encode({"__ndarray_class__": True, "as_npy": b"PK\x03\x04"}), GROOT, "no .npy"),
        (msgspec.msgpack.encode({"__ndarray_class__": True}), GROOT, "needs the bytes"),
    ],
)
def test_what_may_not_be_read_is_refused_in_words(data: bytes, form: Form, words: str) -> None:
    with pytest.raises(PackingError, match=words):
        unpack(data, form)


@FORMS
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(form: Form, data: bytes) -> None:
    with contextlib.suppress(PackingError):
        unpack(data, form)


@given(cut=st.integers(0, len(RECORDED) - 1), byte=st.integers(0, 255))
def test_damaged_bytes_are_a_value_or_refused(cut: int, byte: int) -> None:
    with contextlib.suppress(PackingError):
        unpack(RECORDED[:cut] + bytes([byte]) + RECORDED[cut + 1 :], OPENPI)
