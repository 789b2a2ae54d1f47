"""``robot-rl calibrate tool`` from a file of readings, and all that it refuses before an arm moves."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from controllers.spatial import exp3
from hardware.force.tool import StaticPose
from hardware.force.tool_file import COLUMNS, read_readings, read_tool, readings_text
from robot_rl.jobs.cli import main
from tests.hardware.loaded_wrist import FRAME, TOOL

DOWN = exp3(np.array([np.pi, 0.0, 0.0]))


def readings(noise: float = 0.02, tilt: float = 0.6, count: int = 8) -> str:
    rng = np.random.default_rng(0)
    poses = []
    for angle in 2.0 * np.pi * np.arange(count) / count:
        rotation = exp3(tilt * np.array([np.cos(angle), np.sin(angle), 0.0])) @ DOWN
        spread = noise * np.array([1.0, 1.0, 1.0, 0.05, 0.05, 0.05])
        poses.append(StaticPose(rotation, TOOL.bias + TOOL.weight(rotation) + spread * rng.standard_normal(6)))
    return readings_text(poses)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Readings of a good survey, and where the tool shall be written."""
    given = tmp_path / "readings.csv"
    given.write_text(readings(), encoding="utf-8")
    return given, tmp_path / "tool.yaml"


def calibrate(given: Path, out: Path, *more: str) -> int:
    return main(["calibrate", "tool", "--out", str(out), "--sensor", "ati", "--readings", str(given), *more])


def test_a_tool_is_identified_from_a_file(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate(*files, "--frame", FRAME) == 0
    tool = read_tool(files[1])
    assert tool.frame == FRAME
    assert tool.mass == pytest.approx(TOOL.mass, rel=0.05)
    assert tool.centre is not None and TOOL.centre is not None
    assert np.linalg.norm(tool.centre - TOOL.centre) < 0.003
    said = capsys.readouterr().out
    assert "mass 0.73" in said
    assert "caveat" not in said


def test_what_is_not_known_well_enough_is_said_and_written(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files[0].write_text(readings(noise=1.0), encoding="utf-8")
    assert calibrate(*files) == 1
    said = capsys.readouterr().out
    assert "caveat: the mass is not known within 5%" in said
    assert "caveat: the centre of mass is not known within 3 mm" in said
    assert read_tool(files[1]).frame == "wrist_ft"


def test_readings_survive_a_file(tmp_path: Path) -> None:
    path = tmp_path / "readings.csv"
    path.write_text(readings(), encoding="utf-8")
    again = read_readings(path)
    assert len(again) == 8
    np.testing.assert_allclose(again[3].wrench, TOOL.bias + TOOL.weight(again[3].rotation), atol=0.1)
    first = exp3(np.array([0.6, 0.0, 0.0])) @ DOWN
    np.testing.assert_allclose(again[0].rotation, first, atol=1e-8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n", "must begin with the line qx,qy,qz,qw,fx"),
        ("", "must begin with the line"),
        (",".join(COLUMNS) + "\n1,2,3\n", "line 2: 10 numbers, not 3"),
        (",".join(COLUMNS) + "\n" + ",".join(["x"] * 10) + "\n", "line 2: could not convert"),
        (",".join(COLUMNS) + "\n" + ",".join(["5"] * 10) + "\n", "line 2: quat_xyzw"),
        (readings(count=3), "3 poses are too few"),
        (readings(tilt=0.03), "too little to tell the tool from the bias"),
    ],
)
def test_readings_that_tell_no_tool_are_refused_in_one_line(
    files: tuple[Path, Path], text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files[0].write_text(text, encoding="utf-8")
    assert calibrate(*files) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not files[1].exists()


def test_a_file_is_not_overwritten_and_no_sensor_is_guessed(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(*files, "--sensor", "attic") == 2
    assert "unknown force sensor 'attic'; choose from arm, ati, bota" in capsys.readouterr().err
    assert calibrate(*files, "arm=fr3") == 2
    assert "--readings moves no arm" in capsys.readouterr().err
    files[1].write_text("mine", encoding="utf-8")
    assert calibrate(*files) == 2
    assert "exists; name another file with --out" in capsys.readouterr().err
    assert files[1].read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["arm=fr3"], "nobody pressed Enter; --yes begins without"),
        (["arm=remote"], "identified on the computer of the arm"),
        (["--sensor", "attic"], "unknown force sensor 'attic'; choose from arm, ati, bota"),
        (["learner.udt=8"], "learner.utd"),
    ],
)
def test_no_arm_moves_when_something_is_wrong(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["calibrate", "tool", "--out", "tool.yaml", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
