"""The simulated scene: a pure description, and the MuJoCo model built from it.

The same `build_simulator` stands behind the FCI server and the in-process world, so that the physics is the same.
Contact wrenches are in `hardware.sim.wrench`.
"""

from __future__ import annotations

import difflib
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from controllers.spatial import Pose

if TYPE_CHECKING:
    import mujoco
    from franky_sim.mujoco_simulator import MujocoSimulator

ROBOT = "robot0_"  # the prefix franky-sim gives to the names of its first robot
HAND_BODY = f"{ROBOT}hand"
TCP_IN_HAND = (0.0, 0.0, 0.1034)  # [m], along the hand's z axis, which points out of the flange
MAX_WIDTH = 0.08  # [m] stroke of the Franka hand
HOME_Q = (0.0, -0.55, 0.0, -2.45, 0.0, 1.9, 0.7853981633974483)

# Collision bits. The arm (and what it holds) meets the scene, the scene meets itself, the arm never meets itself.
ARM_BITS = ("1", "0")
SCENE_BITS = ("2", "3")
IDLE_LINKS = tuple(f"{ROBOT}fr3_link{i}" for i in range(5))  # too far from any scene to touch it

FRONT_CAMERA = "front"
WRIST_CAMERA = "wrist"
CAMERAS = (FRONT_CAMERA, WRIST_CAMERA)


class SceneError(ValueError):
    """A scene that cannot be built, or an object that is not in it."""


@dataclass(frozen=True)
class SceneSpec:
    """What stands around the arm, as plain data (picklable; needs no simulator to exist).

    Attributes:
        worldbody: MJCF elements appended to the world body: tables, blocks, movable bodies. The base frame of the arm
            is the world frame; the floor is at z = 0.
        hand: MJCF elements appended to the body of the hand; the TCP is at ``0 0 0.1034`` there, the hand's z axis
            points out of the flange. Geometry here never collides with the arm itself.
        objects: names of the movable bodies (free joint or mocap) whose poses may be set and read.
        start_q: joint positions at power-on ``(7,)`` [rad].
        start_width: opening of the gripper at power-on [m], 0–0.08.
        look_at: point ``(3,)`` [m] in the base frame at the centre of the front camera's picture.
    """

    worldbody: str = ""
    hand: str = ""
    objects: tuple[str, ...] = ()
    start_q: tuple[float, ...] = HOME_Q
    start_width: float = MAX_WIDTH
    look_at: tuple[float, float, float] = (0.5, 0.0, 0.1)

    def __post_init__(self) -> None:
        if len(self.start_q) != 7:
            raise SceneError(f"start_q needs 7 joint positions, not {len(self.start_q)}")
        if not 0.0 <= self.start_width <= MAX_WIDTH:
            raise SceneError(f"start_width {self.start_width} m is outside the gripper's stroke, 0–{MAX_WIDTH} m")


def build_simulator(spec: SceneSpec, visual: bool = False) -> MujocoSimulator:
    """franky-sim's simulator with one FR3 and the scene in it, not started.

    What cannot collide is left out, which halves the time of a physics step, unless it is to be seen (``visual``).

    Raises `SceneError` when a fragment of the scene is not well-formed XML or no simulator is installed.
    """
    try:
        from franky_sim.mujoco_simulator import MujocoSimulator
    except ImportError as error:
        raise SceneError(
            f"the simulated arm needs franky-sim ({error}); install it with: pip install 'robot-rl[sim]'"
        ) from error

    simulator = MujocoSimulator()
    simulator.add_robot(initial_q=spec.start_q, initial_hand_width=spec.start_width)
    hand = _find(simulator.worldbody, f".//body[@name='{HAND_BODY}']")

    for body in simulator.worldbody.iter("body"):
        bits = ("0", "0") if body.get("name") in IDLE_LINKS else ARM_BITS
        for geom in body.findall("geom"):
            if geom.get("class") != "visual":
                _set_bits(geom, bits)
    for element in _parse(spec.hand, "hand"):
        _set_bits_below(element, ARM_BITS)
        hand.append(element)
    _set_bits(_find(simulator.worldbody, "geom[@name='ground']"), SCENE_BITS)
    for element in _parse(spec.worldbody, "worldbody"):
        _set_bits_below(element, SCENE_BITS)
        simulator.worldbody.append(element)

    _add_cameras(simulator.worldbody, hand, np.array(spec.look_at))
    _make_rendering_cheap(simulator.scene)
    if not visual:
        _find(simulator.scene, "compiler").set("discardvisual", "true")
    # Elliptic cones and a high impratio keep a grasped object from creeping out of the fingers.
    option = _find(simulator.scene, "option")
    option.set("cone", "elliptic")
    option.set("impratio", "10")
    return simulator


def start_simulator(spec: SceneSpec, visual: bool = False) -> MujocoSimulator:
    """`build_simulator`, compiled and at its start pose: ``.model`` and ``.data`` are there.

    Raises `SceneError` when MuJoCo rejects the scene or a name in ``spec.objects`` is no movable body.
    """
    simulator = build_simulator(spec, visual)
    simulator.init()
    try:
        simulator.start()
    except ValueError as error:
        raise SceneError(f"MuJoCo cannot compile the scene: {' '.join(str(error).split())}") from error
    for name in spec.objects:
        _address(simulator.model, name)
    return simulator


def place_objects(model: mujoco.MjModel, data: mujoco.MjData, poses: Mapping[str, Pose]) -> None:
    """Put movable bodies at their poses in the base frame, at rest; takes effect with the next step.

    Raises `SceneError` on a name that is no movable body; nothing has been moved then.
    """
    addresses = {name: _address(model, name) for name in poses}
    for name, pose in poses.items():
        mocap, qpos, dof = addresses[name]
        x, y, z, w = pose.quat_xyzw
        if mocap >= 0:
            data.mocap_pos[mocap] = pose.translation
            data.mocap_quat[mocap] = (w, x, y, z)
        else:
            data.qpos[qpos : qpos + 3] = pose.translation
            data.qpos[qpos + 3 : qpos + 7] = (w, x, y, z)
            data.qvel[dof : dof + 6] = 0.0
            data.qacc_warmstart[dof : dof + 6] = 0.0


def object_poses(model: mujoco.MjModel, data: mujoco.MjData, names: tuple[str, ...]) -> dict[str, Pose]:
    """Poses of the named movable bodies in the base frame. Raises `SceneError` on a name that is none."""
    poses = {}
    for name in names:
        mocap, qpos, _ = _address(model, name)
        if mocap >= 0:
            translation, (w, x, y, z) = data.mocap_pos[mocap], data.mocap_quat[mocap]
        else:
            translation, (w, x, y, z) = data.qpos[qpos : qpos + 3], data.qpos[qpos + 3 : qpos + 7]
        poses[name] = Pose(translation, np.array((x, y, z, w)))
    return poses


def _address(model: mujoco.MjModel, name: str) -> tuple[int, int, int]:
    """(mocap index or −1, first qpos, first dof) of a movable body."""
    import mujoco

    body = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name)
    mocap = int(model.body_mocapid[body]) if body >= 0 else -1
    joint = int(model.body_jntadr[body]) if body >= 0 else -1
    if mocap < 0 and (joint < 0 or model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_FREE):
        names = [model.body(i).name for i in range(1, model.nbody)]
        movable = [n for n in names if not n.startswith(ROBOT)]
        near = difflib.get_close_matches(name, movable, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; bodies of this scene: {movable}"
        raise SceneError(f"{name!r} is no movable body (free joint or mocap) of the scene{hint}")
    if mocap >= 0:
        return mocap, -1, -1
    return -1, int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint])


def _parse(fragment: str, where: str) -> list[ET.Element]:
    try:
        return list(ET.fromstring(f"<fragment>{fragment}</fragment>"))
    except ET.ParseError as error:
        raise SceneError(f"the scene's {where} is not well-formed MJCF: {error}") from error


def _set_bits(geom: ET.Element, bits: tuple[str, str]) -> None:
    geom.set("contype", bits[0])
    geom.set("conaffinity", bits[1])


def _set_bits_below(element: ET.Element, bits: tuple[str, str]) -> None:
    """Give every geom in the element these bits, unless it has its own (such as 0 for a mere marker)."""
    for geom in element.iter("geom"):
        if "contype" not in geom.attrib:
            _set_bits(geom, bits)


def _add_cameras(worldbody: ET.Element, hand: ET.Element, look_at: np.ndarray) -> None:
    front = look_at + np.array([0.42, -0.28, 0.26])
    worldbody.append(_camera(FRONT_CAMERA, front, look_at, np.array([0.0, 0.0, 1.0]), fovy=38))
    # On the hand, in front of the fingers, looking past their tips: where a wrist camera is commonly mounted.
    hand.append(
        _camera(WRIST_CAMERA, np.array([0.075, 0.0, 0.03]), np.array([0.0, 0.0, 0.16]), np.array([1.0, 0, 0]), 60)
    )


def _camera(name: str, position: np.ndarray, look_at: np.ndarray, up: np.ndarray, fovy: float) -> ET.Element:
    """A camera at ``position`` that sees ``look_at`` in its centre; MuJoCo's cameras look along their −z axis."""
    z = position - look_at
    z /= np.linalg.norm(z)
    x = np.cross(up, z)
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    camera = ET.Element("camera", name=name, fovy=f"{fovy}")
    camera.set("pos", " ".join(f"{v:.6g}" for v in position))
    camera.set("xyaxes", " ".join(f"{v:.6g}" for v in (*x, *y)))
    return camera


def _make_rendering_cheap(scene: ET.Element) -> None:
    """No multisampling and no shadows: software rendering is eight times faster without."""
    visual = _find(scene, "visual")
    _find(visual, "quality").set("offsamples", "0")
    _find(visual, "headlight").set("ambient", "0.25 0.25 0.25")
    for light in scene.iter("light"):
        light.set("castshadow", "false")


def _find(element: ET.Element, path: str) -> ET.Element:
    found = element.find(path)
    if found is None:
        raise SceneError(f"the FR3 of this franky-sim has no {path} in its {element.tag}; install franky-sim 1.0.4")
    return found
