"""Webcams, capture cards and video files by OpenCV.

A driver's queue hands out its oldest frame first: whoever reads more slowly than the camera delivers sees the past. So
a thread reads all the time and keeps only the newest frame.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import cv2

from hardware.cameras.intrinsics import Intrinsics
from hardware.device import Device
from hardware.interfaces import CameraError, Frame

STOP_TIMEOUT = 15.0  # [s]; OpenCV itself gives up on a silent V4L2 device after 10 s


class OpenCVCamera(Device):
    """A camera that OpenCV can open.

    Args:
        name: the camera's name in observations and topics.
        source: index of the device (0 is ``/dev/video0``), or the path of a device or of a video file, which is played
            at its own speed.
        width, height: image size [px], fps: frames a second; None takes what comes.
        timeout: `read` gives up after this time [s]; opening may take four times as long.
        intrinsics: calibration of the camera, if there is one.
    """

    def __init__(
        self,
        name: str,
        source: int | str | Path,
        width: int | None = None,
        height: int | None = None,
        fps: int | None = None,
        timeout: float = 1.0,
        intrinsics: Intrinsics | None = None,
    ) -> None:
        if timeout <= 0.0:
            raise ValueError(f"the timeout of camera {name!r} must be positive, not {timeout} s")
        self.name = name
        self.intrinsics = intrinsics
        self._source = source if isinstance(source, int) else str(source)
        self._wanted = {cv2.CAP_PROP_FRAME_WIDTH: width, cv2.CAP_PROP_FRAME_HEIGHT: height, cv2.CAP_PROP_FPS: fps}
        self._timeout = timeout
        self._label = f"camera {name!r} ({self._source})"
        self._changed = threading.Condition()
        self._newest: Frame | None = None  # not read yet
        self._ended = False
        self._stop = threading.Event()
        self._reader: threading.Thread | None = None

    def connect(self) -> None:
        """Open the camera and wait for its first frame. Raises `CameraError`."""
        if self._reader is not None:
            return
        capture = cv2.VideoCapture(self._source)
        if not capture.isOpened():
            raise CameraError(
                f"{self._label} cannot be opened; check that it is plugged in, that no other program uses it and that "
                "you may read it (group 'video'); `v4l2-ctl --list-devices` lists what there is"
            )
        if isinstance(self._source, int) or self._source.startswith("/dev/"):
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))  # before the size: raw, USB carries less
        for option, value in self._wanted.items():
            if value is not None:
                capture.set(option, value)
        self._newest, self._ended = None, False
        self._stop.clear()
        self._reader = threading.Thread(target=self._read_all, args=(capture,), name=f"camera {self.name}", daemon=True)
        self._reader.start()
        try:
            self._await_first()
        except CameraError:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            self._stop.set()
            reader.join(STOP_TIMEOUT)

    def read(self) -> Frame:
        """The newest frame not read yet; waits for it. Raises `CameraError` after the timeout or at the end."""
        if self._reader is None:
            raise CameraError(f"{self._label} is not connected; call connect() first")
        with self._changed:
            self._wait(self._timeout)
            frame, self._newest = self._newest, None
        if frame is None:
            raise CameraError(self._silence(self._timeout))
        return frame

    def _await_first(self) -> None:
        with self._changed:
            self._wait(4.0 * self._timeout)
            frame = self._newest
        if frame is None:
            raise CameraError(self._silence(4.0 * self._timeout))
        height, width, _ = frame.image.shape
        wanted = (self._wanted[cv2.CAP_PROP_FRAME_WIDTH] or width, self._wanted[cv2.CAP_PROP_FRAME_HEIGHT] or height)
        if wanted != (width, height):
            raise CameraError(f"{self._label} gives images of {width}×{height}, not {wanted[0]}×{wanted[1]}")

    def _wait(self, timeout: float) -> None:
        self._changed.wait_for(lambda: self._newest is not None or self._ended, timeout)

    def _silence(self, waited: float) -> str:
        if self._ended:
            return f"{self._label} stopped delivering frames: it was unplugged, or the file is at its end"
        return f"{self._label} sent no frame for {waited:g} s; check its cable, then start again"

    def _read_all(self, capture: cv2.VideoCapture) -> None:
        is_file = capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0
        period = 1.0 / (capture.get(cv2.CAP_PROP_FPS) or 30.0) if is_file else 0.0
        due = time.monotonic()
        try:
            while not self._stop.wait(max(0.0, due - time.monotonic())) and capture.grab():
                stamp, received = time.time(), time.monotonic()
                due += period
                ok, image = capture.retrieve()
                if not ok:
                    break
                frame = Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), stamp, received)
                with self._changed:
                    self._newest = frame
                    self._changed.notify_all()
        finally:
            capture.release()
            with self._changed:
                self._ended = True
                self._changed.notify_all()


def make_webcam(name: str, device: str = "", **settings: Any) -> OpenCVCamera:
    """The driver ``opencv`` of `hardware.cameras.CAMERA_DRIVERS`. Raises `CameraError` for what it cannot set."""
    for key in ("exposure", "white_balance", "depth"):
        if key in settings:
            given = "true" if settings[key] is True else f"{settings[key]:g}"
            raise CameraError(f"camera {name!r}: {key}={given} is for driver realsense; this one is opencv")
    source = int(device or 0) if not device or device.isdigit() else device
    return OpenCVCamera(name, source, **settings)
