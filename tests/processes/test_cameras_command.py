"""``robot-rl cameras`` as processes: cameras of its own, and those that run already."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from robot_rl.jobs.run import SHEET
from robot_rl.perception.contact_sheet import HEIGHT
from tests.conftest import require_job_mark
from tests.processes.job import Job
from tests.videos import write_video

pytestmark = [pytest.mark.job, pytest.mark.armless, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[2]
REAL = ["arm=fr3", "camera_driver=opencv", "cameras=front"]


def pictures(job: Job) -> int:
    """How many pictures of the first camera the sheet has seen."""
    reports = job.run.status_of(SHEET)
    return next(iter(reports.values()))["pictures"] if reports else 0


def ended_well(job: Job) -> str:
    """The terminal of ``job``, once Ctrl-C has ended it."""
    job.process.send_signal(signal.SIGINT)
    assert job.wait_end() == 0, job.errors
    return job.output


def test_a_camera_is_shown_without_an_arm_and_by_whom_only_listens(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.avi")
    own = Job(tmp_path / "own", "cameras", *REAL, f"camera_devices={video}")
    try:
        own.wait(lambda: pictures(own) > 5, "pictures")
        assert not own.log("arm")
        sheet = own.run.root / "cameras.png"
        own.wait(sheet.exists, "the sheet")
        assert cv2.imread(str(sheet)) is not None
        before = own.run.config_file.read_bytes()
        listening = Job(own.run.root, "cameras", "--listen", "--out", str(tmp_path / "sheet.png"))
        try:
            listening.wait((tmp_path / "sheet.png").exists, "the sheet")
            listening.process.send_signal(signal.SIGINT)
            assert listening.process.wait(60.0) == 0, listening.errors
            assert "pictures of 64x48" in listening.output
        finally:
            listening.stop()
        assert own.run.config_file.read_bytes() == before
        assert own.process.poll() is None
        said = ended_well(own)
        assert "camera front:" in said and "pictures of 64x48" in said
        assert str(sheet) in said
    finally:
        own.stop()


def test_drawn_cameras_are_shown_with_the_arm_that_they_are_drawn_from(tmp_path: Path) -> None:
    job = Job(tmp_path / "run", "cameras", "cameras=front,wrist", "--out", str(tmp_path / "sheet.png"))
    try:
        job.wait(lambda: job.run.status_of(SHEET), "the cameras")
        job.wait(lambda: all(one["pictures"] > 2 for one in job.run.status_of(SHEET).values()), "their pictures")
        job.wait((tmp_path / "sheet.png").exists, "the sheet")
        said = ended_well(job)
    finally:
        job.stop()
    assert "camera front: " in said and "camera wrist: " in said and "pictures of 128x128" in said
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[0] > 2 * HEIGHT and sheet.std() > 30.0, "two rows of something"


def test_a_camera_that_stands_still_delays_no_other(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.avi")
    other = write_video(tmp_path / "other.avi")
    job = Job(tmp_path / "run", "cameras", *REAL[:2], "cameras=front,wrist", f"camera_devices={video},{other}")

    def report(camera: str) -> dict[str, Any]:
        return job.run.status_of(SHEET).get(camera, {"pictures": 0})

    try:
        job.wait(lambda: report("front")["pictures"] and report("wrist")["pictures"], "pictures")
        front = job.node("camera-front")
        os.kill(front, signal.SIGSTOP)
        try:
            job.wait(lambda: report("front")["trouble"].startswith("lost: "), "the camera to be missed")
            before = report("wrist")["pictures"]
            job.wait(lambda: report("wrist")["pictures"] > before + 5, "pictures of the other")
        finally:
            os.kill(front, signal.SIGCONT)
        job.wait(lambda: not report("front")["trouble"].startswith("lost: "), "the camera again")
    finally:
        job.stop()


def test_cameras_that_are_not_there_are_one_line(tmp_path: Path) -> None:
    own = Job(tmp_path / "own", "cameras", *REAL, f"camera_devices={tmp_path / 'none.avi'}")
    try:
        assert own.wait_end() == 2
        (line,) = own.errors
        assert line.startswith("robot-rl: camera 'front' (") and "none.avi) cannot be opened" in line
    finally:
        own.stop()


def test_a_camera_that_nobody_sends_is_one_line(tmp_path: Path) -> None:
    require_job_mark()
    ended = subprocess.run(
        [sys.executable, "-m", "robot_rl", "cameras", "--task", "reach", "--listen", "cameras=left"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL, text=True, capture_output=True, timeout=300.0, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    (line,) = [line for line in ended.stderr.splitlines() if not line.startswith("[INFO]")]
    assert line.startswith("robot-rl: camera 'left': nobody sends /left/color/image_raw; ")
    assert not (tmp_path / "runs").exists()
