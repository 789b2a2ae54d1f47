"""The example of a camera, on pictures in a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from examples import own_camera
from examples.own_camera import FolderCamera
from hardware.cameras import make_camera
from hardware.interfaces import CameraError
from tests.contracts.camera_contract import CameraContract

DRIVER = "examples.own_camera:FolderCamera"


class TestContract(CameraContract):
    @pytest.fixture(autouse=True)
    def setup(self, tmp_path: Path) -> None:
        self.folder, self.count = tmp_path / "pictures", 0
        self.folder.mkdir()

    def camera(self) -> FolderCamera:
        return FolderCamera(self.NAME, str(self.folder), timeout=0.2)

    def absent(self) -> FolderCamera:
        return FolderCamera(self.NAME, str(self.folder / "none"))

    def expose(self) -> None:
        self.count += 1
        bgr = np.full((*self.SIZE, 3), (10, 20, 100 + self.count), np.uint8)
        new = self.folder / "new.tmp"
        new.write_bytes(cv2.imencode(".png", bgr)[1].tobytes())
        os.utime(new, ns=(self.count * 10**9,) * 2)
        new.rename(self.folder / f"{self.count}.png")

    def silence(self) -> None:
        """Nobody exposes any more."""

    def test_the_newest_is_read_and_older_ones_are_not(self) -> None:
        with self.connected() as camera:
            self.expose()
            self.expose()
            assert camera.read().stamp == 2.0
            with pytest.raises(CameraError, match="no new picture"):
                camera.read()

    def test_half_a_picture_is_said(self) -> None:
        (self.folder / "half.png").write_bytes(b"\x89PNG")
        with self.connected() as camera, pytest.raises(CameraError, match=r"half\.png is no picture"):
            camera.read()


def test_it_is_made_by_its_name_and_reads_what_the_program_writes(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(own_camera.__file__).parents[1])}
    command = [sys.executable, own_camera.__file__, str(tmp_path / "pictures"), "--seconds", "0.6"]
    subprocess.run(command, check=True, env=environment)
    assert len(list((tmp_path / "pictures").iterdir())) == own_camera.KEPT
    camera = make_camera(DRIVER, "wrist", str(tmp_path / "pictures"))
    assert isinstance(camera, FolderCamera)
    with camera:
        assert camera.read().image.shape == (128, 128, 3)
