"""Which pictures of a board are kept, and which a calibration still lacks. Corners are projected, not drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from controllers.spatial import Pose, exp3
from hardware.cameras.board_picture import draw_board
from hardware.cameras.calibration import View
from hardware.cameras.coverage import ENOUGH, STILL_LOOKS, BoardWatch
from tests.hardware.test_camera_calibration import BOARD, CENTRED, LENS, MATRIX, placements

PERIOD = 0.25  # [s] between looks
CORNERS = np.asarray(BOARD.charuco.getChessboardCorners(), np.float64)
MIDDLE = Pose.from_rotation(np.array([0.0, 0.0, 0.5]), np.eye(3)).compose(CENTRED)


def seen(board: Pose, noise: float = 0.05, seed: int = 0) -> View | None:
    """The corners of a board at ``board`` in the camera's frame that are in the picture."""
    pixels, _ = cv2.projectPoints(CORNERS, board.rotvec, board.translation, MATRIX, np.array(LENS.distortion))
    pixels = pixels.reshape(-1, 2) + np.random.default_rng(seed).normal(0.0, noise, (len(CORNERS), 2))
    inside = ((pixels >= 0.0) & (pixels < (LENS.width, LENS.height))).all(axis=1)
    return View(CORNERS[inside], pixels[inside]) if inside.sum() >= 8 else None


class Watched:
    """A watch that looks in equal periods."""

    def __init__(self, with_hand: bool = False) -> None:
        self.watch = BoardWatch(LENS.width, LENS.height, with_hand)
        self.looks = 0

    def look(self, board: Pose | None, hand: Pose | None = None, noise: float = 0.05) -> str:
        view = seen(board, noise, self.looks) if board is not None else None
        self.looks += 1
        look = self.watch.look(view, hand, PERIOD * self.looks)
        assert look.keep == ("is kept" in look.words)
        return look.words

    def keep(self, board: Pose, hand: Pose | None = None) -> bool:
        """Whether a board that stays there comes to be kept."""
        return any("is kept" in self.look(board, hand) for _ in range(STILL_LOOKS + 1))


def moved(board: Pose, *by: float) -> Pose:
    return board.moved(np.array([*by, 0.0, 0.0, 0.0]))


def test_a_board_is_kept_once_it_is_still_and_again_only_elsewhere() -> None:
    watched = Watched()
    assert "not in view" in watched.look(None)
    assert watched.look(MIDDLE) == watched.look(MIDDLE) == "hold still"
    assert watched.look(MIDDLE) == "picture 1 is kept: move on"
    assert watched.look(MIDDLE) == "there is such a picture: move on"
    assert not watched.keep(moved(MIDDLE, 0.01, 0.0, 0.0))
    assert watched.keep(moved(MIDDLE, 0.06, 0.0, 0.0))
    tilted = Pose.from_rotation(np.array([0.0, 0.0, 0.5]), exp3(np.array([0.2, 0.0, 0.0]))).compose(CENTRED)
    assert watched.keep(tilted)
    assert watched.watch.kept == 3


def test_a_board_that_moves_is_not_kept() -> None:
    watched = Watched()
    for number in range(20):
        assert watched.look(moved(MIDDLE, 0.002 * number, 0.0, 0.0)) == "hold still"
    assert watched.look(moved(MIDDLE, 0.04, 0.0, 0.0), noise=3.0) == "hold still"
    assert watched.watch.kept == 0


def test_the_hand_has_to_be_known_and_still() -> None:
    watched, hand = Watched(with_hand=True), Pose.identity()
    assert watched.look(MIDDLE) == "the arm does not say where its hand is"
    for number in range(10):
        assert watched.look(MIDDLE, moved(hand, 0.001 * number, 0.0, 0.0)) == "hold still"
    assert watched.keep(MIDDLE, hand)


def test_what_is_missing_is_said_until_nothing_is() -> None:
    watched = Watched()
    assert watched.watch.missing()[0] == f"{ENOUGH} more"
    assert watched.keep(MIDDLE)
    lacks = watched.watch.missing()
    assert lacks[0] == f"{ENOUGH - 1} more"
    assert lacks[1].startswith("the board in the picture's top left")
    assert lacks[2] == "tilted by 15° or more, its right, its left, its bottom, its top side nearer"
    assert lacks[3] == "nearer or farther by a fifth"
    for number, (board, _) in enumerate(placements("wrist")):
        if not watched.watch.missing():
            break
        watched.keep(board)
        assert number < 60
    assert watched.watch.kept >= ENOUGH
    assert watched.watch.covered.all()


@pytest.mark.parametrize(
    ("turn", "side"),
    [((0.0, 0.4, 0.0), "right"), ((0.0, -0.4, 0.0), "left"), ((-0.4, 0.0, 0.0), "bottom"), ((0.4, 0.0, 0.0), "top")],
)
def test_the_side_that_is_nearer_is_told(turn: tuple[float, float, float], side: str) -> None:
    watched = Watched()
    board = Pose.from_rotation(np.array([0.0, 0.0, 0.5]), exp3(np.array(turn))).compose(CENTRED)
    corners = CORNERS @ board.rotation.T + board.translation
    axis, sign = {"right": (0, 1), "left": (0, -1), "bottom": (1, 1), "top": (1, -1)}[side]
    nearest = corners[np.argmin(corners[:, 2])]
    assert sign * (nearest[axis] - corners[:, axis].mean()) > 0.0, "the test means this side"
    assert watched.keep(board)
    (lacks,) = [words for words in watched.watch.missing() if words.startswith("tilted")]
    assert f"its {side}" not in lacks and lacks.count("its") == 3


def test_the_picture_for_the_person_shows_corners_and_what_is_covered() -> None:
    picture = np.full((LENS.height, LENS.width, 3), 120, np.uint8)
    covered = np.zeros((3, 3), bool)
    covered[0, 0] = True
    view = seen(MIDDLE)
    drawn = draw_board(picture, view, covered, ["1 kept: tilt it by 15°"])
    body = drawn[-LENS.height :, : LENS.width]
    assert (body[5, 5] != 120).any() and (body[-5, -5] == 120).all()
    assert view is not None
    x, y = view.pixels[0].round().astype(int)
    assert body[y, x, 1] == 200
    assert (picture == 120).all()
