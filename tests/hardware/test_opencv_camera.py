"""The OpenCV driver, on a real video file."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from hardware.cameras import make_camera
from hardware.cameras.intrinsics import Intrinsics
from hardware.cameras.opencv import OpenCVCamera
from hardware.interfaces import CameraError
from tests.contracts.camera_contract import CameraContract

HEIGHT, WIDTH = CameraContract.SIZE
NAME = CameraContract.NAME
FPS = 100.0


def write_video(path: Path, frames: int) -> Path:
    """Reddish noise: noise, so that no reader's buffer holds more than a few frames."""
    rng = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    for _ in range(frames):
        bgr = rng.integers(0, 100, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        bgr[..., 2] += 100
        writer.write(bgr)
    writer.release()
    return path


class TestContract(CameraContract):
    @pytest.fixture(autouse=True)
    def setup(self, tmp_path: Path) -> None:
        self.video = write_video(tmp_path / "video.avi", 1500)

    def camera(self) -> OpenCVCamera:
        return OpenCVCamera(self.NAME, self.video, timeout=10.0)

    def absent(self) -> OpenCVCamera:
        return OpenCVCamera(self.NAME, self.video.with_name("none.avi"))

    def expose(self) -> None:
        """The file plays by itself."""

    def silence(self) -> None:
        with self.video.open("r+b") as file:
            file.truncate(0)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "video.avi", 20)


def test_the_end_of_the_stream_is_said_without_waiting_for_the_timeout(video: Path) -> None:
    with OpenCVCamera(NAME, video, timeout=60.0) as camera, pytest.raises(CameraError, match="stopped delivering"):
        for _ in range(100):
            camera.read()


def test_an_image_of_another_size_than_asked_for_is_refused(video: Path) -> None:
    with pytest.raises(CameraError, match=f"{WIDTH}×{HEIGHT}, not 640×480"):
        OpenCVCamera(NAME, video, width=640, height=480).connect()


def test_no_thread_is_left_behind(video: Path) -> None:
    before = threading.active_count()
    with OpenCVCamera(NAME, video):
        assert threading.active_count() > before
    assert threading.active_count() == before


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.avi"
    path.write_text("no video")
    with pytest.raises(CameraError, match="cannot be opened"):
        OpenCVCamera(NAME, path).connect()


def test_drivers_are_made_by_name(video: Path) -> None:
    with make_camera("opencv", "wrist", str(video)) as camera:  # type: ignore[attr-defined]
        assert camera.read().image.shape == (HEIGHT, WIDTH, 3)
    assert make_camera("realsense", "wrist", "123", 848, 480, 60, exposure=500.0).name == "wrist"
    with pytest.raises(CameraError, match="'wrist': exposure=500 is for driver realsense; this one is opencv"):
        make_camera("opencv", "wrist", str(video), exposure=500.0)


def test_an_unknown_driver_lists_the_choices_and_suggests_one() -> None:
    with pytest.raises(CameraError, match=r"realsense, opencv, or module:Class; did you mean 'realsense'"):
        make_camera("realsens", "wrist")


def test_intrinsics_of_a_field_of_view() -> None:
    """At 90° the focal length is half the height."""
    intrinsics = Intrinsics.from_fovy(640, 480, np.pi / 2)
    assert intrinsics.fx == intrinsics.fy == pytest.approx(240.0)
    assert (intrinsics.cx, intrinsics.cy) == (320.0, 240.0)


def test_a_timeout_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="timeout"):
        OpenCVCamera(NAME, 0, timeout=0.0)
