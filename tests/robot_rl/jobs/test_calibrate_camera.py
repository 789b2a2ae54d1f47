"""``robot-rl calibrate camera`` from a folder of pictures, and all that it refuses."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hardware.cameras.calibration_file import COLUMNS, POSES, read_calibration
from robot_rl.contract.settings import ConfigError
from robot_rl.jobs.cli import main
from robot_rl.jobs.config import load_config
from robot_rl.jobs.run import Run
from tests.hardware.test_camera_calibration import CAMERAS, LENS, scenery


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera on the wrist: ten pictures of the board, and one of something else."""
    folder = tmp_path_factory.mktemp("shots")
    images, hands = scenery("wrist", 10)
    images.append(np.full_like(images[0], 90))
    hands.append(hands[0])
    lines = [",".join(COLUMNS)]
    for i, (image, hand) in enumerate(zip(images, hands, strict=True)):
        cv2.imwrite(str(folder / f"{i}.png"), image)
        lines.append(",".join([f"{i}.png", *(f"{value:.9g}" for value in (*hand.translation, *hand.quat_xyzw))]))
    (folder / POSES).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_lens_and_place_are_written(shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "wrist.yaml"
    assert main(["calibrate", "camera", "--shots", str(shots), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "the board is in 10 of 11 pictures" in said and "caveat" not in said
    found = read_calibration(out)
    assert found.mounting == "wrist" and found.pose is not None
    off = CAMERAS["wrist"].difference(found.pose)
    assert np.linalg.norm(off[:3]) < 0.002 and np.degrees(np.linalg.norm(off[3:])) < 0.5
    assert (found.lens.width, found.lens.height) == (LENS.width, LENS.height)
    assert main(["calibrate", "camera", "--shots", str(shots), "--out", str(out)]) == 2
    assert "exists; name another file" in capsys.readouterr().err


def test_a_pose_that_does_not_fit_is_a_caveat(shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    for file in shots.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    lines = (folder / POSES).read_text(encoding="utf-8").splitlines()
    name, x, *rest = lines[4].split(",")
    lines[4] = ",".join([name, str(float(x) + 0.02), *rest])
    (folder / POSES).write_text("\n".join(lines), encoding="utf-8")
    assert main(["calibrate", "camera", "--shots", str(folder), "--out", str(tmp_path / "a.yaml")]) == 1
    assert f"the picture that fits worst is {name}" in (said := capsys.readouterr().out)
    assert "caveat" in said


def test_a_lens_needs_pictures_only(shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, folder = tmp_path / "lens.yaml", tmp_path / "shots"
    folder.mkdir()
    for file in shots.glob("*.png"):
        (folder / file.name).write_bytes(file.read_bytes())
    assert main(["calibrate", "camera", "--shots", str(folder), "--out", str(out), "--mount", "none"]) == 0
    assert "the board is in 10 of 11 pictures" in capsys.readouterr().out
    found = read_calibration(out)
    assert found.pose is None
    assert found.lens.fx == pytest.approx(LENS.fx, rel=0.01)


def test_pictures_that_were_taken_are_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wrist-shots").mkdir()
    given = ["--camera", "wrist", "--out", str(tmp_path / "wrist.yaml"), "--listen"]
    assert main(["calibrate", "camera", *given]) == 2
    assert "wrist-shots exists; calibrate from it with --shots" in capsys.readouterr().err


def test_a_board_is_drawn_to_print(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "camera", "--draw", str(tmp_path / "board.png")]) == 0
    assert "print it 280 × 200 mm large" in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / "board.png")).shape == (500, 700, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "poses.csv cannot be read"),
        ("file,x,y\n", "must begin with the line file,x,y,z,qx,qy,qz,qw"),
        (f"{','.join(COLUMNS)}\n0.png,0,0,0,0,0,0,0\n", "poses.csv, line 2: "),
        (f"{','.join(COLUMNS)}\n0.png,0,0,zero,0,0,0,1\n", "line 2: could not convert"),
        (f"{','.join(COLUMNS)}\nnone.png,0,0,0,0,0,0,1\n", "none.png is no picture"),
        (f"{','.join(COLUMNS)}\n", "found in 0 pictures, and 6 are needed"),
    ],
)
def test_what_is_no_folder_of_shots_is_refused_by_name(
    text: str | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / POSES).write_text(text, encoding="utf-8")
    assert main(["calibrate", "camera", "--shots", str(tmp_path), "--out", str(tmp_path / "out.yaml")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out.yaml").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--board", "7by5", "--draw", "b.png"], "--board '7by5' must be like 7x5"),
        (["--shots", "here"], "needs --camera NAME or --shots FOLDER, and --out FILE"),
        (["--shots", "here", "--out", "a.yaml", "arm=fr3"], "settings are for pictures that are taken with --camera"),
        (["--camera", "wrist", "--out", "a.yaml"], "--mount wrist needs the hand's pose from an arm that runs"),
        (["--camera", "wrist", "--out", "a.yaml", "--mount", "none", "--run", "b"], "runs already: add --listen"),
        (["--camera", "wrist", "--out", "a.yaml", "--listen", "--run", "b"], "b is not a run"),
        (["--camera", "left", "--out", "a.yaml", "--mount", "none"], "the simulated scene has no camera 'left'"),
    ],
)
def test_wrong_arguments_are_refused(
    given: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", "camera", *given]) == 2
    assert words in capsys.readouterr().err


def test_a_run_keeps_the_calibrations_that_it_was_given(
    shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", "camera", "--shots", str(shots), "--out", "wrist.yaml"]) == 0
    run = Run.create(load_config(None, ["cameras=wrist", "camera_calibrations=wrist.yaml"]), Path("run"))
    Path("wrist.yaml").unlink()
    monkeypatch.chdir(tmp_path.parent)
    again, config = Run.open(run.root)
    assert read_calibration(Path(config.camera_calibrations[0])).mounting == "wrist"
    with pytest.raises(ConfigError, match=r"camera_calibrations: .*none\.yaml cannot be read"):
        Run.create(load_config(None, ["cameras=wrist", "camera_calibrations=none.yaml"]), again.root)
    with pytest.raises(ConfigError, match="needs a file for each of"):
        load_config(None, ["cameras=front,wrist", "camera_calibrations=wrist.yaml"])
