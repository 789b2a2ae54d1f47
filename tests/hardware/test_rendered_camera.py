"""The rendered camera, on a real scene and renderer."""

from __future__ import annotations

import ctypes.util
from collections.abc import Iterator

import numpy as np
import pytest

from controllers.spatial import Pose
from hardware.cameras.rendered import RenderedCamera
from hardware.interfaces import CameraError
from hardware.scene import HOME_Q, SceneSpec
from hardware.sim.channel.client import SceneState
from tests.contracts.camera_contract import CameraContract

HEIGHT, WIDTH = CameraContract.SIZE
HIDDEN, SHOWN = np.array([0.0, 0.0, -5.0]), np.array([0.5, 0.0, 0.1])
SPEC = SceneSpec(
    worldbody='<body name="ball"><freejoint/><geom type="sphere" size="0.12" rgba="1 0 0 1" mass="1"/></body>',
    objects=("ball",),
    look_at=(0.5, 0.0, 0.1),
)

pytestmark = pytest.mark.skipif(
    not (ctypes.util.find_library("OSMesa") or ctypes.util.find_library("EGL")), reason="needs libOSMesa or libEGL"
)


def state(time: float, ball: np.ndarray = SHOWN) -> SceneState:
    return SceneState(time, np.array(HOME_Q), 0.08, {"ball": Pose(ball, np.array([0.0, 0.0, 0.0, 1.0]))})


class TestContract(CameraContract):
    NAME = "front"

    @pytest.fixture(autouse=True)
    def setup(self) -> None:
        self.state: SceneState | None = None
        self.now = 0.0

    def camera(self) -> RenderedCamera:
        return RenderedCamera(self.NAME, SPEC, *self.SIZE, source=lambda: self.state, clock=lambda: self.now)

    def absent(self) -> RenderedCamera:
        return RenderedCamera("fronnt", SPEC, *self.SIZE, source=lambda: self.state)

    def expose(self) -> None:
        self.now += 0.1
        self.state = state(self.now)

    def silence(self) -> None:
        self.now += 10.0


@pytest.fixture
def newest() -> list[SceneState]:
    return []


@pytest.fixture
def camera(newest: list[SceneState]) -> Iterator[RenderedCamera]:
    with RenderedCamera("front", SPEC, HEIGHT, WIDTH, source=lambda: newest[-1] if newest else None) as camera:
        yield camera


def test_it_shows_the_objects_where_they_are(camera: RenderedCamera, newest: list[SceneState]) -> None:
    newest.append(state(1.0, HIDDEN))
    empty = camera.read()
    newest.append(state(2.0, SHOWN))
    shown = camera.read()
    assert (empty.stamp, shown.stamp) == (1.0, 2.0)
    centre = shown.image[HEIGHT // 2, WIDTH // 2].astype(int)
    assert centre[0] > 2 * centre[2]
    assert not np.array_equal(empty.image, shown.image)


def test_before_the_first_state_it_says_so(camera: RenderedCamera) -> None:
    with pytest.raises(CameraError, match=r"front.*no state"):
        camera.read()


def test_intrinsics_are_those_of_the_scenes_camera(camera: RenderedCamera) -> None:
    """The front camera sees 38° from top to bottom."""
    intrinsics = camera.intrinsics
    assert intrinsics is not None
    assert intrinsics.fy == pytest.approx(0.5 * HEIGHT / np.tan(np.radians(19.0)))
    assert (intrinsics.cx, intrinsics.cy) == (WIDTH / 2, HEIGHT / 2)
