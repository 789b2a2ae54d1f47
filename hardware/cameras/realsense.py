"""Intel RealSense cameras by pyrealsense2 (D405, D415, D435, D455): colour, and depth that is aligned to it.

Sensors are driven directly instead of through librealsense's pipeline: the pipeline adds a synchroniser that a single
stream does not need, and only real devices can be opened through it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hardware.cameras.intrinsics import Intrinsics
from hardware.device import Device
from hardware.interfaces import CameraError, Frame

if TYPE_CHECKING:
    import pyrealsense2 as rs

NEWEST_ONLY = 1  # capacity of the frame queue: an unread frame gives way to a newer one
MM = 1000.0  # of a metre


class Stream(NamedTuple):
    """A stream of a device: the sensor that has it, that one's name, and the ``profile`` (the mode)."""

    sensor: rs.sensor
    name: str
    profile: rs.video_stream_profile


class RealSenseCamera(Device):
    """The colour stream of the RealSense with this serial number, with its depth where that is wanted.

    Args:
        name: the camera's name in observations and topics.
        serial: as printed on the device; None takes the only one connected.
        width, height: image size [px]; fps: frames a second. The device must offer this mode.
        exposure: fixed exposure time [µs]; None leaves it to the camera. Fix it when a policy shall see the same
            picture on a cloudy day.
        white_balance: fixed colour temperature [K]; None leaves it to the camera. Fix it for the same reason.
        depth: each frame has the depth of each of its pixels; the device must offer it in the same mode.
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
        white_balance: float | None = None,
        depth: bool = False,
        global_time: bool = True,
        timeout: float = 1.0,
        find_devices: Callable[[], Iterable[rs.device]] | None = None,
    ) -> None:
        if timeout <= 0.0:
            raise ValueError(f"the timeout of camera {name!r} must be positive, not {timeout} s")
        self.name = name
        self._serial = serial
        self._mode = (width, height, fps)
        self._exposure, self._white_balance = exposure, white_balance
        self._depth = depth
        self._global_time = global_time
        self._timeout = timeout
        self._find_devices = find_devices
        self._label = f"RealSense {serial or '(first)'} ({name})"
        self._opened: list[Any] = []  # sensors
        self._queue: Any = None  # of frames, or with depth a synchroniser of the two streams
        self._align: Any = None
        self._intrinsics: Intrinsics | None = None

    @property
    def intrinsics(self) -> Intrinsics | None:
        """The factory calibration, once connected."""
        return self._intrinsics

    def connect(self) -> None:
        """Start the stream. Raises `CameraError` when the device is missing, busy, or has no such mode."""
        if self._opened:
            return
        rs = _import_pyrealsense()
        try:
            device = self._device(rs)
            colour = self._stream(rs, device, rs.stream.color, rs.format.rgb8, "RGB")
            self._configure(rs, colour.sensor)
            self._intrinsics = _intrinsics(colour.profile)
            streams = [colour]
            self._queue = rs.frame_queue(NEWEST_ONLY)
            if self._depth:
                streams.append(self._stream(rs, device, rs.stream.depth, rs.format.z16, "depth"))
                self._queue, self._align = rs.syncer(NEWEST_ONLY), rs.align(rs.stream.color)
            self._start(streams)
        except RuntimeError as error:
            if isinstance(error, CameraError):
                raise
            raise CameraError(
                f"{self._label} cannot start: {error}. Close other programs that use it, and plug it into a USB 3 port"
            ) from error

    def disconnect(self) -> None:
        """Release the device, which may have been unplugged."""
        opened, self._opened = self._opened, []
        for sensor in opened:
            for end in (sensor.stop, sensor.close):
                with contextlib.suppress(RuntimeError):  # it is gone, or has not been started
                    end()
        self._queue = None

    def read(self) -> Frame:
        """The newest frame not read yet; waits for it. Raises `CameraError` after the timeout."""
        if not self._opened:
            raise CameraError(f"{self._label} is not connected; call connect() first")
        rs = _import_pyrealsense()
        try:
            frame, depth = self._synchronised() if self._depth else (self._queue.wait_for_frame(self._timeout_ms), None)
        except RuntimeError as error:
            raise CameraError(
                f"{self._label} sent no frame for {self._timeout:g} s; check its cable and USB port, then start again"
            ) from error
        now, received = time.time(), time.monotonic()
        mapped = frame.get_frame_timestamp_domain() != rs.timestamp_domain.hardware_clock
        stamp = frame.get_timestamp() / 1000.0 if self._global_time and mapped else now
        return Frame(image=np.array(frame.get_data()), stamp=stamp, received=received, depth=depth)

    @property
    def _timeout_ms(self) -> int:
        return int(1000 * self._timeout)

    def _synchronised(self) -> tuple[Any, np.ndarray]:
        """The newest colour frame that depth belongs to, and that depth [mm]. Raises RuntimeError after the timeout."""
        deadline = time.monotonic() + self._timeout
        while True:
            left = max(1, int(1000 * (deadline - time.monotonic())))
            frames = self._queue.wait_for_frames(left)
            if frames.get_color_frame() and frames.get_depth_frame():
                aligned = self._align.process(frames)
                depth = aligned.get_depth_frame()
                millimetres = np.asarray(depth.get_data()) * (MM * depth.get_units())
                return aligned.get_color_frame(), np.rint(np.minimum(millimetres, 65535.0)).astype(np.uint16)
            if time.monotonic() > deadline:
                raise RuntimeError("colour and depth did not come together")

    def _start(self, streams: list[Stream]) -> None:
        """Open the sensors, each with all its streams, and start them; on an error none is left open."""
        profiles: dict[str, list[Any]] = {}  # by name of the sensor
        sensors = {stream.name: stream.sensor for stream in streams}
        for stream in streams:
            profiles.setdefault(stream.name, []).append(stream.profile)
        try:
            for name, sensor in sensors.items():
                self._opened.append(sensor)
                sensor.open(profiles[name])
                sensor.start(self._queue)
        except RuntimeError:
            self.disconnect()
            raise

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

    def _stream(self, rs: Any, device: rs.device, kind: Any, encoding: Any, name: str) -> Stream:
        """The stream of the wanted mode (on a D405 the depth sensor has that of colour). Raises `CameraError`."""
        modes = set()
        for sensor in device.query_sensors():
            for profile in sensor.get_stream_profiles():
                if profile.stream_type() == kind and profile.format() == encoding:
                    video = profile.as_video_stream_profile()
                    mode = (video.width(), video.height(), video.fps())
                    if mode == self._mode:
                        return Stream(sensor, sensor.get_info(rs.camera_info.name), video)
                    modes.add(mode)
        offered = ", ".join(f"{w}×{h}@{f}" for w, h, f in sorted(modes)) or "none; it may be on a USB 2 port"
        width, height, fps = self._mode
        raise CameraError(f"{self._label} has no {name} mode {width}×{height}@{fps}; it offers: {offered}")

    def _configure(self, rs: Any, sensor: rs.sensor) -> None:
        """Set the options of the colour sensor. Raises `CameraError` for one that it has not, or a value beyond it."""
        option = rs.option
        if sensor.supports(option.global_time_enabled):
            sensor.set_option(option.global_time_enabled, float(self._global_time))
        for name, value, automatic, fixed in (
            ("exposure", self._exposure, option.enable_auto_exposure, option.exposure),
            ("white balance", self._white_balance, option.enable_auto_white_balance, option.white_balance),
        ):
            if sensor.supports(automatic):
                sensor.set_option(automatic, float(value is None))
            if value is not None:
                self._fix(sensor, fixed, name, value)

    def _fix(self, sensor: rs.sensor, option: Any, name: str, value: float) -> None:
        if not sensor.supports(option):
            raise CameraError(f"the {name} of {self._label} cannot be set; leave it to the camera")
        limits = sensor.get_option_range(option)
        if not limits.min <= value <= limits.max:
            raise CameraError(f"{name} {value:g} of {self._label} is outside its range {limits.min:g}–{limits.max:g}")
        sensor.set_option(option, value)


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
