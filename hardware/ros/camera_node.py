"""Cameras on the topics ``<camera>/color/image_raw``, ``…/image_raw/compressed`` and ``<camera>/color/camera_info``.

The depth of one that has it is on ``<camera>/aligned_depth_to_color/image_raw``, as realsense-ros names it.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from geometry_msgs.msg import PoseArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState

from controllers.ros import topics
from controllers.ros.converters import NS, pose_from, stamp_to_ns
from controllers.spatial import Pose
from hardware.cameras import CAMERA_DRIVERS, make_camera
from hardware.cameras.rendered import RenderedCamera
from hardware.interfaces import Camera, CameraError, Frame, HardwareError
from hardware.ros.converters import fill_camera_info, fill_depth, fill_header, fill_image
from hardware.ros.frames import StaticFrames, frame_prefix
from hardware.ros.joining import StampJoin
from hardware.ros.runtime import Stop, ros, spin
from hardware.scene import SceneSpec
from hardware.sim.channel.client import SceneState

RATE = 30.0  # [Hz]
RENDERED_RATE = 15.0  # [Hz]; software rendering shares its cores with the simulation
KEPT = 4  # incomplete states of the scene that are remembered
RENDERED_SIZE = (128, 128)  # height, width [px]
JPEG_QUALITY = 90
LOST_AFTER, RETRY = 10.0, 0.5  # [s] without a frame after which nobody waits any more; between two tries
DEPTH = "aligned_depth_to_color/image_raw"


class CameraNode(Node):
    """Publishes the newest frames of connected cameras.

    Args:
        cameras: connected drivers.
        rate: how often a second they are read. `Camera.read` waits for a frame, so the camera's own rate is a limit.
        ready: nothing is read while it says no.
        patience: [s] for which a camera that was lost is opened again and again before its error leaves through `spin`.

    A frame is published once.
    """

    def __init__(
        self,
        cameras: Sequence[Camera],
        rate: float = RATE,
        ready: Callable[[], bool] = lambda: True,
        patience: float = 0.0,
    ) -> None:
        super().__init__("camera_" + "_".join(camera.name for camera in cameras))
        self._outputs = [CameraOutput(self, camera, patience) for camera in cameras]
        self.frames = StaticFrames(self, [frame for camera in cameras for frame in frames_of(camera)])
        self._ready = ready
        self.create_timer(1.0 / rate, self._tick)

    def _tick(self) -> None:
        if self._ready():
            for output in self._outputs:
                output.publish_newest()


def optical_frame(camera: Camera) -> str:
    """The frame of a camera's images: z along the view, x to the right, y down."""
    return f"{camera.name}_color_optical_frame"


def frames_of(camera: Camera) -> list[tuple[str, str, Pose]]:
    """The optical frame in the frame on which the camera is mounted; empty while that is not known.

    A drawn camera knows. That of a real one is whatever a calibration has found, published by whoever made it.
    """
    mount: tuple[str, Pose] | None = getattr(camera, "mount", None)
    return [(mount[0], optical_frame(camera), mount[1])] if mount is not None else []


class CameraOutput:
    """One camera and its publishers; ``patience``: see `CameraNode`."""

    def __init__(self, node: Node, camera: Camera, patience: float) -> None:
        topic = f"{camera.name}/color/image_raw"
        self._log = node.get_logger()
        self._patience = patience
        self._lost: tuple[float, str] | None = None  # since when [s, steady], and the newest reason
        self._retry = 0.0  # [s, steady]: it is not opened again before
        self._camera = camera
        self._frame_id = frame_prefix(node) + optical_frame(camera)
        self._stamp = -1.0
        self._image = node.create_publisher(Image, topic, 1)
        self._compressed = node.create_publisher(CompressedImage, f"{topic}/compressed", 1)
        self._info = node.create_publisher(CameraInfo, f"{camera.name}/color/camera_info", 1)
        self._node = node
        self._depth: Publisher | None = None  # made for the first frame that has it

    def publish_newest(self) -> None:
        """Publish the camera's newest frame, unless it has been. Raises `CameraError` when it is lost for too long."""
        frame = self._read()
        if frame is None or frame.stamp == self._stamp:
            return
        self._stamp = frame.stamp
        intrinsics = getattr(self._camera, "intrinsics", None)
        self._info.publish(fill_camera_info(intrinsics, frame, self._frame_id, CameraInfo()))
        self._image.publish(fill_image(frame, self._frame_id, Image()))
        if frame.depth is not None:
            self._publish_depth(frame)
        if self._compressed.get_subscription_count() > 0:
            self._compressed.publish(self._jpeg(frame))

    def _publish_depth(self, frame: Frame) -> None:
        if self._depth is None:
            self._depth = self._node.create_publisher(Image, f"{self._camera.name}/{DEPTH}", 1)
        if self._depth.get_subscription_count() > 0:
            self._depth.publish(fill_depth(frame, self._frame_id, Image()))

    def _read(self) -> Frame | None:
        """The newest frame; None while the camera is lost."""
        if self._lost is not None and time.monotonic() < self._retry:
            return None
        try:
            if self._lost is not None:
                self._camera.connect()
            frame = self._camera.read()
        except CameraError as error:
            self._lose(error)
            return None
        if self._lost is not None:
            self._log.warning(f"camera {self._camera.name!r} sends again")
            self._lost = None
        return frame

    def _lose(self, error: CameraError) -> None:
        now, words = time.monotonic(), str(error)
        since, before = self._lost or (now, "")
        if now - since >= self._patience:
            raise error
        if words != before:
            self._log.error(words)
        self._lost, self._retry = (since, words), now + RETRY
        self._camera.disconnect()

    def _jpeg(self, frame: Frame) -> CompressedImage:
        bgr = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
        _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        message = CompressedImage(format="rgb8; jpeg compressed bgr8", data=array.array("B", jpeg.tobytes()))
        return fill_header(frame.stamp, self._frame_id, message)


class SceneListener:
    """The simulated scene as the arm node publishes it: joints and objects of one stamp make a `SceneState`.

    Args:
        objects: names of the movable objects, in the order in which they are published.
    """

    def __init__(self, objects: tuple[str, ...]) -> None:
        self._objects = objects
        wanted = (topics.JOINT_STATES, topics.OBJECTS) if objects else (topics.JOINT_STATES,)
        self._join: StampJoin[Any] = StampJoin(wanted, KEPT)
        self._fresh = False
        self.state: SceneState | None = None

    def subscribe(self, node: Node) -> None:
        node.create_subscription(JointState, topics.JOINT_STATES, lambda m: self._take_in(topics.JOINT_STATES, m), 1)
        if self._objects:
            node.create_subscription(PoseArray, topics.OBJECTS, lambda m: self._take_in(topics.OBJECTS, m), 1)

    def take(self) -> bool:
        """Whether there is a state that nobody has taken yet."""
        fresh, self._fresh = self._fresh, False
        return fresh

    def _take_in(self, topic: str, message: Any) -> None:
        stamp = stamp_to_ns(message.header.stamp)
        parts = self._join.put(topic, stamp, message)
        if parts is None:
            return
        poses = parts[topics.OBJECTS].poses if self._objects else ()
        if len(poses) != len(self._objects):
            raise CameraError(
                f"topic {topics.OBJECTS!r} has {len(poses)} poses, but this scene has the objects {self._objects}; "
                "start the simulator and the camera with the same task"
            )
        joints = dict(zip(parts[topics.JOINT_STATES].name, parts[topics.JOINT_STATES].position, strict=True))
        self.state = SceneState(
            time=stamp / NS,
            q=np.array([joints[name] for name in topics.JOINT_NAMES]),
            width=sum(joints[name] for name in topics.FINGER_NAMES),
            objects={name: pose_from(pose) for name, pose in zip(self._objects, poses, strict=True)},
        )
        self._fresh = True


def run(cameras: Sequence[Camera], stop: Stop, rate: float = RATE) -> None:
    """Publish ``cameras`` until ``stop``. rclpy is initialised.

    Raises `CameraError` when one is not there, or was lost and has not come back within `LOST_AFTER`.
    """
    with contextlib.ExitStack() as stack:
        for camera in cameras:
            camera.connect()
            stack.callback(camera.disconnect)
        spin(CameraNode(cameras, rate, patience=LOST_AFTER), stop)


def run_rendered(
    spec: SceneSpec,
    names: Sequence[str],
    stop: Stop,
    size: tuple[int, int] = RENDERED_SIZE,
    rate: float = RENDERED_RATE,
    variation: float = 0.0,
) -> None:
    """Publish the cameras ``names`` of the simulated scene, drawn from ``joint_states`` and ``objects``.

    Args:
        spec: the scene that the simulator runs.
        names: of `hardware.scene.CAMERAS`.
        stop: ends it.
        size: height and width of the images [px].
        rate: at most so many images a second [Hz].
        variation: of looks, 0 to 1.
    """
    listener = SceneListener(spec.objects)
    with contextlib.ExitStack() as stack:
        cameras = [
            RenderedCamera(name, spec, *size, source=lambda: listener.state, variation=variation) for name in names
        ]
        for camera in cameras:
            camera.connect()
            stack.callback(camera.disconnect)
        node = CameraNode(cameras, rate, ready=listener.take)
        listener.subscribe(node)
        spin(node, stop)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Publish a camera. Rendered cameras come with `robot-rl sim`.")
    parser.add_argument("--camera", required=True, help="name in topics and observations")
    parser.add_argument("--driver", required=True, help=CAMERA_DRIVERS.listed())
    parser.add_argument("--device", default="", help="serial number (realsense), index or path (opencv)")
    parser.add_argument("--width", type=int, help="[px]")
    parser.add_argument("--height", type=int, help="[px]")
    parser.add_argument("--fps", type=int, help="frames a second")
    parser.add_argument("--exposure", type=float, help="fixed exposure time [µs] (realsense)")
    parser.add_argument("--white-balance", type=float, help="fixed colour temperature [K] (realsense)")
    parser.add_argument("--depth", action="store_true", help="publish depth that is aligned to colour (realsense)")
    parser.add_argument("--rate", type=float, default=RATE, help="images published a second, at most")
    given = parser.parse_args(remove_ros_args(sys.argv[1:] if argv is None else argv))
    try:
        camera = make_camera(
            given.driver,
            given.camera,
            given.device,
            given.width,
            given.height,
            given.fps,
            given.exposure,
            given.white_balance,
            given.depth,
        )
        with ros() as stop:
            run([camera], stop, given.rate)
    except HardwareError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
