"""Records in memory that two processes share, each with exactly one writer, so that neither side waits for the other.

A record is under a *sequence lock*: the writer makes the version odd, writes, makes it even; a reader copies, and tries
again when the version was odd or changed meanwhile. A ring keeps the last records and counts all that were ever
written; a reader that falls behind loses the oldest. (Both rely on stores becoming visible in order, as on x86.)
"""

from __future__ import annotations

import mmap
import time

import numpy as np

from hardware.interfaces import HardwareError

LOOKS = 50  # at one and the same write, before it counts as given up


class MailboxError(HardwareError):
    """A record stayed half-written: its writer ended, or was stopped, in the middle of a write."""


class SequencedRecord:
    """One record of ``dtype`` under a sequence lock, at ``offset`` in ``buffer``. One writer, any number of readers."""

    HEADER = 64  # the version on a cache line of its own

    def __init__(self, buffer: mmap.mmap, offset: int, dtype: np.dtype) -> None:
        self._version = memoryview(buffer)[offset : offset + 8].cast("Q")
        self._record = np.frombuffer(buffer, dtype, 1, offset + self.HEADER)

    @staticmethod
    def size(dtype: np.dtype) -> int:
        return SequencedRecord.HEADER + dtype.itemsize

    @property
    def version(self) -> int:
        """Changes with every write; odd while one is under way."""
        return self._version[0]

    def view(self, field: str) -> np.ndarray:
        """Writable view of one field, for the writer to fill between `begin` and `end`; scalars have shape ``(1,)``."""
        values = self._record[field]
        return values[0] if values.ndim > 1 else values

    def begin(self) -> None:
        self._version[0] = self._version[0] | 1

    def end(self) -> None:
        self._version[0] = (self._version[0] | 1) + 1

    def try_read(self) -> tuple[int, np.void] | None:
        """The version and a consistent copy of the record, or None when a write got in the way."""
        before = self._version[0]
        if before & 1:
            return None
        record = self._record.copy()
        return (before, record[0]) if self._version[0] == before else None

    def read(self, timeout: float = 0.2) -> np.void:
        """A consistent copy, trying again while there is a writer.

        Raises `MailboxError` when one write has been under way for ``timeout`` [s] and for `LOOKS` looks: a reader that
        was held up itself has seen nothing.
        """
        version, since, looks = self.version, time.monotonic(), 0
        while (found := self.try_read()) is None:
            looks += 1
            if self.version != version:
                version, since, looks = self.version, time.monotonic(), 0
            elif version & 1 and looks >= LOOKS and time.monotonic() - since > timeout:
                raise MailboxError(
                    "the process that writes a record stopped in the middle of a write; disconnect, connect again"
                )
            time.sleep(20e-6)
        return found[1]


class Ring:
    """The last ``capacity`` records of ``dtype``, at ``offset`` in ``buffer``. One writer, any number of readers."""

    HEADER = 64

    def __init__(self, buffer: mmap.mmap, offset: int, dtype: np.dtype, capacity: int) -> None:
        self._capacity = capacity
        self._written = memoryview(buffer)[offset : offset + 8].cast("Q")
        self._records = np.frombuffer(buffer, dtype, capacity, offset + self.HEADER)

    @staticmethod
    def size(dtype: np.dtype, capacity: int) -> int:
        return Ring.HEADER + dtype.itemsize * capacity

    @property
    def written(self) -> int:
        """How many records were ever appended."""
        return self._written[0]

    def append(self, record: tuple[object, ...]) -> None:
        written = self._written[0]
        self._records[written % self._capacity] = record
        self._written[0] = written + 1

    def since(self, position: int) -> tuple[np.ndarray, int]:
        """Records from number ``position`` on, oldest first, and the position to go on from.

        One that was overwritten, also while copying, is left out: a record is either returned whole or not at all.
        """
        end = self._written[0]
        start = max(position, end - self._capacity)
        records = self._records[np.arange(start, end) % self._capacity]
        # The writer may be filling the slot of number `written` now, which is that of `written - capacity`.
        lost = max(0, self._written[0] - self._capacity + 1 - start) if end > start else 0
        return records[lost:], end


class FloatRing(Ring):
    """A ring whose records hold nothing but ``f8``, filled from arrays in one go."""

    def __init__(self, buffer: mmap.mmap, offset: int, dtype: np.dtype, capacity: int) -> None:
        super().__init__(buffer, offset, dtype, capacity)
        self._rows = self._records.view(np.float64).reshape(capacity, -1)

    def append_parts(self, parts: tuple[np.ndarray, ...]) -> None:
        """Append the record that the one-dimensional ``parts`` make up, in the order of the fields."""
        written = self._written[0]
        np.concatenate(parts, out=self._rows[written % self._capacity])
        self._written[0] = written + 1
