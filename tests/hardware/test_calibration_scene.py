"""The cameras of the simulated scene, calibrated on a board that stands in it, against the places that they have."""

from __future__ import annotations

from collections.abc import Iterator
from ctypes.util import find_library

import cv2
import numpy as np
import pytest

from controllers.ros.topics import BASE_FRAME
from controllers.spatial import Pose
from hardware.cameras.calibration import Board, Mounting, calibrate_lens, calibrate_mount, find
from hardware.cameras.coverage import ENOUGH, BoardWatch
from hardware.franka.hand import HAND_FRAME, TCP_HEIGHT
from hardware.franka.model import fr3_model
from hardware.scene import HOME_Q, SceneSpec
from hardware.sim.scene.render import SceneRenderer

pytestmark = pytest.mark.skipif(not (find_library("OSMesa") or find_library("EGL")), reason="needs libOSMesa or libEGL")
BOARD = Board(square=0.03, marker=0.0225)
WIDTH, HEIGHT, FINER = 640, 480, 2  # of pictures, and drawn so many times as large, for want of a lens that blurs
PIXELS = 56  # of a square: 7 around the marker, 6 for each of its 7 modules
THICK = 0.001  # [m]
POSES = 60  # that are tried
SPREAD = np.array([0.15, 0.12, 0.15, 0.15, 0.35, 0.35, 0.4])  # [rad] of them, around `Q`
TCP_TO_HAND = Pose.from_rotation(np.array([0.0, 0.0, -TCP_HEIGHT]), np.eye(3))
Q = np.array(HOME_Q) + np.array([0.0, -0.1, 0.0, -0.2, 0.0, 0.1, 0.0])


def board_of_boxes(pose: Pose) -> str:
    """The board as MJCF: a white plate, and black boxes a hair above it, one for each run of modules or square."""
    picture = BOARD.picture(PIXELS)
    metre, side = BOARD.square / PIXELS, BOARD.square
    boxes = [_box(0.5 * side * np.array([BOARD.columns, BOARD.rows]), side * np.array([BOARD.columns, BOARD.rows]), 1)]
    for row in range(BOARD.rows):
        for column in range(BOARD.columns):
            corner = side * np.array([column, row])
            if not picture[row * PIXELS + 2, column * PIXELS + 2]:
                boxes.append(_box(corner + 0.5 * side, np.full(2, side), 0))
                continue
            marker = picture[row * PIXELS + 7 : (row + 1) * PIXELS - 7, column * PIXELS + 7 : (column + 1) * PIXELS - 7]
            modules = marker[3::6, 3::6]
            for y, line in enumerate(modules):
                for first, last in _runs(line == 0):
                    middle = metre * np.array([7.0 + 3.0 * (first + last), 7.0 + 6.0 * (y + 0.5)])
                    boxes.append(_box(corner + middle, metre * np.array([6.0 * (last - first), 6.0]), 0))
    x, y, z, w = pose.quat_xyzw
    at = " ".join(f"{value:.9g}" for value in pose.translation)
    return f"<body name='board' pos='{at}' quat='{w:.9g} {x:.9g} {y:.9g} {z:.9g}'>{''.join(boxes)}</body>"


def _runs(black: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and one past the last of each run of ``black (n,)`` bool."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], black.astype(int), [0]))))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _box(middle: np.ndarray, size: np.ndarray, white: int) -> str:
    """A box with its face to the board's −z, where whoever sees the board is."""
    depth = THICK if white else 0.5 * THICK
    at = f"{middle[0]:.9g} {middle[1]:.9g} {THICK if white else -0.5 * depth:.9g}"
    half = f"{0.5 * size[0]:.9g} {0.5 * size[1]:.9g} {depth if white else 0.5 * depth:.9g}"
    colour = "0.9 0.9 0.9 1" if white else "0.03 0.03 0.03 1"
    return f"<geom type='box' pos='{at}' size='{half}' rgba='{colour}' contype='0' conaffinity='0'/>"


def facing(camera: Pose, offset: np.ndarray) -> Pose:
    """The board before ``camera``, its middle at ``offset`` [m] in that frame."""
    middle = 0.5 * BOARD.square * np.array([BOARD.columns, BOARD.rows, 0.0])
    return camera.compose(Pose.from_rotation(offset - middle, np.eye(3)))


def place_of(name: str, scene: SceneSpec, frame: str) -> Pose:
    """A camera's place, as the scene has it."""
    with SceneRenderer(scene, 8, 8, cameras=(name,)) as renderer:
        found, place = renderer.mount(name)
    assert found == frame
    return place


@pytest.mark.parametrize(("name", "mounting"), [("wrist", "wrist"), ("front", "fixed")])
def test_cameras_are_found_where_they_are(name: str, mounting: Mounting) -> None:
    """The aims: 2 mm and 0.5°. The arm goes to poses around one; a picture counts as the live command has it."""
    model, rng = fr3_model(), np.random.default_rng(0)
    tcp = model.forward_kinematics(Q)
    if mounting == "wrist":
        place = TCP_TO_HAND.compose(place_of(name, SceneSpec(), HAND_FRAME))
        scene = SceneSpec(worldbody=board_of_boxes(facing(tcp.compose(place), np.array([0.0, 0.0, 0.33]))))
    else:
        look_at = tuple((tcp.translation + (0.0, 0.0, 0.03)).tolist())
        place = place_of(name, SceneSpec(look_at=look_at), BASE_FRAME)
        distance = np.linalg.norm(place.translation - look_at)
        board = tcp.inverse().compose(facing(place, np.array([0.0, 0.0, distance - 0.1])))
        scene = SceneSpec(look_at=look_at, hand=board_of_boxes(TCP_TO_HAND.inverse().compose(board)))
    watch, views, hands, q = BoardWatch(WIDTH, HEIGHT, True), [], [], Q
    with SceneRenderer(scene, FINER * HEIGHT, FINER * WIDTH, cameras=(name,)) as renderer:
        for _ in range(POSES):
            large = renderer.render(q, 1.0, {})[name]
            picture = cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            view, hand = find(picture, BOARD), model.forward_kinematics(q)
            if any(watch.look(view, hand, 10.0 * len(views) + 0.3 * look).keep for look in range(3)):
                assert view is not None
                views.append(view)
                hands.append(hand)
            if len(views) >= ENOUGH:
                break
            q = Q + rng.uniform(-1.0, 1.0, 7) * SPREAD
    lens, _ = calibrate_lens(views, WIDTH, HEIGHT)
    off = place.difference(calibrate_mount(views, hands, lens, mounting).camera)
    assert np.linalg.norm(off[:3]) < 0.002
    assert np.degrees(np.linalg.norm(off[3:])) < 0.5
