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
FOCAL = 60.0  # [px]
FAR, APART, DEPTH_UNIT = 0.5, 0.05, 0.0005  # [m] of a wall, between the sensors, of a unit of depth
EPOCH = 1_700_000_000.0  # [s] stamp of the first frame


class SoftwareCamera:
    """A RealSense that takes a picture when told to.

    ``one_sensor``: colour and depth are of one sensor, as on a D405; else each is of its own, side by side.
    """

    def __init__(self, serial: str, one_sensor: bool = False) -> None:
        self.device = rs.software_device()
        self.device.register_info(rs.camera_info.serial_number, serial)
        self.device.register_info(rs.camera_info.name, "Software D435")
        self.depth = self.device.add_sensor("Stereo Module")
        self.depth.add_read_only_option(rs.option.depth_units, DEPTH_UNIT)
        self._depth_profile = self.depth.add_video_stream(self._stream(rs.stream.depth, rs.format.z16, 2))
        self.sensor = self.depth if one_sensor else self.device.add_sensor("RGB Camera")
        self._profile = self.sensor.add_video_stream(self._stream(rs.stream.color, rs.format.rgb8, 3))
        apart = rs.extrinsics()
        apart.rotation, apart.translation = np.eye(3).ravel().tolist(), [0.0 if one_sensor else APART, 0.0, 0.0]
        self._depth_profile.register_extrinsics_to(self._profile, apart)
        self.device.create_matcher(rs.matchers.default)
        self.silent = False
        self.frames = 0
        self._kept: list[np.ndarray] = []  # librealsense reads the pixels later

    def expose(self, domain: Any = None, deep: bool = False) -> None:
        """Take a picture; ``deep``: with the depth of a wall at `FAR`, at the same moment."""
        if self.silent:
            return
        if deep:
            wall = np.full((HEIGHT, WIDTH), round(FAR / DEPTH_UNIT), dtype=np.uint16)
            self._send(self.depth, self._depth_profile, wall, 2, domain)
        pixels = np.full((HEIGHT, WIDTH, 3), (200, self.frames % 256, 10), dtype=np.uint8)
        self._send(self.sensor, self._profile, pixels, 3, domain)
        self.frames += 1

    def _send(self, sensor: Any, profile: Any, pixels: np.ndarray, size: int, domain: Any) -> None:
        frame = rs.software_video_frame()
        self._kept.append(pixels)
        frame.pixels, frame.stride, frame.bpp = pixels, size * WIDTH, size
        frame.timestamp = 1000.0 * (EPOCH + self.frames / FPS)
        frame.domain = rs.timestamp_domain.global_time if domain is None else domain
        frame.frame_number = self.frames
        frame.profile = profile.as_video_stream_profile()
        if size == 2:
            frame.depth_units = DEPTH_UNIT
        sensor.on_video_frame(frame)

    @staticmethod
    def _stream(kind: Any, fmt: Any, bpp: int) -> Any:
        intrinsics = rs.intrinsics()
        intrinsics.width, intrinsics.height = WIDTH, HEIGHT
        intrinsics.fx = intrinsics.fy = FOCAL
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


@pytest.mark.parametrize(("key", "name"), [("exposure", "exposure"), ("white_balance", "white balance")])
def test_what_is_fixed_is_set_and_what_is_out_of_range_refused(key: str, name: str) -> None:
    software = SoftwareCamera("f1")
    option, automatic = getattr(rs.option, key), getattr(rs.option, f"enable_auto_{key}")
    for each, highest in ((option, 10000.0), (automatic, 1.0)):
        limits = rs.option_range()
        limits.min, limits.max, limits.step, limits.default = 0.0, highest, 1.0, 1.0
        software.sensor.add_option(each, limits, True)
    with driver(software):
        assert software.sensor.get_option(automatic) == 1.0
    with driver(software, **{key: 4500.0}):
        assert software.sensor.get_option(option) == 4500.0
        assert software.sensor.get_option(automatic) == 0.0
    with pytest.raises(CameraError, match=rf"{name} 20000 .*0–10000"):
        driver(software, **{key: 20000.0}).connect()


@pytest.mark.parametrize("key", ["exposure", "white_balance"])
def test_what_the_device_cannot_fix_is_refused(key: str) -> None:
    with pytest.raises(CameraError, match=f"the {key.replace('_', ' ')} of RealSense f1 .* cannot be set"):
        driver(SoftwareCamera("f1"), **{key: 500.0}).connect()


@pytest.mark.parametrize("one_sensor", [False, True])
def test_depth_is_that_of_the_pixels_of_the_picture(one_sensor: bool) -> None:
    software = SoftwareCamera("f1", one_sensor)
    with driver(software, depth=True) as camera:
        for _ in range(3):  # the first of them are taken for colour without depth
            software.expose(deep=True)
        frame = camera.read()
    assert frame.depth is not None
    assert (frame.depth.shape, frame.depth.dtype) == ((HEIGHT, WIDTH), np.uint16)
    assert frame.image[0, 0, 0] == 200
    known = frame.depth > 0  # the lens that colour is said to have leaves holes
    assert (frame.depth[known] == round(1000 * FAR)).all()
    beside = round(FOCAL * APART / FAR)  # pixels by which two sensors see the wall apart
    assert known[:, beside + 2 :].mean() > 0.8
    assert known[:, : beside - 2].mean() > 0.8 if one_sensor else not known[:, : beside - 2].any()
    assert frame.stamp == pytest.approx(EPOCH + frame.image[0, 0, 1] / FPS, abs=1e-3)


def test_without_depth_there_is_none_and_colour_alone_is_silence() -> None:
    software = SoftwareCamera("f1")
    with driver(software) as camera:
        software.expose(deep=True)
        assert camera.read().depth is None
    with driver(software, depth=True, timeout=0.3) as camera:
        software.expose()
        with pytest.raises(CameraError, match=r"f1.*no frame"):
            camera.read()


def test_a_depth_mode_that_the_device_lacks_is_named() -> None:
    software = SoftwareCamera("f1")
    large = SoftwareCamera._stream(rs.stream.color, rs.format.rgb8, 4)
    large.width, large.height = 2 * WIDTH, 2 * HEIGHT
    software.sensor.add_video_stream(large)
    with pytest.raises(CameraError, match=rf"has no depth mode 128×96@30; it offers: {WIDTH}×{HEIGHT}@{FPS}"):
        driver(software, width=2 * WIDTH, height=2 * HEIGHT, depth=True).connect()


def test_a_device_that_was_unplugged_is_opened_again() -> None:
    software, plugged = SoftwareCamera("f1"), True

    def find() -> list[Any]:
        return [software.device] if plugged else []

    camera = RealSenseCamera(NAME, "f1", WIDTH, HEIGHT, FPS, timeout=0.2, find_devices=find)
    camera.connect()
    software.expose()
    camera.read()
    plugged = False
    with pytest.raises(CameraError, match="no frame"):
        camera.read()
    camera.disconnect()
    with pytest.raises(CameraError, match="Connected: none"):
        camera.connect()
    plugged = True
    with camera:
        software.expose()
        assert camera.read().image[0, 0, 1] == 1
