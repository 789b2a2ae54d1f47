"""``robot-rl calibrate camera --camera``: pictures taken live from cameras that run, and from one that it starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image

from controllers.ros import topics
from controllers.ros.converters import fill_pose, ns_to_stamp
from controllers.spatial import Pose
from hardware.cameras.calibration import find
from hardware.cameras.calibration_file import POSES, read_calibration
from robot_rl.ros.converters import fill_image
from tests.conftest import require_job_mark
from tests.hardware.patient_camera import show
from tests.hardware.test_camera_calibration import BOARD, CAMERAS, LENS, photograph, placements
from tests.ros.conftest import Ros

pytestmark = [pytest.mark.job, pytest.mark.armless, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[2]
PERIOD = 0.1  # [s] between pictures of the same placement
PLACES = 60  # at most


class Command:
    """``robot-rl calibrate camera`` as a process."""

    def __init__(self, folder: Path, *words: str) -> None:
        require_job_mark()
        self.folder = folder
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            words = (sys.executable, "-m", "robot_rl", "calibrate", "camera", *words)
            around = {**os.environ, "PYTHONPATH": str(ROOT)}
            self.process = subprocess.Popen(
                words, cwd=folder, env=around, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    @property
    def said(self) -> str:
        return self._out.read_text() + self._err.read_text()

    @property
    def kept(self) -> int:
        """How many pictures it has kept."""
        return self.said.count(" is kept; ")

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    begun: list[Command] = []

    def begin(*words: str) -> Command:
        begun.append(Command(tmp_path, *words))
        return begun[-1]

    yield begin
    for each in begun:
        if not each.ended:
            each.process.terminate()
            each.process.wait(60.0)


class Publisher:
    """A camera on the hand and, where ``posed``, an arm: both say what they are told, with the stamp of the moment."""

    def __init__(self, ros: Ros, posed: bool = True) -> None:
        self.ros, self._node = ros, ros.node("camera")
        self._pictures = self._node.create_publisher(Image, "wrist/color/image_raw", 1)
        self._poses = self._node.create_publisher(PoseStamped, topics.CURRENT_POSE, 1) if posed else None

    def stay(self, picture: np.ndarray, hand: Pose, until: Callable[[], bool]) -> None:
        """Show ``picture`` and ``hand`` again and again."""

        def show() -> None:
            stamp = self._node.get_clock().now().nanoseconds
            pose = PoseStamped()
            ns_to_stamp(stamp, pose.header.stamp)
            fill_pose(hand, pose.pose)
            if self._poses is not None:
                self._poses.publish(pose)
            self._pictures.publish(fill_image(picture, stamp, "wrist", Image()))

        timer = self._node.create_timer(PERIOD, show)
        self.ros.spin_until(until)
        self._node.destroy_timer(timer)


def boards(seed: int) -> Iterator[tuple[np.ndarray, Pose]]:
    """Pictures of the board that is found in them, and poses of the hand."""
    rng = np.random.default_rng(seed)
    for number, (board, hand) in enumerate(placements("wrist", seed)):
        assert number < PLACES, "there have been enough"
        picture = photograph(board, 2.0, rng)
        if find(picture, BOARD) is not None:
            yield picture, hand


def test_a_camera_on_the_hand_of_an_arm_that_runs(ros: Ros, command: Callable[..., Command], tmp_path: Path) -> None:
    """The aims: 2 mm and 0.5°."""
    shown = Publisher(ros)
    live = command("--camera", "wrist", "--out", "wrist.yaml", "--listen")
    for number, (picture, hand) in enumerate(boards(1)):
        shown.stay(picture, hand, lambda number=number: live.ended or live.kept > number)
        if live.ended or "nothing is missing" in live.said:
            break
    assert live.process.wait(300.0) == 0, live.said
    found = read_calibration(tmp_path / "wrist.yaml")
    assert found.pose is not None
    off = CAMERAS["wrist"].difference(found.pose)
    assert np.linalg.norm(off[:3]) < 0.002 and np.degrees(np.linalg.norm(off[3:])) < 0.5
    assert found.lens.fx == pytest.approx(LENS.fx, rel=0.01)
    assert cv2.imread(str(tmp_path / "wrist-shots.png")) is not None


def test_without_an_arm_that_runs_it_ends_in_one_line(ros: Ros, command: Callable[..., Command]) -> None:
    shown = Publisher(ros, posed=False)
    live = command("--camera", "wrist", "--out", "wrist.yaml", "--listen")
    picture, hand = next(boards(1))
    shown.stay(picture, hand, lambda: live.ended)
    assert live.process.returncode == 2
    (line,) = [line for line in live.said.splitlines() if line.startswith("robot-rl: ")]
    assert line.startswith("robot-rl: the pose of the hand: nobody sends /current_pose; there ")


def test_it_starts_a_camera_for_its_lens_and_keeps_what_was_taken(
    command: Callable[..., Command], tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    settings = ("arm=fr3", "camera_driver=tests.hardware.patient_camera:PatientCamera", f"camera_devices={pictures}")
    live = command("--camera", "front", "--out", "front.yaml", "--mount", "none", *settings)
    patience = time.monotonic() + 300.0
    for number, (picture, _) in enumerate(boards(2)):
        while not live.ended and live.kept == number:
            assert time.monotonic() < patience, live.said
            show(pictures, picture)
            time.sleep(PERIOD)
        if number == 1:
            break
    live.process.send_signal(signal.SIGINT)
    assert live.process.wait(300.0) == 130, live.said
    folder = tmp_path / "front-shots"
    assert f"to calibrate with the pictures that there are: --shots {folder}" in live.said
    assert len(list(folder.glob("*.png"))) == 2
    assert not (folder / POSES).exists()
    assert not (tmp_path / "front.yaml").exists()
