"""The description of the arm: its chain is the controller's, whoever reads it."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import mujoco
import numpy as np
import pinocchio as pin
import pytest

from controllers.ros.topics import BASE_FRAME, FINGER_NAMES, JOINT_NAMES
from controllers.spatial import Pose
from hardware.franka.description import ROOT_FRAME, child_in_parent, fr3_joints, urdf
from hardware.franka.hand import HAND_FRAME, TCP_FRAME
from hardware.franka.model import fr3_model
from hardware.scene import CAMERAS, SceneSpec
from hardware.sim.scene.model import start_simulator
from hardware.sim.scene.render import SceneRenderer
from tests.frames import placed

MODEL = fr3_model()
JOINTS = fr3_joints(MODEL)


def positions(seed: int) -> tuple[np.ndarray, dict[str, float]]:
    """Random joint positions of the arm, and the same by name, fingers included."""
    q = np.random.default_rng(seed).uniform(MODEL.lower, MODEL.upper)
    return q, dict(zip([*JOINT_NAMES, *FINGER_NAMES], [*q, 0.01, 0.01], strict=True))


@pytest.mark.parametrize("prefix", ["", "left/"])
@pytest.mark.parametrize("seed", range(5))
def test_forward_kinematics_of_the_urdf_are_those_of_the_controller(seed: int, prefix: str) -> None:
    model = pin.buildModelFromXML(urdf(JOINTS, prefix))
    data = model.createData()
    q, by_name = positions(seed)
    pin.framesForwardKinematics(model, data, np.array([by_name[name] for name in model.names[1:]]))
    base, tip = (data.oMf[model.getFrameId(prefix + frame)] for frame in (BASE_FRAME, TCP_FRAME))
    found, wanted = base.inverse() * tip, MODEL.forward_kinematics(q)
    np.testing.assert_allclose(found.translation, wanted.translation, atol=1e-9)
    np.testing.assert_allclose(found.rotation, wanted.rotation, atol=1e-9)


def test_limits_are_those_of_the_controllers_model() -> None:
    model = pin.buildModelFromXML(urdf(JOINTS))
    order = [model.getJointId(name) - 1 for name in JOINT_NAMES]
    np.testing.assert_allclose(model.lowerPositionLimit[order], MODEL.lower)
    np.testing.assert_allclose(model.upperPositionLimit[order], MODEL.upper)
    np.testing.assert_allclose(model.upperVelocityLimit[order], MODEL.velocity)
    np.testing.assert_allclose(model.upperEffortLimit[order], MODEL.effort)


def test_the_frames_as_they_move_are_those_of_the_urdf() -> None:
    q, by_name = positions(7)
    tree = {joint.child: (joint.parent, child_in_parent(joint, by_name.get(joint.name, 0.0))) for joint in JOINTS}
    difference = placed(tree, BASE_FRAME, TCP_FRAME).difference(MODEL.forward_kinematics(q))
    np.testing.assert_allclose(difference, 0.0, atol=1e-9)
    left, right = (placed(tree, HAND_FRAME, finger).translation for finger in ("fr3_leftfinger", "fr3_rightfinger"))
    np.testing.assert_allclose(left - right, [0.0, 0.02, 0.0], atol=1e-9)


def test_the_description_is_one_tree_that_needs_no_files() -> None:
    robot = ET.fromstring(urdf(JOINTS))
    links = [link.get("name") for link in robot.findall("link")]
    children = [child.get("link") for child in robot.iterfind("joint/child")]
    assert sorted(links) == sorted([ROOT_FRAME, *children])
    assert len(set(links)) == len(links)
    assert robot.find(".//mesh") is None
    for name in ("fr3_link0", "fr3_link4", HAND_FRAME, "fr3_leftfinger"):
        assert robot.find(f"link[@name='{name}']/visual/geometry") is not None


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_drawn_camera_is_where_its_frame_says(camera: str) -> None:
    q, by_name = positions(3)
    tree = {joint.child: (joint.parent, child_in_parent(joint, by_name.get(joint.name, 0.0))) for joint in JOINTS}
    with SceneRenderer(SceneSpec(), 32, 32, (camera,)) as renderer:
        mount, pose = renderer.mount(camera)
    simulator = start_simulator(SceneSpec())
    simulator.data.qpos[np.array(simulator.robots[0]._qpos_addrs)] = q
    mujoco.mj_kinematics(simulator.model, simulator.data)
    mujoco.mj_camlight(simulator.model, simulator.data)
    drawn = simulator.data.camera(camera)
    found = placed(tree | {"camera": (mount, pose)}, BASE_FRAME, "camera")
    np.testing.assert_allclose(found.translation, drawn.xpos, atol=1e-5)
    flipped = np.diag([1.0, -1.0, -1.0])  # MuJoCo looks along −z, y up; an optical frame along z, y down
    np.testing.assert_allclose(found.rotation @ flipped, drawn.xmat.reshape(3, 3), atol=1e-5)


def test_a_chain_that_does_not_connect_is_found() -> None:
    with pytest.raises(LookupError, match="no frame"):
        placed({"a": ("b", Pose.identity())}, "c", "a")
