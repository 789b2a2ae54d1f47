"""Calibration of a camera on a ChArUco board: its lens, and where it stands, by pictures and poses of the hand.

With H_i the pose of the hand in the base when picture i was taken, X the camera and B the board, the board is in the
camera's frame at

    T_i = (H_i X)⁻¹ B    X in the hand, B in the base: a camera on the wrist
    T_i = X⁻¹ H_i B      X in the base, B in the hand: a camera that stands

Pairs of pictures give A X = X C with A the motion of the hand and C that of the board as the camera sees it: rotations
by aligning their rotation vectors (Park and Martin, "Robot sensor calibration: solving AX = XB on the Euclidean group",
1994), then translations by linear least squares. From there X, B and the lens are refined together: they minimise the
squared distances [px] between all corners that were found and those that are expected. The lens as well, because the
hand's ways are known in metres, which the focal length can be told by better than by the board alone.

scipy is imported where it computes: that takes a second, which each camera would spend at its start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np

from controllers.spatial import Pose
from hardware.cameras.intrinsics import Intrinsics
from hardware.interfaces import CameraError

Mounting = Literal["wrist", "fixed"]
FEWEST_CORNERS = 8  # of a picture that is used
FEWEST_VIEWS = 6
TURNED = 0.2  # [rad] by which the hand has to turn about a second axis, root mean square


class CalibrationError(CameraError):
    """Pictures from which a camera cannot be calibrated; the message says what to do."""


@dataclass(frozen=True)
class Board:
    """A ChArUco board: squares along x and y, their side and that of the markers [m], and the markers' dictionary."""

    columns: int = 7
    rows: int = 5
    square: float = 0.04
    marker: float = 0.03
    dictionary: str = "DICT_5X5_100"

    def __post_init__(self) -> None:
        if min(self.columns, self.rows) < 3 or not 0.0 < self.marker < self.square:
            raise CalibrationError(
                f"board of {self.columns}x{self.rows} squares of {self.square:g} m, markers of {self.marker:g} m: it "
                "needs 3 squares each way at least, and markers that are smaller than squares"
            )
        known = [name for name in dir(cv2.aruco) if name.startswith("DICT_") and not name.startswith("DICT_ARUCO_M")]
        if self.dictionary not in known:
            raise CalibrationError(f"unknown dictionary {self.dictionary!r}; choose from {', '.join(known)}")

    @property
    def charuco(self) -> cv2.aruco.CharucoBoard:
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, self.dictionary))
        return cv2.aruco.CharucoBoard((self.columns, self.rows), self.square, self.marker, dictionary)

    def picture(self, pixels: int) -> np.ndarray:
        """The board to print, ``(rows · pixels, columns · pixels)`` uint8, without a margin."""
        drawn: np.ndarray = self.charuco.generateImage((self.columns * pixels, self.rows * pixels))
        return drawn


class View(NamedTuple):
    """Corners of the board ``(n, 3)`` [m], in its frame, and where a picture has them ``(n, 2)`` [px]."""

    corners: np.ndarray
    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class Mount:
    """A camera's place.

    Attributes:
        lens: as refined.
        camera: X, its optical frame (z along the view, x right, y down) in the hand or in the base.
        board: B, in the base or in the hand.
        pixels: root mean square of the distances that are left [px].
        position_std, angle_std: of the camera, one standard deviation each, the largest of three axes [m, rad].
        worst: index of the view that fits worst, and its own root mean square [px].
    """

    lens: Intrinsics
    camera: Pose
    board: Pose
    pixels: float
    position_std: float
    angle_std: float
    worst: tuple[int, float]


def find(image: np.ndarray, board: Board) -> View | None:
    """The board in ``image (h, w, 3)`` uint8 RGB, or None where fewer than `FEWEST_CORNERS` of its corners are seen."""
    detector = cv2.aruco.CharucoDetector(board.charuco)
    corners, names, _, _ = detector.detectBoard(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    if names is None or len(names) < FEWEST_CORNERS:
        return None
    all_corners = np.asarray(board.charuco.getChessboardCorners(), np.float64)
    return View(all_corners[np.ravel(names)], np.reshape(corners, (-1, 2)).astype(np.float64))


def calibrate_lens(views: Sequence[View], width: int, height: int) -> tuple[Intrinsics, float]:
    """The lens, and the root mean square of the distances that are left [px]. Raises `CalibrationError`."""
    if len(views) < FEWEST_VIEWS:
        raise CalibrationError(
            f"the board was found in {len(views)} pictures, and {FEWEST_VIEWS} are needed; take more, with the whole "
            "board in sharp view"
        )
    left, matrix, distortion, _, _ = cv2.calibrateCamera(
        [view.corners.astype(np.float32) for view in views],
        [view.pixels.astype(np.float32) for view in views],
        (width, height),
        None,
        None,
    )
    if not np.isfinite(matrix).all() or not 0.2 < matrix[0, 0] / matrix[1, 1] < 5.0:
        raise CalibrationError(
            "the pictures do not tell the focal length; tilt the board by 20° to 40° in several ways"
        )
    fx, fy, cx, cy = (float(matrix[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return Intrinsics(width, height, fx, fy, cx, cy, tuple(map(float, np.ravel(distortion)[:5]))), float(left)


def calibrate_mount(views: Sequence[View], hands: Sequence[Pose], intrinsics: Intrinsics, mounting: Mounting) -> Mount:
    """Where the camera is, from ``views`` and the poses of the hand, one each. Raises `CalibrationError`."""
    from scipy.optimize import least_squares

    if len(views) < FEWEST_VIEWS:
        raise CalibrationError(f"{len(views)} pictures with the board are too few; {FEWEST_VIEWS} are needed")
    seen = [board_in_camera(view, intrinsics) for view in views]
    camera = _first_guess(seen, hands, mounting)
    boards = [hand.compose(camera).compose(board) for hand, board in zip(hands, seen, strict=True)]
    if mounting == "fixed":
        boards = [hand.inverse().compose(camera).compose(board) for hand, board in zip(hands, seen, strict=True)]
    start = np.concatenate((_vector(camera), _vector(boards[0]), _values(intrinsics)))

    def left(values: np.ndarray) -> np.ndarray:
        camera, board, lens = _pose(values[:6]), _pose(values[6:12]), _lens(values[12:], intrinsics)
        return np.concatenate(
            [
                np.ravel(_project(view.corners, _expected(camera, board, hand, mounting), lens) - view.pixels)
                for view, hand in zip(views, hands, strict=True)
            ]
        )

    found = least_squares(left, start, method="lm", x_scale="jac")
    distances = np.linalg.norm(found.fun.reshape(-1, 2), axis=1)
    of_view = np.split(distances, np.cumsum([len(view.corners) for view in views])[:-1])
    worst = int(np.argmax([np.mean(one**2) for one in of_view]))
    variance = 2.0 * found.cost / max(1, found.fun.size - len(start))
    scale = np.linalg.norm(found.jac, axis=0)
    spread = np.sqrt(variance * np.diag(np.linalg.inv((found.jac / scale).T @ (found.jac / scale)))) / scale
    return Mount(
        lens=_lens(found.x[12:], intrinsics),
        camera=_pose(found.x[:6]),
        board=_pose(found.x[6:12]),
        pixels=float(np.sqrt(np.mean(distances**2))),
        position_std=float(spread[:3].max()),
        angle_std=float(spread[3:6].max()),
        worst=(worst, float(np.sqrt(np.mean(of_view[worst] ** 2)))),
    )


def _first_guess(seen: Sequence[Pose], hands: Sequence[Pose], mounting: Mounting) -> Pose:
    """X by A X = X C over all pairs."""
    from scipy.spatial.transform import Rotation

    motions = []
    for i in range(len(seen)):
        for j in range(i):
            if mounting == "wrist":
                motions.append((hands[j].inverse().compose(hands[i]), seen[j].compose(seen[i].inverse())))
            else:
                motions.append((hands[i].compose(hands[j].inverse()), seen[i].compose(seen[j].inverse())))
    turned = np.array([one.rotvec for one, _ in motions])
    if np.linalg.svd(turned, compute_uv=False)[1] / np.sqrt(len(turned)) < TURNED:
        raise CalibrationError(
            "the hand has turned about one axis only, which leaves the camera's place along it open; tilt it about two "
            "others as well, by 20° or more"
        )
    rotation = Rotation.align_vectors(turned, np.array([other.rotvec for _, other in motions]))[0].as_matrix()
    left = np.concatenate([one.rotation - np.eye(3) for one, _ in motions])
    right = np.concatenate([rotation @ other.translation - one.translation for one, other in motions])
    return Pose.from_rotation(np.linalg.lstsq(left, right, rcond=None)[0], rotation)


def _expected(camera: Pose, board: Pose, hand: Pose, mounting: Mounting) -> Pose:
    """T: the board in the camera's frame."""
    if mounting == "wrist":
        return hand.compose(camera).inverse().compose(board)
    return camera.inverse().compose(hand).compose(board)


def board_in_camera(view: View, intrinsics: Intrinsics) -> Pose:
    """The board's pose in the frame of a camera with this lens. Raises `CalibrationError`."""
    good, turn, place = cv2.solvePnP(view.corners, view.pixels, _matrix(intrinsics), np.array(intrinsics.distortion))
    if not good:
        raise CalibrationError("a picture's corners fit no pose of the board; is it flat, and its size as given?")
    return Pose.from_rotvec(np.ravel(place), np.ravel(turn))


def _project(corners: np.ndarray, board: Pose, intrinsics: Intrinsics) -> np.ndarray:
    distortion = np.array(intrinsics.distortion)
    pixels, _ = cv2.projectPoints(corners, board.rotvec, board.translation, _matrix(intrinsics), distortion)
    return np.reshape(pixels, (-1, 2))


def _matrix(given: Intrinsics) -> np.ndarray:
    return np.array([[given.fx, 0.0, given.cx], [0.0, given.fy, given.cy], [0.0, 0.0, 1.0]])


def _values(lens: Intrinsics) -> np.ndarray:
    return np.array([lens.fx, lens.fy, lens.cx, lens.cy, *lens.distortion])


def _lens(values: np.ndarray, size: Intrinsics) -> Intrinsics:
    """The inverse of `_values`, for pictures of the size of ``size``."""
    fx, fy, cx, cy, *distortion = map(float, values)
    return Intrinsics(size.width, size.height, fx, fy, cx, cy, tuple(distortion))


def _vector(pose: Pose) -> np.ndarray:
    return np.concatenate((pose.translation, pose.rotvec))


def _pose(values: np.ndarray) -> Pose:
    return Pose.from_rotvec(values[:3], values[3:])
