"""The scene as plain meshes, for whoever draws it without MuJoCo: one mesh for each colour of each body.

Meshes are made coarse: what a page shows from a metre away needs no tenth of a millimetre.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import mujoco
import numpy as np

from controllers.spatial import Pose
from controllers.state import JOINTS
from hardware.franka.hand import FINGER_STROKE
from hardware.scene import SceneSpec
from hardware.sim.scene.model import place_objects, start_simulator

GRAIN = 0.004  # [m]; vertices closer than this are one
COLLISION_GROUP = 3  # of geoms that are there to collide, not to be seen
ROUND = 24  # sides of a drawn circle
FLOOR = "ground"
PRIMITIVES = (mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_CYLINDER)


@dataclass(frozen=True, eq=False)
class Shape:
    """A mesh fixed to a body.

    Attributes:
        body: its name.
        vertices: ``(n, 3)`` float32 [m], in the frame of the body.
        faces: ``(m, 3)`` uint32, indices of vertices, counter-clockwise as seen from outside.
        rgba: colour and opacity, 0–1.
    """

    body: str
    vertices: np.ndarray
    faces: np.ndarray
    rgba: tuple[float, float, float, float]


class SceneShapes:
    """The arm, its hand and what stands around them.

    Attributes:
        shapes: all that is to be seen but the floor.
    """

    def __init__(self, spec: SceneSpec) -> None:
        """Takes seconds. Raises `SceneError` when the scene cannot be built."""
        simulator = start_simulator(spec, visual=True)
        self._model, self._data = simulator.model, simulator.data
        robot = simulator.robots[0]
        self._arm, self._fingers = np.array(robot._qpos_addrs), np.array(robot._finger_qpos_addrs)
        self.shapes = tuple(self._shapes())

    def poses(self, q: np.ndarray, opening: float, objects: Mapping[str, Pose]) -> dict[str, Pose]:
        """Body → its pose in the base frame.

        Args:
            q: joint positions ``(7,)`` [rad].
            opening: of the gripper, 0 closed – 1 open.
            objects: poses of movable objects in the base frame; the others stay where they were.
        """
        self._data.qpos[self._arm] = np.asarray(q, dtype=np.float64).reshape(JOINTS)
        self._data.qpos[self._fingers] = FINGER_STROKE * opening
        place_objects(self._model, self._data, objects)
        mujoco.mj_kinematics(self._model, self._data)
        bodies = {shape.body for shape in self.shapes}
        return {name: self._pose(name) for name in bodies}

    def _pose(self, body: str) -> Pose:
        w, x, y, z = self._data.body(body).xquat
        return Pose(self._data.body(body).xpos.copy(), np.array([x, y, z, w]))

    def _shapes(self) -> list[Shape]:
        model = self._model
        parts: dict[tuple[str, tuple[float, ...]], list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
        for geom in range(model.ngeom):
            if model.geom_group[geom] >= COLLISION_GROUP or model.geom(geom).name == FLOOR:
                continue
            mesh = self._mesh(geom)
            if mesh is not None:
                material = model.geom_matid[geom]
                rgba = model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]
                key = (model.body(model.geom_bodyid[geom]).name, tuple(round(float(c), 3) for c in rgba))
                parts[key].append(mesh)
        return [_merged(body, rgba, meshes) for (body, rgba), meshes in parts.items()]

    def _mesh(self, geom: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Vertices and faces of a geom in the frame of its body; None for a kind that is not drawn."""
        model, kind = self._model, self._model.geom_type[geom]
        if kind == mujoco.mjtGeom.mjGEOM_MESH:
            mesh = model.geom_dataid[geom]
            first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
            vertices = model.mesh_vert[first : first + count]
            first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
            vertices, faces = coarse(vertices, model.mesh_face[first : first + count])
        elif kind in PRIMITIVES:
            vertices, faces = primitive(mujoco.mjtGeom(kind), model.geom_size[geom])
        else:
            return None
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
        return vertices @ rotation.reshape(3, 3).T + model.geom_pos[geom], faces


def coarse(vertices: np.ndarray, faces: np.ndarray, grain: float = GRAIN) -> tuple[np.ndarray, np.ndarray]:
    """A mesh with the vertices in each cube of ``grain`` [m] drawn together to their mean."""
    _, cell = np.unique(np.round(vertices / grain).astype(np.int64), axis=0, return_inverse=True)
    cell = cell.reshape(-1)
    counts = np.bincount(cell)
    means = np.stack([np.bincount(cell, vertices[:, axis]) / counts for axis in range(3)], axis=1)
    drawn = cell[faces]
    a, b, c = drawn.T
    return means, drawn[(a != b) & (b != c) & (a != c)]


def primitive(kind: mujoco.mjtGeom, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mesh of a box, sphere or cylinder of MuJoCo's ``size (3,)`` [m]."""
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float) * size
        sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
        return corners, np.array([face for a, b, c, d in sides for face in ((a, b, c), (a, c, d))])
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        heights = np.linspace(-0.5 * np.pi, 0.5 * np.pi, ROUND // 2 + 1)
        rings = [(size[0] * np.cos(height), size[0] * np.sin(height)) for height in heights]
    else:
        rings = [(0.0, -size[1]), (size[0], -size[1]), (size[0], size[1]), (0.0, size[1])]
    angles = np.linspace(0.0, 2.0 * np.pi, ROUND, endpoint=False)
    vertices = np.array([(r * np.cos(a), r * np.sin(a), z) for r, z in rings for a in angles])
    faces = []
    for ring in range(len(rings) - 1):
        for i in range(ROUND):
            j, low, high = (i + 1) % ROUND, ring * ROUND, (ring + 1) * ROUND
            faces += [(low + i, low + j, high + j), (low + i, high + j, high + i)]
    return vertices, np.array(faces)


def _merged(body: str, rgba: tuple[float, ...], meshes: list[tuple[np.ndarray, np.ndarray]]) -> Shape:
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in meshes)])
    faces = np.concatenate([faces + start for (_, faces), start in zip(meshes, starts, strict=False)])
    vertices = np.concatenate([vertices for vertices, _ in meshes])
    r, g, b, a = rgba
    return Shape(body, vertices.astype(np.float32), faces.astype(np.uint32), (r, g, b, a))
