"""The journal: framing, torn tails, damage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.data.blob import BlobError, decode, encode
from robot_rl.data.journal import JournalFile, records_to_columns, scan, step_to_frame
from robot_rl.data.schema import StoreError
from tests.robot_rl.recording import PIXELS, SCHEMA, steps


def frames(count: int) -> list[bytes]:
    opening = {"episode": 0, "meta": {}}
    return [step_to_frame(s, i, SCHEMA, opening if i == 0 else None) for i, s in enumerate(steps(count))]


def test_blob_round_trip_keeps_dtype_shape_and_bits() -> None:
    arrays = {
        "f": np.float32([[1.5, -0.0], [np.inf, 3.0]]),
        "i": np.int64([-(2**60)]),
        "b": np.array([True, False]),
        "empty": np.zeros((0, 3), np.uint8),
        "scalar": np.array(2.5),
    }
    header, back = decode(encode({"name": "käse", "list": [1, None]}, arrays))
    assert header == {"name": "käse", "list": [1, None]}
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype and back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


def test_blob_refuses_objects_and_not_a_number_in_the_header() -> None:
    with pytest.raises(BlobError, match="dtype object"):
        encode({}, {"a": np.array([{}])})
    with pytest.raises(BlobError, match="JSON"):
        encode({"reward": float("nan")}, {})


@given(st.binary(max_size=200))
def test_random_bytes_never_decode_to_something_else_than_an_error(data: bytes) -> None:
    with pytest.raises(BlobError):
        decode(data)


def test_every_cut_of_a_journal_yields_the_whole_frames_before_it() -> None:
    parts = frames(3)
    data = b"".join(parts)
    ends = np.cumsum([len(part) for part in parts])
    for cut in range(len(data) + 1):
        found = scan(data[:cut])
        whole = int((ends <= cut).sum())
        assert len(found.records) == whole
        assert found.end == (ends[whole - 1] if whole else 0)
        assert bool(found.problem) == (found.end != cut)


@given(st.data())
def test_a_flipped_bit_is_never_read(data: st.DataObject) -> None:
    parts = frames(3)
    raw = bytearray(b"".join(parts))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= 1 << data.draw(st.integers(0, 7))
    hit = int(np.searchsorted(np.cumsum([len(p) for p in parts]), position, side="right"))
    found = scan(bytes(raw))
    assert len(found.records) == hit
    assert found.problem


def test_columns_in_two_parts_equal_columns_in_one() -> None:
    records = scan(b"".join(frames(5))).records
    whole = records_to_columns(records)
    tail = records_to_columns(records[2:], before=records[1])
    assert tail.keys() == whole.keys() >= {"pose", "objects/peg", "signals/person", "target", "cost"}
    for name in whole:
        assert np.array_equal(tail[name], whole[name][2:]), name


def test_a_step_that_does_not_fit_is_named() -> None:
    (step,) = steps(1)
    with pytest.raises(StoreError, match=r"image 'wrist'.*uint8 \(4, 6, 3\).*none"):
        step_to_frame(step, 0, PIXELS, None)
    step.next_reading.wrench[0] = np.nan
    with pytest.raises(StoreError, match="wrench is not finite"):
        step_to_frame(step, 0, SCHEMA, None)


def test_a_failed_write_says_what_to_do(tmp_path) -> None:
    journal = JournalFile(tmp_path / "missing" / "000000.journal")
    with pytest.raises(StoreError, match="not recorded"):
        journal.append(b"x")
