"""A camera whose pictures a test writes into a folder, and which waits for them as long as a busy machine takes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from examples.own_camera import FolderCamera


class PatientCamera(FolderCamera):
    def __init__(self, name: str, device: str = "") -> None:
        super().__init__(name, device, timeout=120.0)


def show(folder: Path, picture: np.ndarray) -> None:
    """Have ``picture (h, w, 3)`` uint8 RGB be the newest of the camera."""
    scratch = folder / "new.tmp"
    scratch.write_bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())
    scratch.rename(folder / "picture.png")
