"""The contact sheet of cameras on real topics: a video file by its driver and node, and those that are not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image

from hardware.cameras.opencv import OpenCVCamera
from hardware.ros.camera_node import CameraNode
from robot_rl.contract import View
from robot_rl.perception.meter import NONE_YET, CameraReport
from robot_rl.ros.converters import fill_image
from robot_rl.ros.sheet_node import SheetNode
from tests.videos import HEIGHT, WIDTH, write_video

VIEW = View(size=32)


class Looked:
    """A contact sheet, and what it hands out."""

    def __init__(self, ros: Any, *cameras: str, patience: float = 0.0, **more: Any) -> None:
        self.sheets: list[np.ndarray] = []
        self.reports: dict[str, CameraReport] = {}
        seen = {name: {"policy": VIEW} for name in cameras}
        self.node = SheetNode(seen, self.sheets.append, self._keep, 1.0, 5.0, patience=patience, **more)
        ros.add(self.node)

    def _keep(self, reports: dict[str, CameraReport]) -> None:
        self.reports = reports


@pytest.mark.parametrize("compressed", [False, True])
def test_a_camera_that_runs_is_shown_and_measured(ros: Any, tmp_path: Path, compressed: bool) -> None:
    with OpenCVCamera("wrist", write_video(tmp_path / "video.avi"), timeout=60.0) as camera:
        looked = Looked(ros, "wrist", "front", compressed=compressed)
        ros.add(CameraNode([camera], rate=100.0))
        ros.spin_until(lambda: looked.reports and looked.reports["wrist"].pictures >= 10 and looked.sheets)
    report = looked.reports["wrist"]
    assert (report.width, report.height, report.trouble) == (WIDTH, HEIGHT, "")
    assert report.rate > 0.0 and report.age >= 0.0
    assert looked.reports["front"].trouble == NONE_YET
    assert looked.sheets[-1].dtype == np.uint8


def test_a_camera_that_nobody_sends_is_refused_with_those_that_are_there(ros: Any) -> None:
    ros.node("other").create_publisher(Image, "left/color/image_raw", 1)
    looked = Looked(ros, "front", patience=0.5)
    ros.spin_until(lambda: looked.node.failure)
    said = "camera 'front': nobody sends /front/color/image_raw; there are /left/color/image_raw. Is it"
    assert str(looked.node.failure).startswith(said)


def test_what_is_no_picture_is_said(ros: Any) -> None:
    looked = Looked(ros, "front")
    publisher = ros.node("camera").create_publisher(Image, "front/color/image_raw", 1)
    message = fill_image(cv2.merge([np.full((8, 8), 99, np.uint8)] * 3), 1, "frame", Image())
    message.encoding = "mono8"
    ros.spin_until(lambda: publisher.get_subscription_count())
    publisher.publish(message)
    ros.spin_until(lambda: looked.reports and "mono8" in looked.reports["front"].trouble)
