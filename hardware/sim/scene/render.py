"""Pictures of the simulated scene, drawn apart from the simulation from joint positions and object poses.

Rendering has a model of its own, so that it can run in another process than the physics, which it would slow down.
"""

from __future__ import annotations

import ctypes.util
import importlib
import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import mujoco
import numpy as np

from controllers.ros.topics import BASE_FRAME
from controllers.spatial import Pose
from controllers.state import JOINTS
from hardware.franka.hand import FINGER_STROKE, HAND_FRAME
from hardware.interfaces import CameraError
from hardware.scene import CAMERAS, SceneSpec, look_of
from hardware.sim.scene.looks import Looks
from hardware.sim.scene.model import place_objects, start_simulator

# Library of each backend, in the order of preference. OSMesa needs no graphics driver at all; who has a GPU sets
# MUJOCO_GL=egl.
GL_LIBRARIES = {"osmesa": "OSMesa", "egl": "EGL"}
MAX_GEOMS = 1000
UNSEEN = 5  # group of geoms that are not drawn


class SceneRenderer:
    """Draws cameras of a scene. OpenGL demands that one thread does everything from `open` to `close`.

    Attributes:
        spec: the scene.
        height, width: of the pictures [px].
        cameras: names of the cameras that `render` draws.
        variation: of looks, 0 to 1, see `hardware.sim.scene.looks`; nothing where the scene has but one look.
    """

    def __init__(
        self, spec: SceneSpec, height: int, width: int, cameras: Sequence[str] = CAMERAS, variation: float = 0.0
    ) -> None:
        """Raises `CameraError` on a name that is no camera of the scene; nothing is opened yet."""
        unknown = [name for name in cameras if name not in CAMERAS]
        if unknown:
            raise CameraError(f"the simulated scene has no camera {unknown[0]!r}; it has {', '.join(CAMERAS)}")
        self.spec = spec
        self.height = height
        self.width = width
        self.cameras = tuple(cameras)
        self.variation = variation
        self._context: Any = None

    def __enter__(self) -> SceneRenderer:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Compile the scene and open OpenGL; does nothing when that is done.

        Raises:
            CameraError: there is no OpenGL library; the message names the packages to install.
            SceneError: the scene cannot be built.
        """
        if self._context is not None:
            return
        context = _gl_context(self.width, self.height)
        simulator = start_simulator(self.spec, visual=True)
        self._model, self._data = simulator.model, simulator.data
        self._looks = Looks(self._model, self.spec.coloured, self.variation, self.spec.palette)
        robot = simulator.robots[0]
        self._arm = np.array(robot._qpos_addrs)
        self._fingers = np.array(robot._finger_qpos_addrs)
        self._context = context
        self._context.make_current()
        self._model.vis.global_.offwidth = self.width
        self._model.vis.global_.offheight = self.height
        self._gpu = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._gpu)
        self._scene = mujoco.MjvScene(self._model, MAX_GEOMS)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._option = mujoco.MjvOption()
        self._option.geomgroup[UNSEEN] = 0
        self._groups = self._model.geom_group.copy()
        self._perturbation = mujoco.MjvPerturb()
        self._rectangle = mujoco.MjrRect(0, 0, self.width, self.height)

    def close(self) -> None:
        """Release OpenGL; safe to call twice."""
        context, self._context = self._context, None
        if context is not None:
            context.make_current()
            self._gpu.free()
            context.free()

    def fovy(self, camera: str) -> float:
        """Vertical field of view of ``camera`` [degrees]."""
        self.open()
        return float(self._model.camera(camera).fovy[0])

    def mount(self, camera: str) -> tuple[str, Pose]:
        """The frame that carries ``camera``, base or hand, and the pose of its optical frame in it.

        MuJoCo's cameras look along their −z axis with y up, optical frames along z with y down.
        """
        self.open()
        found = self._model.camera(camera)
        w, x, y, z = found.quat
        flipped = Pose(np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))
        pose = Pose(found.pos, np.array([x, y, z, w])).compose(flipped)
        return (BASE_FRAME if found.bodyid[0] == 0 else HAND_FRAME), pose

    def render(self, q: np.ndarray, width: float, objects: Mapping[str, Pose]) -> dict[str, np.ndarray]:
        """Draw all cameras; opens OpenGL when that was not done before.

        Args:
            q: joint positions ``(7,)`` [rad].
            width: opening of the gripper, 0 closed – 1 open.
            objects: poses of movable objects in the base frame; the others stay where they were.

        Returns:
            Camera name → ``(height, width, 3)`` uint8 RGB.

        Raises:
            SceneError: an object is not in the scene.
        """
        self.open()
        data = self._data
        data.qpos[self._arm] = np.asarray(q, dtype=np.float64).reshape(JOINTS)
        data.qpos[self._fingers] = FINGER_STROKE * width
        place_objects(self._model, data, objects)
        look = look_of(objects)
        if look is not None:
            self._looks.put_on(look)
        mujoco.mj_kinematics(self._model, data)
        mujoco.mj_comPos(self._model, data)
        mujoco.mj_camlight(self._model, data)
        self._context.make_current()
        return {name: self._draw(name) for name in self.cameras}

    def _draw(self, camera: str) -> np.ndarray:
        self._camera.fixedcamid = self._model.camera(camera).id
        self._model.geom_group[:] = np.where(self._in_view(self._camera.fixedcamid), self._groups, UNSEEN)
        mujoco.mjv_updateScene(
            self._model,
            self._data,
            self._option,
            self._perturbation,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        image = np.empty((self.height, self.width, 3), dtype=np.uint8)
        mujoco.mjr_render(self._rectangle, self._scene, self._gpu)
        mujoco.mjr_readPixels(image, None, self._rectangle, self._gpu)
        image = image[::-1].copy()  # OpenGL counts rows from the bottom
        if self.variation:
            image = np.clip(image * self._looks.gain, 0, 255).astype(np.uint8)
        return image

    def _in_view(self, camera: int) -> np.ndarray:
        """Whether each geom may be in the picture: its bounding sphere reaches into the pyramid that the camera sees.

        OpenGL would find that out triangle by triangle, which takes most of the time where it has no GPU.
        """
        model, data = self._model, self._data
        x, y, z = ((data.geom_xpos - data.cam_xpos[camera]) @ data.cam_xmat[camera].reshape(3, 3)).T
        upright = 0.5 * np.radians(model.cam_fovy[camera])
        aside = np.arctan(np.tan(upright) * self.width / self.height)
        nearest = np.maximum(-z, 0.0)
        beyond = [
            np.abs(off) * np.cos(half) - nearest * np.sin(half) for off, half in ((x, aside), (y, upright))
        ]  # [m] from the pyramid's sides to the centre, outwards
        bound = np.where(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE, np.inf, model.geom_rbound)
        seen: np.ndarray = (z < bound) & (np.maximum(*beyond) < bound)
        return seen


def _gl_context(width: int, height: int) -> Any:
    """An OpenGL context without a screen, by the backend in ``MUJOCO_GL`` or the first one that is installed."""
    installed = [name for name, library in GL_LIBRARIES.items() if ctypes.util.find_library(library)]
    chosen = os.environ.get("MUJOCO_GL", "").lower() or (installed[0] if installed else "")
    if chosen not in GL_LIBRARIES:
        reason = f"MUJOCO_GL={chosen} needs a screen" if chosen else "neither libOSMesa nor libEGL is installed"
        raise CameraError(_no_gl(reason))
    if chosen not in installed:
        raise CameraError(_no_gl(f"MUJOCO_GL={chosen}, but lib{GL_LIBRARIES[chosen]} is not installed"))
    # MuJoCo reads the variable when it loads its OpenGL functions.
    os.environ["MUJOCO_GL"] = chosen
    try:
        return importlib.import_module(f"mujoco.{chosen}").GLContext(width, height)
    except Exception as error:  # PyOpenGL and the libraries fail in ways of their own: no symbol, no driver, no display
        raise CameraError(_no_gl(f"{chosen} does not start ({type(error).__name__})")) from error


def _no_gl(reason: str) -> str:
    return (
        f"cannot render the simulated cameras: {reason}; run: apt-get install libosmesa6 (or libegl1 libgl1-mesa-dri "
        "for EGL), and set MUJOCO_GL=osmesa (or egl) to choose between them"
    )
