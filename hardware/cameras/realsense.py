"""Intel RealSense colour cameras by pyrealsense2 (D405, D415, D435, D455).

The sensor is driven directly instead of through librealsense's pipeline: the pipeline adds a synchroniser that a single
stream does not need, and only real devices can be opened through it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from hardware.cameras.intrinsics import Intrinsics
from hardware.device import Device
from hardware.interfaces import CameraError, Frame

if TYPE_CHECKING:
    import pyrealsense2 as rs

NEWEST_ONLY = 1  # capacity of the frame queue: an unread frame gives way to a newer one


class RealSenseCamera(Device):
    """The colour stream of the RealSense with this serial number.

    Args:
        name: the camera's name in observations and topics.
        serial: as printed on the device; None takes the only one connected.
        width, height: image size [px]; fps: frames a second. The device must offer this mode.
        exposure: fixed exposure time [µs]; None leaves it to the camera. Fix it when a policy shall see the same
            picture on a cloudy day.
        global_time: stamps are the moment of exposure, mapped to the host's clock by librealsense. Without it (or where
            the device cannot) they are the moment of arrival.
        timeout: `read` gives up after this time [s].
        find_devices: lists the connected devices; the default asks librealsense.
    """

    def __init__(
        self,
        name: str,
        serial: str | None = None,
        width: int = 640,
        height: int = 480,
        fps: int = 30,
        exposure: float | None = None,
        global_time: bool = True,
        timeout: float = 1.0,
        find_devices: Callable[[], Iterable[rs.device]] | None = None,
    ) -> None:
        if timeout <= 0.0:
            raise ValueError(f"the timeout of camera {name!r} must be positive, not {timeout} s")
        self.name = name
        self._serial = serial
        self._mode = (width, height, fps)
        self._exposure = exposure
        self._global_time = global_time
        self._timeout = timeout
        self._find_devices = find_devices
        self._label = f"RealSense {serial or '(first)'} ({name})"
        self._sensor: Any = None
        self._queue: Any = None
        self._intrinsics: Intrinsics | None = None

    @property
    def intrinsics(self) -> Intrinsics | None:
        """The factory calibration, once connected."""
        return self._intrinsics

    def connect(self) -> None:
        """Start the stream. Raises `CameraError` when the device is missing, busy, or has no such mode."""
        if self._sensor is not None:
            return
        rs = _import_pyrealsense()
        try:
            device = self._device(rs)
            sensor, profile = self._profile(rs, device)
            self._configure(rs, sensor)
            self._intrinsics = _intrinsics(profile)
            self._queue = rs.frame_queue(NEWEST_ONLY)
            sensor.open(profile)
            try:
                sensor.start(self._queue)
            except RuntimeError:
                sensor.close()
                raise
        except RuntimeError as error:
            if isinstance(error, CameraError):
                raise
            raise CameraError(
                f"{self._label} cannot start: {error}. Close other programs that use it, and plug it into a USB 3 port"
            ) from error
        self._sensor = sensor

    def disconnect(self) -> None:
        sensor, self._sensor = self._sensor, None
        if sensor is not None:
            try:
                sensor.stop()
            finally:
                sensor.close()
                self._queue = None

    def read(self) -> Frame:
        """The newest frame not read yet; waits for it. Raises `CameraError` after the timeout."""
        if self._sensor is None:
            raise CameraError(f"{self._label} is not connected; call connect() first")
        rs = _import_pyrealsense()
        try:
            frame = self._queue.wait_for_frame(int(1000 * self._timeout))
        except RuntimeError as error:
            raise CameraError(
                f"{self._label} sent no frame for {self._timeout:g} s; check its cable and USB port, then start again"
            ) from error
        now, received = time.time(), time.monotonic()
        mapped = frame.get_frame_timestamp_domain() != rs.timestamp_domain.hardware_clock
        stamp = frame.get_timestamp() / 1000.0 if self._global_time and mapped else now
        return Frame(image=np.array(frame.get_data()), stamp=stamp, received=received)

    def _device(self, rs: Any) -> rs.device:
        devices = list(self._find_devices() if self._find_devices else rs.context().query_devices())
        serials = {device.get_info(rs.camera_info.serial_number): device for device in devices}
        listed = ", ".join(f"{s} ({d.get_info(rs.camera_info.name)})" for s, d in serials.items()) or "none"
        if self._serial is None:
            if len(serials) != 1:
                raise CameraError(
                    f"camera {self.name!r} names no serial number, but not exactly one is there. Connected: {listed}"
                )
            return devices[0]
        if self._serial not in serials:
            raise CameraError(
                f"no RealSense with serial number {self._serial} for camera {self.name!r}. Connected: {listed}. "
                "Check the cable, and that librealsense's udev rules are installed"
            )
        return serials[self._serial]

    def _profile(self, rs: Any, device: rs.device) -> tuple[rs.sensor, rs.video_stream_profile]:
        """The sensor and its colour profile of the wanted mode (on a D405 the depth sensor has it)."""
        modes = set()
        for sensor in device.query_sensors():
            for profile in sensor.get_stream_profiles():
                if profile.stream_type() == rs.stream.color and profile.format() == rs.format.rgb8:
                    video = profile.as_video_stream_profile()
                    mode = (video.width(), video.height(), video.fps())
                    if mode == self._mode:
                        return sensor, video
                    modes.add(mode)
        offered = ", ".join(f"{w}×{h}@{f}" for w, h, f in sorted(modes)) or "none; it may be on a USB 2 port"
        width, height, fps = self._mode
        raise CameraError(f"{self._label} has no RGB mode {width}×{height}@{fps}; it offers: {offered}")

    def _configure(self, rs: Any, sensor: rs.sensor) -> None:
        wanted = {rs.option.global_time_enabled: float(self._global_time)}
        wanted[rs.option.enable_auto_exposure] = float(self._exposure is None)
        for option, value in wanted.items():
            if sensor.supports(option):
                sensor.set_option(option, value)
        if self._exposure is None:
            return
        if not sensor.supports(rs.option.exposure):
            raise CameraError(f"the exposure of {self._label} cannot be set; leave it to the camera (exposure: null)")
        limits = sensor.get_option_range(rs.option.exposure)
        if not limits.min <= self._exposure <= limits.max:
            raise CameraError(
                f"exposure {self._exposure:g} of {self._label} is outside its range {limits.min:g}–{limits.max:g}"
            )
        sensor.set_option(rs.option.exposure, self._exposure)


def _import_pyrealsense() -> Any:
    try:
        import pyrealsense2
    except ModuleNotFoundError as error:
        raise CameraError("RealSense cameras need pyrealsense2: pip install 'robot-rl[realsense]'") from error
    except ImportError as error:
        raise CameraError(
            f"pyrealsense2 cannot be loaded ({error}); on Debian and Ubuntu: sudo apt install libusb-1.0-0 libudev1"
        ) from error
    return pyrealsense2


def _intrinsics(profile: rs.video_stream_profile) -> Intrinsics:
    values = profile.get_intrinsics()
    return Intrinsics(
        values.width,
        values.height,
        values.fx,
        values.fy,
        values.ppx,
        values.ppy,
        tuple(float(c) for c in values.coeffs),
    )


def make_realsense(name: str, device: str = "", **settings: Any) -> RealSenseCamera:
    """The driver ``realsense`` of `hardware.cameras.CAMERA_DRIVERS`."""
    return RealSenseCamera(name, device or None, **settings)
