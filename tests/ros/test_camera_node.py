"""The camera node: a real driver on a video file on one side, real topics on the other."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Iterator
from ctypes.util import find_library
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose as PoseMsg
from geometry_msgs.msg import PoseArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState

from controllers.ros import topics
from controllers.ros.converters import fill_pose, stamp_to_ns
from controllers.spatial import Pose
from hardware.cameras.intrinsics import Intrinsics
from hardware.cameras.opencv import OpenCVCamera
from hardware.interfaces import CameraError, Frame
from hardware.ros.camera_node import CameraNode, SceneListener, main
from hardware.ros.converters import fill_camera_info, fill_image
from tests.fault_table import FaultTable

HEIGHT, WIDTH, FPS, FRAMES = 48, 64, 100.0, 1500
INTRINSICS = Intrinsics(WIDTH, HEIGHT, 60.0, 61.0, 31.5, 23.5, (0.1, 0.0, 0.0, 0.0, 0.0))
STOP_TIMEOUT = 30.0  # [s]
Q = [0.1, -0.5, 0.0, -2.4, 0.0, 1.9, 0.8]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    for index in range(FRAMES):
        writer.write(np.full((HEIGHT, WIDTH, 3), (index % 50, 20, 200), dtype=np.uint8))
    writer.release()
    return path


@pytest.fixture
def camera(video: Path) -> Iterator[OpenCVCamera]:
    with OpenCVCamera("wrist", video, timeout=10.0, intrinsics=INTRINSICS) as camera:
        yield camera


def test_image_and_calibration_carry_the_capture_time_and_the_optical_frame(ros: Any, camera: OpenCVCamera) -> None:
    images: list[Image] = []
    infos: list[CameraInfo] = []
    node = ros.node()
    node.create_subscription(Image, "wrist/color/image_raw", images.append, 10)
    node.create_subscription(CameraInfo, "wrist/color/camera_info", infos.append, 10)
    ros.add(CameraNode([camera]))
    ros.spin_until(lambda: len(images) >= 3 and len(infos) >= 3)
    image = images[0]
    assert (image.height, image.width, image.step, image.encoding) == (HEIGHT, WIDTH, 3 * WIDTH, "rgb8")
    pixels = np.frombuffer(image.data, np.uint8).reshape(HEIGHT, WIDTH, 3)
    assert pixels[..., 0].mean() > 150 > pixels[..., 2].mean()
    assert image.header.frame_id == infos[0].header.frame_id == "wrist_color_optical_frame"
    stamps = [stamp_to_ns(message.header.stamp) for message in images]
    assert len(set(stamps)) == len(stamps)
    assert set(stamps) & {stamp_to_ns(message.header.stamp) for message in infos}
    assert infos[0].k.tolist() == [60.0, 0.0, 31.5, 0.0, 61.0, 23.5, 0.0, 0.0, 1.0]


def test_a_compressed_image_is_made_for_who_subscribes(ros: Any, camera: OpenCVCamera) -> None:
    compressed: list[CompressedImage] = []
    node = ros.node()
    node.create_subscription(CompressedImage, "wrist/color/image_raw/compressed", compressed.append, 10)
    ros.add(CameraNode([camera]))
    ros.spin_until(lambda: compressed)
    bgr = cv2.imdecode(np.frombuffer(compressed[0].data, np.uint8), cv2.IMREAD_COLOR)
    assert bgr.shape == (HEIGHT, WIDTH, 3)
    assert bgr[..., 2].mean() > 150


class StillCamera:
    """Hands out one and the same frame, as a simulator at rest does."""

    name = "still"

    def __init__(self) -> None:
        self.reads = 0

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def read(self) -> Frame:
        self.reads += 1
        return Frame(np.zeros((2, 2, 3), np.uint8), 5.0, 0.0)


def test_a_frame_is_published_once(ros: Any) -> None:
    images: list[Image] = []
    still = StillCamera()
    ros.node().create_subscription(Image, "still/color/image_raw", images.append, 10)
    node = CameraNode([still], rate=200.0)
    while not node.count_subscribers("still/color/image_raw"):
        ros.spin_times(1)
    ros.add(node)
    ros.spin_until(lambda: still.reads >= 20)
    assert len(images) == 1


def test_nothing_is_read_until_the_source_is_ready(ros: Any) -> None:
    still = StillCamera()
    asked: list[bool] = []
    ros.add(CameraNode([still], rate=200.0, ready=lambda: bool(asked.append(False))))
    ros.spin_until(lambda: len(asked) >= 10)
    assert still.reads == 0


def test_a_lost_camera_leaves_through_the_executor(ros: Any, video: Path) -> None:
    with OpenCVCamera("wrist", video, timeout=10.0) as camera:
        ros.add(CameraNode([camera], rate=200.0))
        with video.open("r+b") as file:
            file.truncate(0)
        with pytest.raises(CameraError, match="wrist"):
            ros.spin_until(lambda: False)


def test_a_camera_that_comes_back_is_opened_again(ros: Any, video: Path, fault_table: FaultTable) -> None:
    images: list[Image] = []
    ros.node().create_subscription(Image, "wrist/color/image_raw", images.append, 10)
    with OpenCVCamera("wrist", video, timeout=0.5) as camera:
        ros.add(CameraNode([camera], rate=200.0, patience=300.0))
        ros.spin_until(lambda: images)
        away = video.rename(video.with_name("away.avi"))
        camera.disconnect()  # as an unplugged one is
        ros.spin_times(20)
        seen = len(images)
        ros.spin_times(20)
        assert len(images) == seen
        away.rename(video)
        back = time.monotonic()
        ros.spin_until(lambda: len(images) > seen)
        again = "opened again, twice a second for 10 s; here from when it was back until its next picture"
        fault_table.add("a camera is unplugged, and plugged in again", again, 1e3 * (time.monotonic() - back))


def test_a_camera_that_stays_away_leaves_through_the_executor(ros: Any, video: Path) -> None:
    with OpenCVCamera("wrist", video, timeout=10.0) as camera:
        ros.add(CameraNode([camera], rate=200.0, patience=1.0))
        video.rename(video.with_name("away.avi"))
        camera.disconnect()
        with pytest.raises(CameraError, match=r"'wrist' \(.*video.avi\) cannot be opened"):
            ros.spin_until(lambda: False)


def test_an_image_survives_the_converter() -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    message = fill_image(Frame(image, 1.5, 0.0), "frame", Image())
    np.testing.assert_array_equal(np.frombuffer(message.data, np.uint8).reshape(2, 3, 3), image)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1, 500_000_000)


def test_depth_is_published_for_who_subscribes(ros: Any) -> None:
    depth = np.arange(6, dtype=np.uint16).reshape(2, 3) * 1000
    frame = Frame(np.zeros((2, 3, 3), np.uint8), 5.0, 0.0, depth)

    class Deep(StillCamera):
        def read(self) -> Frame:
            self.reads += 1
            return dataclasses.replace(frame, stamp=float(self.reads))

    messages: list[Image] = []
    ros.node().create_subscription(Image, "still/aligned_depth_to_color/image_raw", messages.append, 10)
    ros.add(CameraNode([Deep()], rate=100.0))
    ros.spin_until(lambda: messages)
    message = messages[0]
    assert (message.encoding, message.height, message.width, message.step) == ("16UC1", 2, 3, 6)
    np.testing.assert_array_equal(np.frombuffer(message.data, "<u2").reshape(2, 3), depth)


def test_an_uncalibrated_camera_says_so_with_zeros() -> None:
    message = fill_camera_info(None, Frame(np.zeros((2, 3, 3), np.uint8), 0.0, 0.0), "frame", CameraInfo())
    assert (message.height, message.width) == (2, 3)
    assert not message.k.any()


def scene_messages(sec: int, objects: int = 1) -> tuple[JointState, PoseArray]:
    joints = JointState(name=[*topics.JOINT_NAMES, *topics.FINGER_NAMES], position=[*Q, 0.02, 0.02])
    poses = PoseArray(poses=[fill_pose(Pose.identity(), PoseMsg()) for _ in range(objects)])
    joints.header.stamp = poses.header.stamp = Time(sec=sec)
    return joints, poses


@pytest.mark.parametrize("joints_first", [True, False])
def test_the_scene_is_put_together_from_messages_of_one_stamp(ros: Any, joints_first: bool) -> None:
    listener = SceneListener(("cube",))
    node = ros.node()
    listener.subscribe(node)
    publishers = (
        node.create_publisher(JointState, topics.JOINT_STATES, 1),
        node.create_publisher(PoseArray, topics.OBJECTS, 1),
    )
    order = publishers if joints_first else publishers[::-1]
    old, new = scene_messages(6), scene_messages(7)
    first, second = new if joints_first else new[::-1]
    publishers[0].publish(old[0])
    ros.spin_times(3)
    assert not listener.take()
    order[0].publish(first)
    ros.spin_times(3)
    assert not listener.take()
    order[1].publish(second)
    ros.spin_until(listener.take)
    assert listener.state is not None
    assert listener.state.time == 7.0
    assert listener.state.width == pytest.approx(0.04)
    np.testing.assert_allclose(listener.state.q, Q)
    assert list(listener.state.objects) == ["cube"]
    assert not listener.take()


def test_a_scene_without_objects_needs_the_joints_only(ros: Any) -> None:
    listener = SceneListener(())
    node = ros.node()
    listener.subscribe(node)
    node.create_publisher(JointState, topics.JOINT_STATES, 1).publish(scene_messages(3)[0])
    ros.spin_until(listener.take)


def test_a_scene_of_another_task_is_refused(ros: Any) -> None:
    listener = SceneListener(("cube", "plate"))
    node = ros.node()
    listener.subscribe(node)
    joints, poses = scene_messages(3)
    node.create_publisher(JointState, topics.JOINT_STATES, 1).publish(joints)
    node.create_publisher(PoseArray, topics.OBJECTS, 1).publish(poses)
    with pytest.raises(CameraError, match="same task"):
        ros.spin_until(lambda: False)


RENDERED = """
from hardware.ros.runtime import ros
from hardware.ros.camera_node import run_rendered
from hardware.scene import SceneSpec

ball = '<body name="ball"><freejoint/><geom type="sphere" size="0.12" rgba="1 0 0 1"/></body>'
with ros() as stop:
    run_rendered(SceneSpec(worldbody=ball, objects=("ball",)), ("front", "wrist"), stop, (48, 64))
"""


@pytest.mark.skipif(not (find_library("OSMesa") or find_library("EGL")), reason="needs libOSMesa or libEGL")
def test_as_a_process_it_draws_what_the_arm_publishes_and_stops_on_a_signal(ros: Any) -> None:
    images: dict[str, list[Image]] = {"front": [], "wrist": []}
    node = ros.node()
    for name, received in images.items():
        node.create_subscription(Image, f"{name}/color/image_raw", received.append, 10)
    joints, poses = (
        node.create_publisher(JointState, topics.JOINT_STATES, 1),
        node.create_publisher(PoseArray, topics.OBJECTS, 1),
    )
    process = subprocess.Popen([sys.executable, "-c", RENDERED])
    try:
        ros.spin_until(lambda: joints.get_subscription_count() and poses.get_subscription_count())
        state = scene_messages(7)
        joints.publish(state[0])
        poses.publish(state[1])
        ros.spin_until(lambda: all(images.values()) or process.poll() is not None)
        for received in images.values():
            assert (received[0].height, received[0].width) == (48, 64)
            assert stamp_to_ns(received[0].header.stamp) == 7_000_000_000
        process.terminate()
        assert process.wait(STOP_TIMEOUT) == 0
    finally:
        process.kill()
        process.wait()


def test_an_absent_camera_is_one_line_and_exit_code_2(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--camera", "wrist", "--driver", "opencv", "--device", "none.avi"]) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "'wrist' (none.avi) cannot be opened" in errors[0]
