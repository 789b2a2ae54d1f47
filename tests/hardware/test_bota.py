"""Bota's driver where its library is missing, or says that something is wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hardware.force import make_force_sensor
from hardware.interfaces import ForceError, ForceEventKind

GOOD = SimpleNamespace(invalid=0, overrange=0, throttled=0)


def frame(timestamp: int, force: float, **status: int) -> Any:
    said = SimpleNamespace(**{**vars(GOOD), **status})
    return SimpleNamespace(timestamp=timestamp, force=[force, 0.0, 0.0], torque=[0.0] * 3, status=said)


class Library:
    """What `hardware.force.bota` uses of the vendor's library, and what it was told; frames in turn, the last again."""

    def __init__(self, *frames: Any) -> None:
        self.frames = list(frames)
        self.told: list[str] = []

    def BotaDriver(self, path: str) -> Library:
        if path.endswith("bad.json"):
            raise RuntimeError("key 'product_name' not found")
        return self

    def configure(self) -> bool:
        return True

    def activate(self) -> bool:
        return not self.told

    def deactivate(self) -> None:
        self.told.append("deactivate")

    def shutdown(self) -> None:
        self.told.append("shutdown")

    def get_expected_timestep_us(self) -> int:
        return 1000

    def read_frame(self) -> Any:
        return self.frames.pop(0) if len(self.frames) > 1 else self.frames[0]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "bota.json"
    path.write_text("{}")
    return str(path)


def test_a_missing_library_is_named_with_the_command_that_installs_it(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bota_driver", None)
    with pytest.raises(ForceError, match=r"pip install 'robot-rl\[bota\]'"):
        make_force_sensor("bota", "wrist", file).connect()


def test_a_file_that_the_library_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bota_driver", Library())
    path = tmp_path / "bad.json"
    path.write_text("{}")
    with pytest.raises(ForceError, match=r"'wrist' .*bad\.json.*'product_name' not found"):
        make_force_sensor("bota", "wrist", str(path)).connect()


def test_zeros_before_the_first_frame_are_no_measurement(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendor's library answers with zeros at time 0 while nothing has come."""
    monkeypatch.setitem(sys.modules, "bota_driver", Library(frame(0, 0.0)))
    sensor = make_force_sensor("bota", "wrist", file, timeout=0.1)
    with pytest.raises(ForceError, match="measured nothing new"):
        sensor.connect()
    assert ForceEventKind.SILENT in sensor.counts()


def test_a_range_that_is_exceeded_and_an_invalid_frame_are_told(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library(frame(1, 1.0), frame(2, 9.0, overrange=1), frame(3, 1.0, invalid=1))
    monkeypatch.setitem(sys.modules, "bota_driver", library)
    sensor = make_force_sensor("bota", "wrist", file, timeout=30.0)
    try:
        with pytest.raises(ForceError, match="invalid"):
            sensor.connect()
            while True:
                sensor.read()
        assert [event.kind for event in sensor.events()] == [ForceEventKind.SATURATED, ForceEventKind.FAULT]
    finally:
        sensor.disconnect()
    assert library.told == ["deactivate", "shutdown"]
