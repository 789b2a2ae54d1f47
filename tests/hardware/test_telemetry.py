from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from controllers.state import Event, EventKind, Mode
from hardware.franka.telemetry import (
    DETAIL_BYTES,
    TELEMETRY,
    Telemetry,
    TelemetryError,
    fault_file,
    load_telemetry,
    missed_ticks,
    save_fault,
    save_telemetry,
)
from hardware.franka.telemetry_plot import latest, plot_telemetry, summary


def made_up_ticks(count: int = 500, start: float = 3.0) -> np.ndarray:
    ticks = np.zeros(count, dtype=TELEMETRY)
    ticks["time"] = start + 1e-3 * np.arange(count)
    ticks["period"][1:] = 1e-3
    ticks["compute"] = np.linspace(40e-6, 90e-6, count)
    ticks["torque"] = np.sin(np.arange(count))[:, None] * np.arange(7)
    ticks["tank"] = np.linspace(2.0, 0.5, count)
    ticks["mode"] = Mode.TRACK
    return ticks


def test_file_holds_what_was_saved(tmp_path: Path) -> None:
    path = fault_file(tmp_path / "logs")
    events = (Event(3.1, EventKind.REFLEX, 'motion aborted by reflex! ["joint_reflex"]'),)
    save_telemetry(path, Telemetry(made_up_ticks(), events, "reflex", ("mlockall: not permitted",)))
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    saved = load_telemetry(path)
    np.testing.assert_array_equal(saved.ticks, made_up_ticks())
    assert (saved.events, saved.reason, saved.refused) == (events, "reflex", ("mlockall: not permitted",))


def test_newest_faults_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardware.franka.telemetry.FAULTS_KEPT", 2)
    for name in ("fault-20200101-000000-000.npz", "fault-20200101-000000-001.npz", "telemetry.npz"):
        save_telemetry(tmp_path / name, Telemetry(made_up_ticks(1)))
    path = save_fault(tmp_path, Telemetry(made_up_ticks(1)))
    assert {file.name for file in tmp_path.iterdir()} == {"fault-20200101-000000-001.npz", "telemetry.npz", path.name}


def test_file_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(TelemetryError, match="cannot be written"):
            save_fault(tmp_path, Telemetry(made_up_ticks()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_long_reason_is_cut_between_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_telemetry(path, Telemetry(made_up_ticks(), (Event(0.0, EventKind.STOPPED, "x" + "ü" * 1000),)))
    assert load_telemetry(path).events[0].detail == "x" + "ü" * ((DETAIL_BYTES - 1) // 2)


def test_what_is_no_telemetry_is_named(tmp_path: Path) -> None:
    missing, text, other, old = (tmp_path / name for name in ("none.npz", "text.npz", "other.npz", "old.npz"))
    text.write_text("no archive")
    np.savez(other, something=np.zeros(3))
    np.savez(old, telemetry=np.zeros(3), events=np.zeros(0), reason=np.array(""), refused=np.array([], dtype=str))
    for path, why in ((missing, "no file"), (text, "no telemetry"), (other, "no telemetry"), (old, "another version")):
        with pytest.raises(TelemetryError, match=why) as raised:
            load_telemetry(path)
        assert str(path) in str(raised.value)
    with pytest.raises(TelemetryError, match="cannot be read"):
        load_telemetry(tmp_path)
    with pytest.raises(TelemetryError, match="cannot be written"):
        save_telemetry(text / "below.npz", Telemetry(made_up_ticks()))


def test_missed_ticks_are_gaps_within_a_motion() -> None:
    ticks = made_up_ticks(10)
    ticks["time"][4:] += 0.002  # two ticks of robot time without a torque
    ticks["time"][7:] += 5.0  # a pause between two motions
    ticks["period"][7] = 0.0
    assert missed_ticks(ticks) == 2


def test_summary_and_picture_tell_of_the_last_connection(tmp_path: Path) -> None:
    before, after = made_up_ticks(100, start=50.0), made_up_ticks(500, start=0.0)
    after["mode"][300:] = Mode.DAMP
    after["mode"][499:] = Mode.IDLE
    telemetry = Telemetry(np.concatenate((before, after)), (Event(0.3, EventKind.DAMPING, "…"),), "watchdog")
    assert len(latest(telemetry.ticks)) == 500
    line = summary(telemetry)
    for part in ("500 ticks over 0.5 s, 0 missed", "compute p50/p99/p99.9/max 65/90/90/90", "at least 0.50 J", "IDLE"):
        assert part in line
    assert line.endswith("reason: watchdog")
    picture = tmp_path / "a.png"
    plot_telemetry(telemetry, picture, "a.npz")
    assert picture.read_bytes().startswith(b"\x89PNG")
    for wrong in (tmp_path / "none" / "a.png", tmp_path / "a.xyz"):
        with pytest.raises(TelemetryError, match="picture cannot be written") as raised:
            plot_telemetry(telemetry, wrong, "a.npz")
        assert str(wrong) in str(raised.value)


def test_file_without_ticks_cannot_be_drawn(tmp_path: Path) -> None:
    empty = Telemetry(np.zeros(0, dtype=TELEMETRY), (), "lost")
    assert "no tick" in summary(empty)
    with pytest.raises(TelemetryError, match="nothing to draw"):
        plot_telemetry(empty, tmp_path / "a.png", "a.npz")
