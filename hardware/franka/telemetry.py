"""Telemetry of the real-time loop's last seconds: the record of a tick, and files of them.

A file is a NumPy archive: ``telemetry`` (a structured array of `TELEMETRY`, oldest first), ``events`` (of `EVENT`),
``reason`` (why it was written) and ``refused`` (what the system did not grant to the real-time process).
"""

from __future__ import annotations

import os
import sys
import time
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from controllers.state import TICK, Event, EventKind
from hardware.interfaces import TelemetryError

DETAIL_BYTES = 240  # longest reason in utf-8

EVENT = np.dtype([("time", "f8"), ("kind", "u1"), ("detail", f"S{DETAIL_BYTES}")])
TELEMETRY = np.dtype(
    [
        ("time", "f8"),  # robot time [s]
        ("period", "f8"),  # wall time since the tick before [s]; 0 in the first tick of a motion
        ("compute", "f8"),  # wall time from the state's arrival to the command's dispatch [s]
        ("success_rate", "f8"),
        ("tank", "f8"),  # [J]
        ("budget", "f8"),  # [J]
        ("activity", "f8"),  # of the passivity filter [s]
        ("mode", "f8"),
        ("torque", "f8", 7),  # commanded in this tick [N·m]
        ("tau_J_d", "f8", 7),  # the last command that the robot had accepted [N·m]
        ("q", "f8", 7),  # [rad]
        ("dq", "f8", 7),  # [rad/s]
        ("wrench", "f8", 6),  # external, on the TCP [N, N·m]
        ("translation", "f8", 3),  # of the TCP [m]
        ("target", "f8", 3),  # where the spring pulls it to [m]
    ]
)
FAULTS_KEPT = 100  # files of 4 MB: a night of repeated faults must not fill the disk
TICK_FIELDS = 8  # the scalars at the front


@dataclass(frozen=True, eq=False)
class Telemetry:
    """The content of a file; see the module's docstring."""

    ticks: np.ndarray
    events: tuple[Event, ...] = ()
    reason: str = ""
    refused: tuple[str, ...] = ()


def detail_to_bytes(text: str) -> bytes:
    """``text`` in utf-8, cut to what a record holds, never in the middle of a character."""
    return text.encode("utf-8")[:DETAIL_BYTES].decode("utf-8", "ignore").encode("utf-8")


def events_from_records(records: np.ndarray) -> tuple[Event, ...]:
    """Events from an array of `EVENT`."""
    return tuple(
        Event(float(r["time"]), EventKind(int(r["kind"])), bytes(r["detail"]).decode("utf-8", "ignore"))
        for r in records
    )


def fault_file(directory: str | os.PathLike[str]) -> Path:
    """A name for the telemetry of a fault that happened now."""
    now = time.time()
    return Path(directory) / time.strftime(f"fault-%Y%m%d-%H%M%S-{int(now * 1e3) % 1000:03d}.npz", time.localtime(now))


def save_fault(directory: str | os.PathLike[str], telemetry: Telemetry) -> Path:
    """Write the file of a fault that happened now; of many, the newest `FAULTS_KEPT` stay. Raises `TelemetryError`."""
    path = fault_file(directory)
    save_telemetry(path, telemetry)
    for old in sorted(path.parent.glob("fault-*.npz"))[:-FAULTS_KEPT]:
        old.unlink(missing_ok=True)
    return path


def save_telemetry(path: Path, telemetry: Telemetry) -> None:
    """Write a file, making its folder; a reader never sees half of it. Raises `TelemetryError`."""
    events = np.array([(e.time, int(e.kind), detail_to_bytes(e.detail)) for e in telemetry.events], dtype=EVENT)
    refused = np.array(telemetry.refused, dtype=np.str_)
    scratch = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as file:
            np.savez(file, telemetry=telemetry.ticks, events=events, reason=np.array(telemetry.reason), refused=refused)
        scratch.replace(path)
    except OSError as error:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)  # of a full disk it would take what is left
        raise TelemetryError(f"the telemetry cannot be written to {path}: {error.strerror or error}") from error


def tell(error: TelemetryError) -> None:
    """Say so on stderr, if that can be written, and go on: the arm matters more than its record."""
    with suppress(OSError):
        sys.stderr.write(f"{error}\n")


def load_telemetry(path: Path) -> Telemetry:
    """Read a file. Raises `TelemetryError` when there is none, or it is something else."""
    try:
        with np.load(path, allow_pickle=False) as saved:
            ticks, events = saved["telemetry"], saved["events"]
            reason, refused = str(saved["reason"]), tuple(saved["refused"].tolist())
    except FileNotFoundError as error:
        raise TelemetryError(f"no file {path}; telemetry is in a run's logs/: fault-*.npz, telemetry.npz") from error
    except OSError as error:
        raise TelemetryError(f"{path} cannot be read: {error.strerror or error}") from error
    except (KeyError, ValueError, AttributeError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise TelemetryError(
            f"{path} is no telemetry; choose a fault-*.npz or telemetry.npz of a run's logs/"
        ) from error
    if ticks.dtype != TELEMETRY or events.dtype != EVENT:
        raise TelemetryError(f"{path} was written by another version of robot_rl: its fields are {ticks.dtype.names}")
    return Telemetry(ticks, events_from_records(events), reason, refused)


def missed_ticks(ticks: np.ndarray) -> int:
    """Milliseconds of robot time within motions that got no torque of their own."""
    within = ticks["period"][1:] > 0.0
    return int((np.round(np.diff(ticks["time"])[within] / TICK) - 1).clip(0).sum())


def percentiles(values: np.ndarray, quantiles: Sequence[float] = (50.0, 99.0, 99.9)) -> list[float]:
    """Percentiles of ``values``, and the largest at the end; zeros when there are none."""
    if len(values) == 0:
        return [0.0] * (len(quantiles) + 1)
    return [*np.percentile(values, quantiles).tolist(), float(values.max())]
