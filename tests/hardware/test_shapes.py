"""The scene as plain meshes."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from controllers.spatial import Pose
from hardware.scene import HOME_Q
from hardware.sim.scene.shapes import SceneShapes, coarse, primitive
from robot_rl.tasks.pick_cube import CUBE_WIDTH
from robot_rl.tasks.scenes.cube import scene


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Enclosed by a mesh whose faces are seen counter-clockwise from outside; negative when they are not."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0)


@pytest.mark.parametrize(
    ("kind", "size", "expected"),
    [
        (mujoco.mjtGeom.mjGEOM_BOX, (0.1, 0.2, 0.3), 8 * 0.006),
        (mujoco.mjtGeom.mjGEOM_SPHERE, (0.1, 0.0, 0.0), 4 / 3 * np.pi * 1e-3),
        (mujoco.mjtGeom.mjGEOM_CYLINDER, (0.1, 0.2, 0.0), np.pi * 0.01 * 0.4),
    ],
)
def test_primitives_are_closed_and_face_out(kind: mujoco.mjtGeom, size: tuple[float, ...], expected: float) -> None:
    assert volume(*primitive(kind, np.array(size))) == pytest.approx(expected, rel=0.05)


def test_a_coarse_mesh_has_the_same_shape() -> None:
    fine = primitive(mujoco.mjtGeom.mjGEOM_SPHERE, np.array([0.1, 0.0, 0.0]))
    vertices, faces = coarse(*fine, grain=0.02)
    assert len(vertices) < len(fine[0])
    assert volume(vertices, faces) == pytest.approx(volume(*fine), rel=0.05)


def test_bodies_stand_where_joints_gripper_and_objects_are() -> None:
    shapes = SceneShapes(scene())
    bodies = {shape.body for shape in shapes.shapes}
    assert {"cube", "world", "robot0_fr3_link7", "robot0_left_finger"} <= bodies
    cube = Pose.from_rotvec(np.array([0.45, 0.1, 0.3]), np.array([0.0, 0.0, 0.4]))
    closed, opened = (shapes.poses(np.array(HOME_Q), opening, {"cube": cube}) for opening in (0.0, 1.0))
    assert closed.keys() == bodies
    assert np.abs(closed["cube"].difference(cube)).max() < 1e-9
    left, right = (opened[f"robot0_{side}_finger"].translation for side in ("left", "right"))
    stroke = np.linalg.norm(left - right)
    assert stroke - np.linalg.norm(
        closed["robot0_left_finger"].translation - closed["robot0_right_finger"].translation
    ) == pytest.approx(0.08, abs=1e-6)
    turned = np.array(HOME_Q) + np.array([0.5, 0, 0, 0, 0, 0, 0])
    hand, elsewhere = closed["robot0_hand"], shapes.poses(turned, 0.0, {})["robot0_hand"]
    about_base = Pose.from_rotvec(np.zeros(3), np.array([0.0, 0.0, 0.5]))
    assert np.abs(elsewhere.difference(about_base.compose(hand))).max() < 1e-6
    (mesh,) = [shape for shape in shapes.shapes if shape.body == "cube"]
    assert np.ptp(mesh.vertices, axis=0) == pytest.approx([CUBE_WIDTH] * 3, abs=1e-6)
    assert sum(len(shape.faces) for shape in shapes.shapes) < 60_000, "a tablet has to draw it"
