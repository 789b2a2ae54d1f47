"""Cameras of the simulated scene: pictures of the state that the simulator last reported."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from hardware.cameras.intrinsics import Intrinsics
from hardware.device import Device
from hardware.franka.hand import MAX_WIDTH
from hardware.interfaces import CameraError, Frame

if TYPE_CHECKING:
    from controllers.spatial import Pose
    from hardware.scene import SceneSpec
    from hardware.sim.channel.client import SceneState
    from hardware.sim.scene.render import SceneRenderer


class RenderedCamera(Device):
    """Camera ``name`` of a scene. Connect it, read it and disconnect it in one thread: OpenGL demands it.

    Args:
        name: a camera of `hardware.scene.CAMERAS`.
        spec: the scene.
        height, width: of the image [px].
        source: the newest state of the scene, or None while none is known; its ``time`` becomes the frame's stamp.
        timeout: `read` gives up when the state has stayed the same for this time [s].
        clock: steady time [s].
        variation: of looks, 0 to 1.
    """

    def __init__(
        self,
        name: str,
        spec: SceneSpec,
        height: int,
        width: int,
        source: Callable[[], SceneState | None],
        timeout: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        variation: float = 0.0,
    ) -> None:
        if timeout <= 0.0:
            raise ValueError(f"the timeout of camera {name!r} must be positive, not {timeout} s")
        self.name = name
        self._spec = spec
        self._size = (height, width)
        self._source = source
        self._timeout = timeout
        self._clock = clock
        self._variation = variation
        self._renderer: SceneRenderer | None = None
        self._stamp = math.nan  # of the newest state, and when it was first seen [s]
        self._seen = math.nan

    @property
    def intrinsics(self) -> Intrinsics | None:
        """The exact pinhole model, once connected."""
        if self._renderer is None:
            return None
        height, width = self._size
        return Intrinsics.from_fovy(width, height, math.radians(self._renderer.fovy(self.name)))

    @property
    def mount(self) -> tuple[str, Pose] | None:
        """The frame that carries the camera, and the pose of its optical frame in it, once connected."""
        return self._renderer.mount(self.name) if self._renderer is not None else None

    def connect(self) -> None:
        """Compile the scene and open OpenGL. Raises `CameraError` without it, or when there is no such camera."""
        if self._renderer is None:
            from hardware.sim.scene.render import SceneRenderer

            renderer = SceneRenderer(self._spec, *self._size, cameras=(self.name,), variation=self._variation)
            renderer.open()
            self._renderer = renderer

    def disconnect(self) -> None:
        renderer, self._renderer = self._renderer, None
        if renderer is not None:
            renderer.close()

    def read(self) -> Frame:
        """A picture of the newest state; does not wait for it. Raises `CameraError` when the simulator went silent."""
        if self._renderer is None:
            raise CameraError(f"rendered camera {self.name!r} is not connected; call connect() first")
        state, now = self._source(), self._clock()
        if state is None:
            raise CameraError(f"rendered camera {self.name!r} has no state of the scene yet; is the simulator running?")
        if state.time != self._stamp:
            self._stamp, self._seen = state.time, now
        elif now - self._seen > self._timeout:
            raise CameraError(
                f"rendered camera {self.name!r}: the scene's state has not changed for {now - self._seen:.1f} s; is "
                "the simulator still running?"
            )
        image = self._renderer.render(state.q, state.width / MAX_WIDTH, state.objects)[self.name]
        return Frame(image, state.time, now)
