"""The journal of a running episode: an append-only file of CRC-framed steps.

Each step is one frame, written by one ``write``: ``magic (4) | u32 payload length | u32 CRC-32 | payload (blob)``. A
process killed at any instant leaves whole frames and at most one torn frame at the end, which `scan` recognises by its
length or checksum. The first frame also carries the first reading and what is known of the episode; every frame carries
the *next* reading, so that readings are written once. Arrays of a reading have the names of `robot_rl.data.columns`,
with ``next_`` before those of the next one.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robot_rl.contract import Ending, Reading, Step
from robot_rl.data.blob import Blob, BlobError, decode, encode
from robot_rl.data.columns import (
    FEATURE,
    IMAGE,
    NUMBERS,
    SOMETIMES,
    is_observed,
    missing_shape,
    pose_to_row,
    reading_to_row,
    stack_rows,
)
from robot_rl.data.schema import StoreError, StoreSchema

MAGIC = b"RRJ2"
NEXT = "next_"
_FRAME = struct.Struct("<4sII")
_UNBOUNDED = "budget"  # may be infinite


class Scan(NamedTuple):
    """Whole frames of a journal, the offset behind the last one, and what follows them if not nothing."""

    records: list[Blob]
    end: int
    problem: str
    torn: bool = False  # what follows is the beginning of a frame and nothing else


def frame(payload: bytes) -> bytes:
    return _FRAME.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


def scan(data: bytes, limit: int | None = None) -> Scan:
    """Read whole frames from the start of ``data``, at most ``limit``; stops at the first that is torn or damaged."""
    records: list[Blob] = []
    offset = 0
    while offset < len(data) and (limit is None or len(records) < limit):
        if len(data) - offset < _FRAME.size:
            return Scan(records, offset, f"{len(data) - offset} bytes of a torn frame header", True)
        magic, length, checksum = _FRAME.unpack_from(data, offset)
        start = offset + _FRAME.size
        payload = memoryview(data)[start : start + length]
        if magic != MAGIC:
            return Scan(records, offset, f"{len(data) - offset} bytes that are no frame")
        if len(payload) < length:
            return Scan(records, offset, f"a torn frame ({len(payload)} of {length} bytes)", True)
        if zlib.crc32(payload) != checksum:
            return Scan(records, offset, f"a frame with a wrong checksum, {len(data) - offset} bytes before the end")
        try:
            records.append(decode(payload))
        except BlobError as error:
            return Scan(records, offset, f"a frame that cannot be decoded ({error})")
        offset = start + length
    return Scan(records, offset, "")


def salvage(data: bytes) -> Scan:
    """Whole frames anywhere in ``data``, those behind a damaged one included; the end is that of the data."""
    records: list[Blob] = []
    problem, offset = "", 0
    while offset >= 0:
        found = scan(data[offset:])
        records += found.records
        problem = problem or found.problem
        offset = data.find(MAGIC, offset + found.end + 1) if found.problem else -1
    return Scan(records, len(data), problem)


def step_to_frame(step: Step, number: int, schema: StoreSchema, opening: Mapping[str, Any] | None) -> bytes:
    """One step as a frame. ``opening``: what is known of the episode, given with the first step only.

    Raises `StoreError` when the step does not fit the schema or is not finite.
    """
    arrays: dict[str, np.ndarray] = {}
    if opening is not None:
        _put_reading(arrays, "", step.reading, schema)
    _put_reading(arrays, NEXT, step.next_reading, schema)
    arrays["action"] = _numbers("action", np.asarray(step.action, np.float32), (schema.action_size,))
    arrays["policy_action"] = _numbers(
        "policy_action", np.asarray(step.policy_action, np.float32), (schema.action_size,)
    )
    arrays["target"] = pose_to_row(step.target)
    header: dict[str, Any] = {
        "step": number,
        "reward": float(step.outcome.reward),
        "ending": step.outcome.ending.value,
        "reason": step.outcome.reason,
        "source": int(step.source),
        "decision_ms": float(step.timing.decision_ms),
        "period_ms": float(step.timing.period_ms),
        "version": int(step.timing.version),
        "late": bool(step.timing.late),
        "cost": float(step.cost),
    }
    if opening is not None:
        header["opening"] = dict(opening)
    try:
        return frame(encode(header, arrays))
    except BlobError as error:
        raise StoreError(f"step {number} cannot be recorded: {error}") from error


def records_to_columns(records: Sequence[Blob], before: Blob | None = None) -> dict[str, np.ndarray]:
    """Columns over consecutive steps, as `robot_rl.data.columns` names them.

    ``before`` is the record just before ``records[0]``, needed unless that is the episode's first.
    """
    first = records[0].arrays if before is None else {_now(name): a for name, a in _next(before).items()}
    instants = [first, *({_now(name): array for name, array in _next(record).items()} for record in records)]
    observed = dict.fromkeys(name for instant in instants for name in instant if is_observed(name))
    headers = [record.header for record in records]

    def noted(name: str, dtype: type) -> np.ndarray:
        return np.array([header[name] for header in headers], dtype=dtype)

    endings = [Ending(header["ending"]) for header in headers]
    return {
        **{name: stack_rows(name, [instant.get(name) for instant in instants]) for name in observed},
        **{name: np.stack([record.arrays[name] for record in records]) for name in ("target", "action")},
        "policy_action": np.stack([record.arrays["policy_action"] for record in records]),
        "reward": noted("reward", np.float32),
        "terminated": np.array([ending in (Ending.SUCCESS, Ending.FAILURE) for ending in endings], bool),
        "truncated": np.array([ending in (Ending.TIMEOUT, Ending.ABORTED) for ending in endings], bool),
        "source": noted("source", np.uint8),
        "version": noted("version", np.int64),
        "cost": noted("cost", np.float32),
        "decision_ms": noted("decision_ms", np.float32),
        "period_ms": noted("period_ms", np.float32),
        "late": noted("late", bool),
    }


class JournalFile:
    """The writing end of a file of frames. Creates it with its first frame, so a journal never lacks its opening.

    Args:
        resume: go on with a file that is there; otherwise that is an error.
    """

    def __init__(self, path: Path, resume: bool = False) -> None:
        self.path = path
        self._flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if resume else os.O_EXCL)
        self._fd = -1
        self._end = 0

    def append(self, data: bytes) -> None:
        """Write one frame. Raises `StoreError`, leaving the file as it was, when the disk does not take it."""
        try:
            if self._fd < 0:
                self._fd = os.open(self.path, self._flags, 0o644)
                self._end = os.fstat(self._fd).st_size
            if (written := os.write(self._fd, data)) != len(data):
                os.ftruncate(self._fd, self._end)
                raise StoreError(f"{self.path}: only {written} of {len(data)} bytes fit; free space on this disk")
        except OSError as error:
            raise StoreError(f"{self.path}: not recorded: {error.strerror}") from error
        self._end += len(data)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _next(record: Blob) -> dict[str, np.ndarray]:
    return {name: array for name, array in record.arrays.items() if name.startswith(NEXT)}


def _now(name: str) -> str:
    return name.removeprefix(NEXT)


def _numbers(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.shape != shape:
        raise StoreError(f"{name} has shape {array.shape}; this store takes {shape}")
    if np.isnan(array).any() or (name != _UNBOUNDED and not np.isfinite(array).all()):
        raise StoreError(f"{name} is not finite: {array}")
    return array


def _put_reading(arrays: dict[str, np.ndarray], prefix: str, reading: Reading, schema: StoreSchema) -> None:
    for name, row in reading_to_row(reading).items():
        if name in NUMBERS:
            _numbers(name, row, NUMBERS[name])
        elif name.startswith(SOMETIMES):
            _numbers(name, row, missing_shape(name))
        elif name.startswith((IMAGE, FEATURE)):
            continue
        arrays[f"{prefix}{name}"] = row
    if schema.force_sensor and reading.sensed is None:
        raise StoreError("sensed: this store takes what a force–torque sensor measures, the step has none")
    for name, (height, width) in schema.images.items():
        image = reading.images.get(name)
        if image is None or image.shape != (height, width, 3) or image.dtype != np.uint8:
            found = "none" if image is None else f"{image.dtype} {image.shape}"
            raise StoreError(f"image {name!r}: this store takes uint8 ({height}, {width}, 3), the step has {found}")
        arrays[f"{prefix}{IMAGE}{name}"] = image
    for name, size in schema.features.items():
        grid = reading.features.get(name)
        if grid is None or grid.shape != size or grid.dtype != np.float16:
            found = "none" if grid is None else f"{grid.dtype} {grid.shape}"
            raise StoreError(f"features of camera {name!r}: this store takes float16 {size}, the step has {found}")
        arrays[f"{prefix}{FEATURE}{name}"] = _numbers(f"{FEATURE}{name}", grid, size)
