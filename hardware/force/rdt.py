"""Raw Data Transfer, the protocol of ATI's Net F/T: bytes, status bits and the configuration page. No I/O.

A request is 8 bytes, big-endian: uint16 0x1234, uint16 command, uint32 number of records (0: until stopped). A record
is 36 bytes: uint32 position in the stream, uint32 count of the measurement, uint32 status, six int32 counts Fx … Tz.
``http://<address>/netftapi2.xml`` says how many counts are one unit of force and of torque, and which units.

Source: ATI, Net F/T User Manual 9620-05-NET FT, sections on RDT, on the XML page and on the system status code.
"""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hardware.interfaces import ForceError

PORT = 49152  # UDP
PAGE = "netftapi2.xml"
HEADER = 0x1234
STOP, START, SET_BIAS = 0x0000, 0x0002, 0x0042
REQUEST = struct.Struct(">HHI")
RECORD = struct.Struct(">III6i")
LIMIT = 2**31 - 1  # count that is as large as a record can say

SATURATED = 1 << 17
WARNINGS = 1 << 16  # a monitor condition that the user has set; measurements are good
STATUS_BITS = {
    1: "HTTP protocol failure",
    2: "internal temperature error",
    3: "reference voltage or power monitoring error",
    4: "no data over the serial link",
    5: "analog board's supply too low",
    6: "analog board's supply too high",
    7: "artificial analog ground out of range",
    8: "too little excitation current of the strain gages",
    9: "too much excitation current of the strain gages",
    10: "analog board's watchdog timed out",
    11: "serial flash failure",
    12: "EEPROM failure",
    13: "stack check error",
    14: "watchdog timed out",
    16: "monitor condition latched",
    17: "saturated, or error of the A/D converter",
    18: "DeviceNet failure",
    19: "EtherNet/IP failure",
    20: "RDT error",
    21: "CAN error",
    22: "network failure",
    23: "configuration and calibration do not fit",
    24: "invalid settings",
    25: "halted by errors of the configuration",
    26: "program memory error",
    27: "serial link error",
}
ANY_ERROR = 1 << 31  # set together with each of the others

FORCE_UNITS = {"N": 1.0, "kN": 1e3, "lbf": 4.4482216152605, "klbf": 4448.2216152605, "kgf": 9.80665}
TORQUE_UNITS = {
    "Nm": 1.0,
    "Nmm": 1e-3,
    "kNm": 1e3,
    "lbfin": 0.1129848290276167,
    "lbfft": 1.3558179483314004,
    "kgfcm": 0.0980665,
}


class Record(NamedTuple):
    """One measurement: position in the stream, count of the measurement, status, and counts ``(6,)``."""

    rdt_sequence: int
    ft_sequence: int
    status: int
    counts: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Scale:
    """``unit (6,)``: force [N] and torque [N·m] of one count; ``limit (6,)``: rated load [N, N·m], inf when unknown."""

    unit: np.ndarray
    limit: np.ndarray

    def wrench(self, counts: tuple[int, ...]) -> np.ndarray:
        """Wrench ``(6,)`` [N, N·m]."""
        return self.unit * np.array(counts, dtype=np.float64)

    def saturated(self, counts: tuple[int, ...]) -> bool:
        """Whether an axis is at its rated load, or at what a record can say."""
        size = np.abs(np.array(counts, dtype=np.int64))
        return bool((size >= LIMIT).any() or (self.unit * size >= self.limit).any())


def request(command: int, records: int = 0) -> bytes:
    """The request ``command`` for so many ``records``; 0 goes on until `STOP`."""
    return REQUEST.pack(HEADER, command, records)


def parse(data: bytes) -> Record | None:
    """The record in a datagram; None when it is none."""
    if len(data) != RECORD.size:
        return None
    rdt_sequence, ft_sequence, status, *counts = RECORD.unpack(data)
    return Record(rdt_sequence, ft_sequence, status, tuple(counts))


def described(status: int) -> str:
    """The status in words; "" when all is well."""
    if not status:
        return ""
    said = [text for bit, text in STATUS_BITS.items() if status >> bit & 1]
    return f"status 0x{status:08x}: {', '.join(said) or 'unknown error'}"


def is_fault(status: int) -> bool:
    """Whether measurements with this ``status`` mean nothing. A saturated one means that the load is large."""
    return bool(status & ~(SATURATED | WARNINGS | ANY_ERROR)) or status == ANY_ERROR


def scale_of(
    counts_per_force: float,
    counts_per_torque: float,
    force_unit: str = "N",
    torque_unit: str = "Nm",
    limit: np.ndarray | None = None,
) -> Scale:
    """Scale of a calibration; ``limit (6,)`` in its units. Raises `ForceError` for what cannot be."""
    torque_name = torque_unit.replace("-", "").replace("·", "")
    if force_unit not in FORCE_UNITS:
        raise ForceError(f"unknown unit of force {force_unit!r}; choose from {', '.join(FORCE_UNITS)}")
    if torque_name not in TORQUE_UNITS:
        raise ForceError(f"unknown unit of torque {torque_unit!r}; choose from {', '.join(TORQUE_UNITS)}")
    for key, counts in (("counts_per_force", counts_per_force), ("counts_per_torque", counts_per_torque)):
        if not (np.isfinite(counts) and counts > 0.0):
            raise ForceError(f"{key}={counts:g} must be positive")
    units = np.repeat((FORCE_UNITS[force_unit], TORQUE_UNITS[torque_name]), 3)
    rated = np.full(6, np.inf) if limit is None else units * limit
    return Scale(units / np.repeat((counts_per_force, counts_per_torque), 3), rated)


def read_page(page: bytes) -> Scale:
    """Scale from the device's configuration page. Raises `ForceError` that names what is missing or does not fit."""
    try:
        root = ElementTree.fromstring(page)
    except ElementTree.ParseError as error:
        raise ForceError(f"{PAGE} is no XML: {error}") from error

    def text(tag: str) -> str:
        return (root.findtext(f".//{tag}") or "").strip()

    if text("comrdte") == "Disabled":
        raise ForceError("RDT is switched off; enable it on the device's page Communications")
    try:
        per_force, per_torque = (float(text(tag)) for tag in ("cfgcpf", "cfgcpt"))
    except ValueError:
        raise ForceError(f"{PAGE} does not say counts per force and torque (cfgcpf, cfgcpt)") from None
    return scale_of(per_force, per_torque, text("scfgfu"), text("scfgtu"), _ratings(text("cfgmr")))


def _ratings(text: str) -> np.ndarray | None:
    """Rated loads ``(6,)`` of the six axes, where the page has them."""
    try:
        ratings = np.array([float(value) for value in text.split(";") if value.strip()])
    except ValueError:
        return None
    return ratings if ratings.shape == (6,) and np.isfinite(ratings).all() and (ratings > 0.0).all() else None
