"""The RealSense driver, on librealsense's own software device: real sensors, profiles, queues and frames, no camera."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hardware.cameras.realsense import RealSenseCamera
from hardware.interfaces import CameraError
from tests.contracts.camera_contract import CameraContract

rs = pytest.importorskip("pyrealsense2", reason="needs pyrealsense2 and libusb", exc_type=ImportError)

HEIGHT, WIDTH = CameraContract.SIZE
NAME = CameraContract.NAME
FPS = 30
EPOCH = 1_700_000_000.0  # [s] stamp of the first frame


class SoftwareCamera:
    """A RealSense with a depth and a colour sensor that takes a picture when told to."""

    def __init__(self, serial: str) -> None:
        self.device = rs.software_device()
        self.device.register_info(rs.camera_info.serial_number, serial)
        self.device.register_info(rs.camera_info.name, "Software D435")
        self._depth = self.device.add_sensor("Stereo Module")
        self._depth.add_video_stream(self._stream(rs.stream.depth, rs.format.z16, 2))
        self.sensor = self.device.add_sensor("RGB Camera")
        self._profile = self.sensor.add_video_stream(self._stream(rs.stream.color, rs.format.rgb8, 3))
        self.silent = False
        self.frames = 0
        self._kept: list[np.ndarray] = []  # librealsense reads the pixels later

    def expose(self, domain: Any = None) -> None:
        if self.silent:
            return
        frame = rs.software_video_frame()
        pixels = np.full((HEIGHT, WIDTH, 3), (200, self.frames % 256, 10), dtype=np.uint8)
        self._kept.append(pixels)
        frame.pixels, frame.stride, frame.bpp = pixels, 3 * WIDTH, 3
        frame.timestamp = 1000.0 * (EPOCH + self.frames / FPS)
        frame.domain = rs.timestamp_domain.global_time if domain is None else domain
        frame.frame_number = self.frames
        frame.profile = self._profile.as_video_stream_profile()
        self.sensor.on_video_frame(frame)
        self.frames += 1

    @staticmethod
    def _stream(kind: Any, fmt: Any, bpp: int) -> Any:
        intrinsics = rs.intrinsics()
        intrinsics.width, intrinsics.height = WIDTH, HEIGHT
        intrinsics.fx = intrinsics.fy = 60.0
        intrinsics.ppx, intrinsics.ppy = 31.5, 23.5
        intrinsics.model = rs.distortion.inverse_brown_conrady
        intrinsics.coeffs = [0.125, 0.0, 0.0, 0.0, 0.0]
        stream = rs.video_stream()
        stream.type, stream.fmt, stream.bpp = kind, fmt, bpp
        stream.width, stream.height, stream.fps, stream.uid = WIDTH, HEIGHT, FPS, bpp
        stream.intrinsics = intrinsics
        return stream


def driver(
    *cameras: SoftwareCamera, serial: str | None = "f1", timeout: float = 10.0, **options: Any
) -> RealSenseCamera:
    size = {"width": WIDTH, "height": HEIGHT, "fps": FPS}
    devices = [camera.device for camera in cameras]
    return RealSenseCamera(NAME, serial, **size | options, timeout=timeout, find_devices=lambda: devices)


class TestContract(CameraContract):
    @pytest.fixture(autouse=True)
    def setup(self) -> None:
        self.software = SoftwareCamera("f1")

    def camera(self) -> RealSenseCamera:
        return driver(self.software, timeout=0.5)

    def absent(self) -> RealSenseCamera:
        return driver(self.software, serial="f2")

    def expose(self) -> None:
        self.software.expose()

    def silence(self) -> None:
        self.software.silent = True


def test_a_missing_serial_lists_what_is_connected() -> None:
    with pytest.raises(CameraError, match=r"serial number f9.*Connected: f1 \(Software D435\), f2 \(Software D435\)"):
        driver(SoftwareCamera("f1"), SoftwareCamera("f2"), serial="f9").connect()


def test_no_device_at_all_is_said() -> None:
    with pytest.raises(CameraError, match="Connected: none"):
        driver().connect()


def test_without_a_serial_the_only_device_is_taken_and_two_are_refused() -> None:
    with driver(SoftwareCamera("f1"), serial=None):
        pass
    with pytest.raises(CameraError, match="not exactly one"):
        driver(SoftwareCamera("f1"), SoftwareCamera("f2"), serial=None).connect()


def test_a_mode_that_the_device_lacks_lists_those_it_has() -> None:
    with pytest.raises(CameraError, match=rf"640×480@30; it offers: {WIDTH}×{HEIGHT}@{FPS}"):
        driver(SoftwareCamera("f1"), width=640, height=480).connect()


def test_silence_names_the_serial_number() -> None:
    with driver(SoftwareCamera("f1"), timeout=0.05) as camera, pytest.raises(CameraError, match=r"f1.*no frame"):
        camera.read()


def test_only_the_newest_frame_is_kept() -> None:
    software = SoftwareCamera("f1")
    with driver(software) as camera:
        for _ in range(5):
            software.expose()
        while (frame := camera.read()).image[0, 0, 1] != 4:
            pass
    assert frame.stamp == pytest.approx(EPOCH + 4 / FPS, abs=1e-3)


def test_stamps_of_the_devices_own_clock_are_not_taken_for_the_hosts() -> None:
    software = SoftwareCamera("f1")
    with driver(software) as camera:
        software.expose(rs.timestamp_domain.hardware_clock)
        assert camera.read().stamp > EPOCH + 1000.0


def test_without_global_time_the_stamp_is_the_moment_of_arrival() -> None:
    software = SoftwareCamera("f1")
    with driver(software, global_time=False) as camera:
        software.expose()
        assert camera.read().stamp > EPOCH + 1000.0


def test_the_factory_calibration_is_handed_on() -> None:
    with driver(SoftwareCamera("f1")) as camera:
        intrinsics = camera.intrinsics
    assert intrinsics is not None
    assert (intrinsics.fx, intrinsics.cx, intrinsics.cy) == (60.0, 31.5, 23.5)
    assert intrinsics.distortion == (0.125, 0.0, 0.0, 0.0, 0.0)


def test_a_fixed_exposure_is_set_and_one_out_of_range_refused() -> None:
    software = SoftwareCamera("f1")
    limits = rs.option_range()
    limits.min, limits.max, limits.step, limits.default = 1.0, 10000.0, 1.0, 156.0
    software.sensor.add_option(rs.option.exposure, limits, True)
    with driver(software, exposure=500.0):
        assert software.sensor.get_option(rs.option.exposure) == 500.0
    with pytest.raises(CameraError, match=r"exposure 20000 .*1–10000"):
        driver(software, exposure=20000.0).connect()


def test_a_fixed_exposure_that_the_device_cannot_do_is_refused() -> None:
    with pytest.raises(CameraError, match="exposure"):
        driver(SoftwareCamera("f1"), exposure=500.0).connect()
