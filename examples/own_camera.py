"""A camera of one's own: the newest picture in a folder, whichever program writes them there.

    python -m hardware.ros.camera_node --camera wrist --driver examples.own_camera:FolderCamera --device pictures
    python examples/own_camera.py pictures --seconds 10

The second command, in another terminal, is such a program: 20 pictures a second. Begin with it. It writes each under
another name first and renames it then, so that nobody reads half a picture; whoever writes pictures for this driver
has to do the same.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from hardware.device import Device
from hardware.interfaces import CameraError, Frame

PATTERN = "*.png"
POLL = 0.002  # [s] between two looks into the folder
RATE, KEPT = 20.0, 10  # of the writer: pictures a second, and how many stay


class FolderCamera(Device):
    """The camera ``name``, whose pictures are in the folder ``device``; `read` gives up after ``timeout`` [s].

    A picture is stamped with the moment at which its file was written.
    """

    def __init__(self, name: str, device: str = "", timeout: float = 1.0) -> None:
        self.name = name
        self._folder = Path(device)
        self._timeout = timeout
        self._label = f"camera {name!r} ({self._folder})"
        self._connected = False
        self._seen = -1  # when the picture handed out last was written [ns]

    def connect(self) -> None:
        """Raises `CameraError` when there is no such folder."""
        if not self._folder.is_dir():
            raise CameraError(f"{self._label} is no folder; name it: camera_devices=FOLDER")
        self._connected = True

    def disconnect(self) -> None:
        self._connected = False

    def read(self) -> Frame:
        """The newest picture not read yet; waits for it. Raises `CameraError` after the timeout, or for no picture."""
        if not self._connected:
            raise CameraError(f"{self._label} is not connected; call connect() first")
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline:
            written, path = max(((written_at(file), file) for file in self._folder.glob(PATTERN)), default=(-1, Path()))
            if written > self._seen:
                self._seen = written
                return Frame(self._load(path), written / 1e9, time.monotonic())
            time.sleep(POLL)
        raise CameraError(f"{self._label} got no new picture for {self._timeout:g} s; is whoever writes them running?")

    def _load(self, path: Path) -> np.ndarray:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise CameraError(f"{self._label}: {path.name} is no picture; write it under another name, then rename it")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def written_at(file: Path) -> int:
    """When a file was written [ns]; −1 for one that has been removed."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return -1


def main() -> None:
    parser = argparse.ArgumentParser(description="Write pictures of a moving bar for FolderCamera.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for i in range(round(given.seconds * RATE)):
        image = np.zeros((128, 128, 3), np.uint8)
        image[:, i % 128] = 255
        new = given.folder / "new.tmp"
        new.write_bytes(cv2.imencode(".png", image)[1].tobytes())
        new.rename(given.folder / f"{i:06d}.png")
        if i >= KEPT:
            (given.folder / f"{i - KEPT:06d}.png").unlink()
        time.sleep(1.0 / RATE)


if __name__ == "__main__":
    main()
