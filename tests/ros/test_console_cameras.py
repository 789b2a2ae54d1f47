"""The page's node listens to cameras while somebody looks, and says how they are doing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hardware.cameras.opencv import OpenCVCamera
from hardware.ros.camera_node import CameraNode
from robot_rl.console.board import Board
from robot_rl.console.ros.node import ConsoleNode
from robot_rl.contract import View
from robot_rl.perception.contact_sheet import COLOURS
from tests.videos import HEIGHT, WIDTH, write_video


def test_cameras_are_looked_at_while_the_page_is_watched(ros: Any, tmp_path: Path) -> None:
    watched, boards = False, []

    def refresh(board: Board, dragging: bool) -> None:
        boards.append(board)

    node = ConsoleNode((), {"wrist": View(size=32), "front": View()}, lambda board: None, silence=60.0)
    node.attach(refresh, lambda: watched)
    ros.add(node)
    with OpenCVCamera("wrist", write_video(tmp_path / "video.avi"), timeout=60.0) as camera:
        ros.add(CameraNode([camera], rate=100.0))
        ros.spin_until(lambda: len(boards) > 10)
        assert node.board.cameras == {} and node.board.images == {}
        watched = True
        ros.spin_until(lambda: "Hz" in getattr(node.board.cameras.get("wrist"), "text", ""))
        ros.spin_until(lambda: "wrist" in node.board.images)
        said = node.board.cameras
        watched = False
        ros.spin_until(lambda: node.board.cameras == {})
    assert said["wrist"].level == "ok" and said["wrist"].text.startswith(f"wrist, {WIDTH}x{HEIGHT}, ")
    assert said["front"] == ("error", "front, no picture: has not sent an image yet")
    picture = node.board.images["wrist"]
    assert (picture[0, (WIDTH - HEIGHT) // 2 :][:HEIGHT] == np.array(COLOURS[0])).all(), "the square that is taken"
