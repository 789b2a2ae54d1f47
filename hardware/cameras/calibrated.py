"""A camera whose lens and place are known."""

from __future__ import annotations

from controllers.spatial import Pose
from hardware.cameras.calibration_file import Calibration
from hardware.device import Device
from hardware.interfaces import Camera, CameraError, Frame

FRAMES = {"wrist": "fr3_hand_tcp", "fixed": "fr3_link0"}  # of the hand and of the base, in the robot's description


class CalibratedCamera(Device):
    """Another camera, with its calibration, which its node publishes.

    Attributes:
        intrinsics: its lens.
        mount: the frame that it is mounted on, and its optical frame in there; None where that is not known.
    """

    def __init__(self, camera: Camera, calibration: Calibration) -> None:
        self.name = camera.name
        self._camera = camera
        self.intrinsics = calibration.lens
        self.mount: tuple[str, Pose] | None = None
        if calibration.mounting is not None and calibration.pose is not None:
            self.mount = FRAMES[calibration.mounting], calibration.pose

    def connect(self) -> None:
        self._camera.connect()

    def disconnect(self) -> None:
        self._camera.disconnect()

    def read(self) -> Frame:
        """The newest frame. Raises `CameraError`, also for one of another size than was calibrated."""
        frame = self._camera.read()
        size = frame.image.shape[1], frame.image.shape[0]
        if size != (self.intrinsics.width, self.intrinsics.height):
            raise CameraError(
                f"camera {self.name!r} sends {size[0]}x{size[1]} pixels and was calibrated at "
                f"{self.intrinsics.width}x{self.intrinsics.height}; calibrate it anew: robot-rl calibrate camera"
            )
        return frame
