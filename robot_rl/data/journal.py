"""The journal of a running episode: an append-only file of CRC-framed steps.

Each step is one frame, written by one ``write``: ``magic (4) | u32 payload length | u32 CRC-32 | payload (blob)``. A
process killed at any instant leaves whole frames and at most one torn frame at the end, which `scan` recognises by its
length or checksum. The first frame also carries the first observation and what is known of the episode; every frame
carries the *next* observation, so that observations are written once.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robot_rl.contract import Ending, Observation, Step
from robot_rl.data.blob import Blob, BlobError, decode, encode
from robot_rl.data.schema import StoreError, StoreSchema

MAGIC = b"RRJ1"
_FRAME = struct.Struct("<4sII")


class Scan(NamedTuple):
    """Whole frames of a journal, the offset behind the last one, and what follows them if not nothing."""

    records: list[Blob]
    end: int
    problem: str


def frame(payload: bytes) -> bytes:
    return _FRAME.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


def scan(data: bytes, limit: int | None = None) -> Scan:
    """Read whole frames from the start of ``data``, at most ``limit``; stops at the first that is torn or damaged."""
    records: list[Blob] = []
    offset = 0
    while offset < len(data) and (limit is None or len(records) < limit):
        if len(data) - offset < _FRAME.size:
            return Scan(records, offset, f"{len(data) - offset} bytes of a torn frame header")
        magic, length, checksum = _FRAME.unpack_from(data, offset)
        start = offset + _FRAME.size
        payload = memoryview(data)[start : start + length]
        if magic != MAGIC:
            return Scan(records, offset, f"{len(data) - offset} bytes that are no frame")
        if len(payload) < length:
            return Scan(records, offset, f"a torn frame ({len(payload)} of {length} bytes)")
        if zlib.crc32(payload) != checksum:
            return Scan(records, offset, f"a frame with a wrong checksum, {len(data) - offset} bytes before the end")
        try:
            records.append(decode(payload))
        except BlobError as error:
            return Scan(records, offset, f"a frame that cannot be decoded ({error})")
        offset = start + length
    return Scan(records, offset, "")


def step_to_frame(step: Step, number: int, schema: StoreSchema, opening: Mapping[str, Any] | None) -> bytes:
    """One step as a frame. ``opening``: what is known of the episode, given with the first step only.

    Raises `StoreError` when the step does not fit the schema or is not finite.
    """
    arrays: dict[str, np.ndarray] = {}
    if opening is not None:
        _put_observation(arrays, "", step.observation, schema)
    _put_observation(arrays, "next_", step.next_observation, schema)
    arrays["action"] = _vector("action", step.action, schema.action_size)
    arrays["policy_action"] = _vector("policy_action", step.policy_action, schema.action_size)
    arrays["q"] = _vector("q", step.q, 7)
    for name, pose in step.objects.items():
        arrays[f"objects/{name}"] = np.concatenate((pose.translation, pose.quat_xyzw))
    header: dict[str, Any] = {
        "step": number,
        "stamp_ns": int(step.observation.stamp_ns),
        "next_stamp_ns": int(step.next_observation.stamp_ns),
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
    """Arrays over consecutive steps, named as in an episode (see `robot_rl.data.store`).

    ``before`` is the record just before ``records[0]``, needed unless that is the episode's first.
    """
    first, last = records[0], records[-1]
    images = [name.removeprefix("next_image/") for name in first.arrays if name.startswith("next_image/")]
    headers = [record.header for record in records]

    def observed(name: str) -> np.ndarray:
        start = first.arrays[name] if before is None else before.arrays[f"next_{name}"]
        return np.stack([start, *(record.arrays[f"next_{name}"] for record in records)])

    def taken(name: str) -> np.ndarray:
        return np.stack([record.arrays[name] for record in records])

    def noted(name: str, dtype: type) -> np.ndarray:
        return np.array([header[name] for header in headers], dtype=dtype)

    endings = [Ending(header["ending"]) for header in headers]
    return {
        "state": observed("state"),
        "stamp_ns": np.array([*(header["stamp_ns"] for header in headers), last.header["next_stamp_ns"]], np.int64),
        **{f"image/{name}": observed(f"image/{name}") for name in images},
        "action": taken("action"),
        "policy_action": taken("policy_action"),
        "reward": noted("reward", np.float32),
        "terminated": np.array([ending in (Ending.SUCCESS, Ending.FAILURE) for ending in endings], bool),
        "truncated": np.array([ending in (Ending.TIMEOUT, Ending.ABORTED) for ending in endings], bool),
        "source": noted("source", np.uint8),
        "q": taken("q"),
        **{name: taken(name) for name in first.arrays if name.startswith("objects/")},
        "decision_ms": noted("decision_ms", np.float32),
        "period_ms": noted("period_ms", np.float32),
        "version": noted("version", np.int64),
        "late": noted("late", bool),
        "cost": np.array([header.get("cost", 0.0) for header in headers], np.float32),  # not in earlier journals
    }


class JournalFile:
    """The writing end of a journal. Creates the file with its first frame, so a journal never lacks its opening."""

    def __init__(self, path: Path, fsync: bool = False) -> None:
        self.path = path
        self._fsync = fsync
        self._fd = -1
        self._end = 0

    def append(self, data: bytes) -> None:
        """Write one frame. Raises `StoreError`, leaving the file as it was, when the disk does not take it."""
        try:
            if self._fd < 0:
                self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            if (written := os.write(self._fd, data)) != len(data):
                os.ftruncate(self._fd, self._end)
                raise StoreError(f"{self.path}: only {written} of {len(data)} bytes fit; free space on this disk")
            if self._fsync:
                os.fsync(self._fd)
        except OSError as error:
            raise StoreError(f"{self.path}: step not recorded: {error.strerror}") from error
        self._end += len(data)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _vector(name: str, value: np.ndarray, size: int) -> np.ndarray:
    array = np.asarray(value, dtype=np.float32)
    if array.shape != (size,):
        raise StoreError(f"{name} has shape {array.shape}; this store takes ({size},)")
    if not np.isfinite(array).all():
        raise StoreError(f"{name} is not finite: {array}")
    return array


def _put_observation(arrays: dict[str, np.ndarray], prefix: str, observation: Observation, schema: StoreSchema) -> None:
    arrays[f"{prefix}state"] = _vector("state", observation.state, schema.state_size)
    for name, (height, width) in schema.images.items():
        image = observation.images.get(name)
        if image is None or image.shape != (height, width, 3) or image.dtype != np.uint8:
            found = "none" if image is None else f"{image.dtype} {image.shape}"
            raise StoreError(f"image {name!r}: this store takes uint8 ({height}, {width}, 3), the step has {found}")
        arrays[f"{prefix}image/{name}"] = image
