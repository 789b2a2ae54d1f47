"""Pictures of a calibration board, taken from a camera that runs while a person moves board or hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node

from controllers.ros import topics
from controllers.ros.converters import pose_from, stamp_to_ns
from controllers.spatial import Pose
from hardware.cameras.board_picture import draw_board
from hardware.cameras.calibration import Board, find
from hardware.cameras.coverage import BoardWatch
from hardware.interfaces import ArmConnectionError, CameraError, HardwareError
from robot_rl.contract import ContractError
from robot_rl.ros.camera_topics import NEWEST, listen_to_camera
from robot_rl.ros.converters import image_from
from robot_rl.ros.senders import nobody_sends

LOOKS = 8.0  # [Hz]
SILENT = 1.0  # [s] without a picture that are said
APART = 0.25  # [s] by which a picture and the hand's pose may be apart: both have been still for longer
SECOND = 10**9  # [ns]


class ShotsReport(NamedTuple):
    """How far the pictures are.

    Attributes:
        looked: pictures looked at, and in how many of them the board was ``found``.
        kept: how many are kept.
        words: what the person should do.
        missing: pictures that are lacking; see `BoardWatch.missing`.
    """

    looked: int
    found: int
    kept: int
    words: str
    missing: tuple[str, ...]

    @property
    def line(self) -> str:
        """All of it, in words."""
        lacks = f"missing: {'; '.join(self.missing)}" if self.missing else "nothing is missing"
        return f"{self.kept} kept │ {self.words} │ {lacks} │ board found in {self.found} of {self.looked}"


class ShotsNode(Node):
    """Looks at the newest picture of a camera, and hands out those that a calibration needs.

    Args:
        camera: its name.
        board: to be found.
        with_hand: the pose of the hand in the base belongs to a picture.
        keep: called with each picture ``(h, w, 3)`` uint8 RGB that is to be kept, and that pose.
        tell: called after each look with how far it is.
        draw: called after each look with a picture for the person ``(h, w, 3)`` uint8 RGB.
        compressed: see `listen_to_camera`.
        patience: [s] until somebody has to send pictures and poses; 0: they are waited for.

    Attributes:
        done: nothing is missing.
        failure: why it cannot go on; None while it can.
    """

    def __init__(
        self,
        camera: str,
        board: Board,
        with_hand: bool,
        keep: Callable[[np.ndarray, Pose | None], None],
        tell: Callable[[ShotsReport], None],
        draw: Callable[[np.ndarray], None],
        compressed: bool = False,
        patience: float = 0.0,
    ) -> None:
        super().__init__("calibration_shots")
        self.done = False
        self.failure: HardwareError | None = None
        self._camera, self._board, self._with_hand = camera, board, with_hand
        self._keep, self._tell, self._draw = keep, tell, draw
        self._watch: BoardWatch | None = None
        self._message: Any = None  # the newest picture, not looked at yet
        self._hand: tuple[int, Pose] | None = None
        self._looked = self._found = 0
        self._arrived = began = time.monotonic()
        self._deadline = began + patience if patience else None
        self._pictures = listen_to_camera(self, camera, compressed, self._on_picture, NEWEST)
        self._poses = self.create_subscription(PoseStamped, topics.CURRENT_POSE, self._on_pose, 1)
        self.create_timer(1.0 / LOOKS, self._look)

    def _on_picture(self, message: Any) -> None:
        self._message, self._arrived = message, time.monotonic()

    def _on_pose(self, message: PoseStamped) -> None:
        self._hand = stamp_to_ns(message.header.stamp), pose_from(message.pose)

    def _look(self) -> None:
        self._check_senders()
        message, self._message = self._message, None
        if message is None:
            silent = time.monotonic() - self._arrived
            if silent > SILENT:
                self._report(f"camera {self._camera} has sent nothing for {silent:.0f} s")
            return
        try:
            picture = image_from(message)
        except ContractError as error:
            self._report(f"camera {self._camera}: {error}")
            return
        self._look_at(picture, stamp_to_ns(message.header.stamp))

    def _look_at(self, picture: np.ndarray, stamp: int) -> None:
        height, width = picture.shape[:2]
        if self._watch is None:
            self._watch = BoardWatch(width, height, self._with_hand)
        view, hand = find(picture, self._board), None
        if self._with_hand and self._hand is not None and abs(self._hand[0] - stamp) <= APART * SECOND:
            hand = self._hand[1]
        look = self._watch.look(view, hand, stamp / SECOND)
        self._looked += 1
        self._found += view is not None
        if look.keep:
            self._keep(picture, hand)
        self.done = not self._watch.missing()
        report = self._report(look.words)
        lines = (f"{report.kept} kept: {report.words}", *report.missing)
        self._draw(draw_board(picture, view, self._watch.covered, lines))

    def _report(self, words: str) -> ShotsReport:
        kept, missing = (self._watch.kept, self._watch.missing()) if self._watch is not None else (0, [])
        report = ShotsReport(self._looked, self._found, kept, words, tuple(missing))
        self._tell(report)
        return report

    def _check_senders(self) -> None:
        if self._deadline is None or time.monotonic() < self._deadline:
            return
        self._deadline = None
        pictures, poses = self._pictures.topic_name, self._poses.topic_name
        if not self._looked and (words := nobody_sends(self, pictures, f"camera {self._camera!r}")):
            self.failure = CameraError(words)
        elif self._with_hand and not self._hand and (words := nobody_sends(self, poses, "the pose of the hand")):
            self.failure = ArmConnectionError(words)
