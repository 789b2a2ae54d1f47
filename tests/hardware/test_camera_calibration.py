"""A camera calibrated on pictures of a board that are drawn here, with a lens and places that are known."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from controllers.spatial import Pose, exp3
from hardware.cameras.calibrated import CalibratedCamera
from hardware.cameras.calibration import (
    Board,
    CalibrationError,
    Mounting,
    View,
    calibrate_lens,
    calibrate_mount,
    find,
)
from hardware.cameras.calibration_file import Calibration
from hardware.cameras.intrinsics import Intrinsics
from hardware.interfaces import CameraError, Frame
from hardware.ros.camera_node import frames_of

BOARD = Board()
LENS = Intrinsics(640, 480, 610.0, 605.0, 324.0, 236.0, (0.08, -0.15, 0.001, -0.0015, 0.0))
MATRIX = np.array([[LENS.fx, 0.0, LENS.cx], [0.0, LENS.fy, LENS.cy], [0.0, 0.0, 1.0]])
SCALE = 60  # pixels of a square of the drawn board
DOWN = exp3(np.array([np.pi, 0.0, 0.0]))
CAMERAS: dict[Mounting, Pose] = {
    "wrist": Pose.from_rotation(np.array([0.05, -0.02, -0.06]), exp3(np.array([0.05, -0.1, 0.3]))),
    "fixed": Pose.from_rotation(
        np.array([0.9, 0.1, 0.5]), exp3(np.array([0.0, 0.0, 1.6])) @ exp3(np.array([-2.2, 0, 0]))
    ),
}

BOARDS: dict[Mounting, Pose] = {  # in the base, or in the hand
    "wrist": Pose.from_rotation(np.array([0.45, -0.1, 0.02]), DOWN),
    "fixed": Pose.from_rotation(np.array([-0.1, -0.08, 0.1]), exp3(np.array([0.2, 0.1, 0.0]))),
}
CENTRED = Pose.from_rotation(-0.5 * BOARD.square * np.array([BOARD.columns, BOARD.rows, 0.0]), np.eye(3))


def photograph(board: Pose, noise: float, rng: np.random.Generator) -> np.ndarray:
    """The board at ``board`` in the camera's frame through `LENS`: for each pixel, the ray that reaches it."""
    pixels = np.stack(np.meshgrid(np.arange(LENS.width), np.arange(LENS.height)), axis=-1).reshape(-1, 1, 2)
    rays = cv2.undistortPoints(pixels.astype(np.float64), MATRIX, np.array(LENS.distortion)).reshape(-1, 2)
    rays = np.concatenate((rays, np.ones((len(rays), 1))), axis=1)
    normal = board.rotation[:, 2]
    reach = (normal @ board.translation) / (rays @ normal)
    places = (rays * reach[:, None] - board.translation) @ board.rotation  # in the board's frame
    drawn = cv2.copyMakeBorder(BOARD.picture(SCALE), SCALE, SCALE, SCALE, SCALE, cv2.BORDER_CONSTANT, value=255)
    at = (places[:, :2] / BOARD.square + 1.0) * SCALE - 0.5
    at = at.reshape(LENS.height, LENS.width, 2).astype(np.float32)
    image = cv2.remap(drawn, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=120)
    image = cv2.GaussianBlur(image, (3, 3), 0.7).astype(np.float64) * 0.8 + 20.0 + rng.normal(0.0, noise, image.shape)
    return np.repeat(np.clip(image, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def placements(mounting: Mounting, seed: int = 0) -> Iterator[tuple[Pose, Pose]]:
    """The board in the camera's frame, all over the picture and tilted to all sides, and the hand in the base."""
    rng = np.random.default_rng(seed)
    camera, board = CAMERAS[mounting], BOARDS[mounting]
    while True:
        far = rng.uniform(0.4, 0.65)
        offset = np.array([*(far * rng.uniform(-1.0, 1.0, 2) * (0.3, 0.22)), far])
        seen = Pose.from_rotation(offset, exp3(rng.uniform(-0.6, 0.6, 3))).compose(CENTRED)
        if mounting == "wrist":
            yield seen, board.compose(seen.inverse()).compose(camera.inverse())
        else:
            yield seen, camera.compose(seen).compose(board.inverse())


def scenery(mounting: Mounting, count: int = 12, seed: int = 0) -> tuple[list[np.ndarray], list[Pose]]:
    """Pictures, and the hand's poses in the base, with the board in view of the camera."""
    rng = np.random.default_rng(seed)
    camera, board, images, hands = CAMERAS[mounting], BOARDS[mounting], [], []
    for _ in range(count):
        tilt = exp3(rng.uniform(-0.5, 0.5, 3))
        seen = Pose.from_rotation(np.array([*rng.uniform(-0.04, 0.04, 2), rng.uniform(0.35, 0.55)]), tilt)
        seen = seen.compose(CENTRED)  # the board in the camera's frame
        if mounting == "wrist":
            hands.append(board.compose(seen.inverse()).compose(camera.inverse()))
        else:
            hands.append(camera.compose(seen).compose(board.inverse()))
        images.append(photograph(seen, 2.0, rng))
    return images, hands


@pytest.fixture(scope="module", params=["wrist", "fixed"])
def found(request: pytest.FixtureRequest) -> tuple[Mounting, list[View], list[Pose]]:
    images, hands = scenery(request.param)
    views = [find(image, BOARD) for image in images]
    assert all(views)
    return request.param, [view for view in views if view is not None], hands


def test_lens_and_place_are_found(found: tuple[Mounting, list[View], list[Pose]]) -> None:
    """The aims: 2 mm and 0.5°."""
    mounting, views, hands = found
    lens, left = calibrate_lens(views, LENS.width, LENS.height)
    assert left < 0.5
    assert (lens.fx, lens.fy) == pytest.approx((LENS.fx, LENS.fy), rel=0.01)
    assert (lens.cx, lens.cy) == pytest.approx((LENS.cx, LENS.cy), abs=4.0)
    mount = calibrate_mount(views, hands, lens, mounting)
    off = CAMERAS[mounting].difference(mount.camera)
    assert np.linalg.norm(off[:3]) < 0.002
    assert np.degrees(np.linalg.norm(off[3:])) < 0.5
    assert mount.pixels < 0.5 and mount.position_std < 0.001


def test_a_pose_that_is_wrong_is_named(found: tuple[Mounting, list[View], list[Pose]]) -> None:
    mounting, views, hands = found
    moved = [*hands[:3], hands[3].moved(np.array([0.01, 0.0, 0.0, 0.0, 0.0, 0.05])), *hands[4:]]
    mount = calibrate_mount(views, moved, LENS, mounting)
    assert mount.worst[0] == 3
    assert mount.worst[1] > 2.0 * calibrate_mount(views, hands, LENS, mounting).pixels


def test_turning_about_one_axis_is_refused(found: tuple[Mounting, list[View], list[Pose]]) -> None:
    mounting, views, hands = found
    about_z = [
        Pose.from_rotation(hand.translation, exp3(np.array([0.0, 0.0, 0.1 * i]))) for i, hand in enumerate(hands)
    ]
    with pytest.raises(CalibrationError, match="about one axis only"):
        calibrate_mount(views, about_z, LENS, mounting)


def test_too_few_pictures_are_refused(found: tuple[Mounting, list[View], list[Pose]]) -> None:
    mounting, views, hands = found
    with pytest.raises(CalibrationError, match="found in 5 pictures, and 6 are needed"):
        calibrate_lens(views[:5], LENS.width, LENS.height)
    with pytest.raises(CalibrationError, match="5 pictures with the board are too few"):
        calibrate_mount(views[:5], hands[:5], LENS, mounting)


def test_a_picture_without_the_board_has_none() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    assert find(noise, BOARD) is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"columns": 2}, "3 squares each way"),
        ({"marker": 0.05}, "markers that are smaller than squares"),
        ({"dictionary": "DICT_9X9"}, "unknown dictionary 'DICT_9X9'; choose from DICT_4X4_100"),
    ],
)
def test_a_board_that_cannot_be_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(CalibrationError, match=words):
        Board(**settings)


class Still:
    """A camera that sends one picture."""

    name = "wrist"

    def __init__(self, width: int, height: int) -> None:
        self.image = np.zeros((height, width, 3), np.uint8)

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def read(self) -> Frame:
        return Frame(self.image, 1.0, 1.0)


def test_a_calibrated_camera_knows_its_lens_and_place() -> None:
    camera = CalibratedCamera(Still(640, 480), Calibration(LENS, "wrist", CAMERAS["wrist"]))
    assert camera.read().image.shape == (480, 640, 3)
    assert camera.intrinsics == LENS
    assert frames_of(camera) == [("fr3_hand_tcp", "wrist_color_optical_frame", CAMERAS["wrist"])]
    assert frames_of(CalibratedCamera(Still(640, 480), Calibration(LENS))) == []


def test_pictures_of_another_size_are_refused() -> None:
    camera = CalibratedCamera(Still(320, 240), Calibration(LENS))
    with pytest.raises(CameraError, match="'wrist' sends 320x240 pixels and was calibrated at 640x480"):
        camera.read()
