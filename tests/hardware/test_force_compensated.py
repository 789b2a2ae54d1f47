"""Bias, a tool's weight and drift taken off a sensor's readings; the file of a tool."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from controllers.spatial import exp3
from hardware.force.arm import ArmForceSensor
from hardware.force.compensated import CompensatedSensor
from hardware.force.drift import DriftWatch
from hardware.force.tool import GRAVITY, StaticPose, Tool, ToolError, identify
from hardware.force.tool_file import read_tool, text_of
from hardware.interfaces import ForceError, ForceEvent, ForceEventKind, ForceReading

TOOL = Tool("wrist", 0.9, 0.9 * np.array([0.01, 0.02, 0.06]), np.array([4.0, -3.0, 9.0, 0.1, -0.2, 0.3]))
TURNS = [exp3(np.array(turn)) for turn in ([0, 0, 0], [0.6, 0, 0], [-0.6, 0, 0], [0, 0.6, 0], [0, -0.6, 0.0])]
STEP = 0.01  # [s] between readings


class Wrist:
    """A sensor with `TOOL` on it, which is turned and touched as a test says, and whose bias a test may move."""

    name, frame = "wrist", "wrist"

    def __init__(self) -> None:
        self.rotation: np.ndarray | None = np.eye(3)
        self.touch = np.zeros(6)
        self.drift = np.zeros(6)
        self.unloaded = True
        self.lost: tuple[ForceEvent, ...] = ()
        self._seq = 0

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def read(self) -> ForceReading:
        self._seq += 1
        rotation = self.rotation if self.rotation is not None else np.eye(3)
        wrench = TOOL.bias + TOOL.weight(rotation) + self.touch + self.drift
        return ForceReading(self._seq, wrench, self.frame, STEP * self._seq, STEP * self._seq)

    def events(self) -> tuple[ForceEvent, ...]:
        lost, self.lost = self.lost, ()
        return lost

    def counts(self) -> dict[ForceEventKind, int]:
        return {ForceEventKind.LOST: 3}


def compensated(wrist: Wrist) -> CompensatedSensor:
    return CompensatedSensor(wrist, TOOL, lambda: wrist.rotation, lambda: wrist.unloaded)


def read_for(sensor: CompensatedSensor, seconds: float) -> list[ForceEventKind]:
    """Kinds of the events within so much time."""
    for _ in range(round(seconds / STEP)):
        sensor.read()
    return [event.kind for event in sensor.events()]


def test_what_is_left_is_what_touches_the_tool() -> None:
    wrist = Wrist()
    wrist.touch = np.array([1.0, -2.0, 3.0, 0.1, 0.2, 0.3])
    with compensated(wrist) as sensor:
        for turn in TURNS:
            wrist.rotation = turn
            reading = sensor.read()
            np.testing.assert_allclose(reading.wrench, wrist.touch, atol=1e-12)
            assert reading.frame == "wrist"


def test_a_sensor_whose_rotation_nobody_knows_is_not_read() -> None:
    wrist = Wrist()
    wrist.rotation = None
    with compensated(wrist) as sensor, pytest.raises(ForceError, match=r"'wrist'.*how it is turned"):
        sensor.read()


def test_a_tool_of_another_frame_is_refused() -> None:
    with pytest.raises(ForceError, match="measures in 'fr3_hand_tcp', and the tool was identified in 'wrist'"):
        CompensatedSensor(ArmForceSensor("arm", lambda: None), TOOL, lambda: None)


def test_a_bias_that_moves_while_unloaded_is_an_event_once() -> None:
    wrist = Wrist()
    with compensated(wrist) as sensor:
        assert read_for(sensor, 2.0) == []
        wrist.drift = np.array([0.0, 0.0, 1.5, 0.0, 0.0, 0.0])
        assert read_for(sensor, 5.0) == [ForceEventKind.DRIFTED]
        wrist.drift = np.zeros(6)
        read_for(sensor, 2.0)
        wrist.drift = np.array([0.0, 0.0, 0.0, 0.2, 0.0, 0.0])
        assert read_for(sensor, 2.0) == [ForceEventKind.DRIFTED]
        assert sensor.counts() == {ForceEventKind.LOST: 3, ForceEventKind.DRIFTED: 2}


def test_a_touch_is_no_drift() -> None:
    wrist = Wrist()
    wrist.unloaded, wrist.touch = False, np.full(6, 9.0)
    with compensated(wrist) as sensor:
        assert read_for(sensor, 2.0) == []


def test_a_short_touch_between_unloaded_readings_begins_the_mean_anew() -> None:
    watch = DriftWatch(window=1.0)
    load = np.full(6, 9.0)
    said = [watch.feed(load, unloaded=k % 50 != 49, now=0.02 * k) for k in range(500)]
    assert not any(said)


def test_events_of_the_sensor_are_passed_on_in_order() -> None:
    wrist = Wrist()
    wrist.drift = np.full(6, 2.0)
    wrist.lost = (ForceEvent(0.1, ForceEventKind.LOST, "", 3), ForceEvent(99.0, ForceEventKind.SILENT, ""))
    with compensated(wrist) as sensor:
        kinds = read_for(sensor, 2.0)
    assert kinds == [ForceEventKind.LOST, ForceEventKind.DRIFTED, ForceEventKind.SILENT]


@pytest.mark.parametrize("bad", [{"force": 0.0}, {"torque": -1.0}, {"window": float("nan")}])
def test_bounds_of_drift_are_positive(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        DriftWatch(**bad)


def test_a_tool_is_written_and_read_again(tmp_path: Path) -> None:
    poses = [StaticPose(turn, TOOL.bias + TOOL.weight(turn)) for turn in TURNS]
    path = tmp_path / "tool.yaml"
    path.write_text(text_of(identify(poses, "wrist")), encoding="utf-8")
    tool = read_tool(path)
    assert tool.frame == "wrist"
    assert tool.mass == pytest.approx(TOOL.mass, rel=1e-5)
    np.testing.assert_allclose(tool.moment, TOOL.moment, rtol=1e-4)
    np.testing.assert_allclose(tool.bias, TOOL.bias, rtol=1e-4, atol=1e-8)


def test_a_tool_without_a_centre_keeps_its_first_moment(tmp_path: Path) -> None:
    """As where only the centre of mass was told wrongly to the arm."""
    moment = np.array([0.0, 0.03, 0.0])
    poses = [StaticPose(turn, np.concatenate((np.zeros(3), np.cross(moment, turn.T @ GRAVITY)))) for turn in TURNS]
    path = tmp_path / "tool.yaml"
    path.write_text(text_of(identify(poses, "tcp", correction=True)), encoding="utf-8")
    assert "centre:" not in path.read_text(encoding="utf-8")
    np.testing.assert_allclose(read_tool(path).moment, moment, atol=1e-8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is no tool; it needs the keys frame"),
        ("{frame: a", "cannot be read"),
        ("masse: 1", "unknown key 'masse'.*did you mean 'mass'"),
        ("frame: a\nmass: 1\nbias: [0, 0, 0, 0, 0, 0]", "give centre"),
        ("frame: 3\nmass: 1\ncentre: [0, 0, 0]\nbias: [0, 0, 0, 0, 0, 0]", "frame=3 must be the name"),
        ("frame: a\nmass: .nan\ncentre: [0, 0, 0]\nbias: [0, 0, 0, 0, 0, 0]", "mass=nan must be a finite number"),
        ("frame: a\nmass: 1\ncentre: [0, 0]\nbias: [0, 0, 0, 0, 0, 0]", "centre=.*must be 3 finite numbers"),
        ("frame: a\nmass: 1\ncentre: [0, 0, 0]\nbias: none", "bias='none' must be 6 finite numbers"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "tool.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ToolError, match=message):
        read_tool(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"none\.yaml cannot be read"):
        read_tool(tmp_path / "none.yaml")
