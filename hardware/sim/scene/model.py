"""The MuJoCo model of a scene, built from its description (`hardware.scene`).

The same `build_simulator` stands behind the FCI server and the in-process world, so that the physics is the same.
Contact wrenches are in `hardware.sim.scene.wrench`.
"""

from __future__ import annotations

import difflib
import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from controllers.spatial import Pose
from hardware.franka.hand import TCP_HEIGHT
from hardware.scene import FRONT_CAMERA, WRIST_CAMERA, Base, SceneError, SceneSpec

if TYPE_CHECKING:
    import mujoco
    from franky_sim.mujoco_simulator import MujocoSimulator

ROBOT = "robot0_"  # the prefix franky-sim gives to the names of its first robot
HAND_BODY = f"{ROBOT}hand"
TCP_IN_HAND = (0.0, 0.0, TCP_HEIGHT)  # [m], along the hand's z axis, which points out of the flange
# The simulated robot's own joint controller, [N·m/rad] and [N·m·s/rad]. franky-sim's damping of the last joints, 200,
# is more than the last one's 0.075 kg·m² bear at 1 kHz (d h / I < 2): once touched, it would tremble for ever.
HOLD_STIFFNESS = (4500.0, 4500.0, 3500.0, 3500.0, 600.0, 600.0, 600.0)
HOLD_DAMPING = (450.0, 450.0, 350.0, 350.0, 60.0, 60.0, 60.0)

# Collision bits: geoms meet when the type of one is in the affinity of the other. An arm (and what it holds) meets the
# scene and other arms, the scene meets itself, no arm meets itself. A single arm's first links touch nothing.
SCENE_TYPE = 2
ARM_TYPES = (1, 4, 8, 16)  # one for each of `MAX_ARMS`
IDLE_LINKS = tuple(f"fr3_link{i}" for i in range(5))


def robot_prefix(arm: int) -> str:
    """Prefix of the names of an arm's bodies in the model, and of those of its scene unless it is the first."""
    return f"robot{arm}_"


def build_simulator(spec: SceneSpec, visual: bool = False) -> MujocoSimulator:
    """franky-sim's simulator with its FR3s and the scene in it, not started.

    Parts that cannot collide are left out, which halves the time of a physics step, unless they are to be seen
    (``visual``).

    Raises `SceneError` when a fragment of the scene is not well-formed XML or no simulator is installed.
    """
    try:
        from franky_sim.mujoco_simulator import MujocoSimulator
    except ImportError as error:
        raise SceneError(
            f"the simulated arm needs franky-sim ({error}); install it with: pip install 'robot-rl[sim]'"
        ) from error

    simulator = MujocoSimulator()
    affinity = SCENE_TYPE | sum(ARM_TYPES[: len(spec.bases)])
    _set_bits(_find(simulator.worldbody, "geom[@name='ground']"), (SCENE_TYPE, affinity))
    for arm, base in enumerate(spec.bases):
        _add_arm(simulator, spec, arm, base)
    _make_rendering_cheap(simulator.scene)
    if not visual:
        _find(simulator.scene, "compiler").set("discardvisual", "true")
    # Elliptic cones and a high impratio keep a grasped object from creeping out of the fingers.
    option = _find(simulator.scene, "option")
    option.set("cone", "elliptic")
    option.set("impratio", "10")
    return simulator


def _add_arm(simulator: MujocoSimulator, spec: SceneSpec, arm: int, base: Base) -> None:
    """One FR3 at ``base`` with its hand's extras, its copy of the scene and its cameras."""
    simulator.add_robot(initial_q=spec.start_q, initial_hand_width=spec.start_width, kp=HOLD_STIFFNESS, kv=HOLD_DAMPING)
    worldbody, prefix = simulator.worldbody, robot_prefix(arm)
    body = _find(worldbody, f"body[@name='{prefix}base']")
    _put(body, base)
    arm_bits = (ARM_TYPES[arm], sum(ARM_TYPES[:arm]))
    idle = [f"{prefix}{link}" for link in IDLE_LINKS] if len(spec.bases) == 1 else []
    for link in body.iter("body"):
        bits = (0, 0) if link.get("name") in idle else arm_bits
        for geom in link.findall("geom"):
            if geom.get("class") != "visual":
                _set_bits(geom, bits)
    hand = _find(body, f".//body[@name='{prefix}hand']")
    for element in _parse(spec.hand, "hand"):
        _set_bits_below(element, arm_bits)
        hand.append(_renamed(element, arm))
    surroundings = ET.SubElement(
        worldbody, "frame"
    )  # its contents stand in it, and are bodies of the world all the same
    _put(surroundings, base)
    scene_bits = (SCENE_TYPE, SCENE_TYPE | sum(ARM_TYPES[: len(spec.bases)]))
    for element in _parse(spec.worldbody, "worldbody"):
        _set_bits_below(element, scene_bits)
        surroundings.append(_renamed(element, arm))
    _add_cameras(surroundings, hand, np.array(spec.look_at), arm)


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


def place_objects(
    model: mujoco.MjModel, data: mujoco.MjData, poses: Mapping[str, Pose], arm: int = 0, base: Base | None = None
) -> None:
    """Put movable bodies of an arm's scene at their poses in its base frame, at rest; takes effect with the next step.

    ``base`` is where that frame is; None where it is the world's.

    Raises `SceneError` on a name that is no movable body; nothing has been moved then.
    """
    addresses = {name: _address(model, _name(name, arm)) for name in poses}
    for name, wanted in poses.items():
        mocap, qpos, dof = addresses[name]
        pose = wanted if base is None else base.pose.compose(wanted)
        x, y, z, w = pose.quat_xyzw
        if mocap >= 0:
            data.mocap_pos[mocap] = pose.translation
            data.mocap_quat[mocap] = (w, x, y, z)
        else:
            data.qpos[qpos : qpos + 3] = pose.translation
            data.qpos[qpos + 3 : qpos + 7] = (w, x, y, z)
            data.qvel[dof : dof + 6] = 0.0
            data.qacc_warmstart[dof : dof + 6] = 0.0


def object_poses(
    model: mujoco.MjModel, data: mujoco.MjData, names: tuple[str, ...], arm: int = 0, base: Base | None = None
) -> dict[str, Pose]:
    """Poses of the named movable bodies of an arm's scene in its base frame. Raises `SceneError` as `place_objects`."""
    poses = {}
    for name in names:
        mocap, qpos, _ = _address(model, _name(name, arm))
        if mocap >= 0:
            translation, (w, x, y, z) = data.mocap_pos[mocap], data.mocap_quat[mocap]
        else:
            translation, (w, x, y, z) = data.qpos[qpos : qpos + 3], data.qpos[qpos + 3 : qpos + 7]
        pose = Pose(translation, np.array((x, y, z, w)))
        poses[name] = pose if base is None else base.pose.inverse().compose(pose)
    return poses


def _address(model: mujoco.MjModel, name: str) -> tuple[int, int, int]:
    """(mocap index or −1, first qpos, first dof) of a movable body."""
    import mujoco

    body = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name)
    mocap = int(model.body_mocapid[body]) if body >= 0 else -1
    joint = int(model.body_jntadr[body]) if body >= 0 else -1
    if mocap < 0 and (joint < 0 or model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_FREE):
        names = [model.body(i).name for i in range(1, model.nbody)]
        movable = [n for n in names if not n.startswith("robot")]
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


def _name(name: str, arm: int) -> str:
    """Name of an element of the scene in the copy of this arm."""
    return name if arm == 0 else f"{robot_prefix(arm)}{name}"


def _renamed(element: ET.Element, arm: int) -> ET.Element:
    for part in element.iter():
        if "name" in part.attrib:
            part.set("name", _name(part.attrib["name"], arm))
    return element


def _put(element: ET.Element, base: Base) -> None:
    half = 0.5 * base.yaw
    element.set("pos", f"{base.x:.9g} {base.y:.9g} 0")
    element.set("quat", f"{math.cos(half):.12g} 0 0 {math.sin(half):.12g}")


def _set_bits(geom: ET.Element, bits: tuple[int, int]) -> None:
    """Type and affinity for collisions."""
    geom.set("contype", str(bits[0]))
    geom.set("conaffinity", str(bits[1]))


def _set_bits_below(element: ET.Element, bits: tuple[int, int]) -> None:
    """Give every geom in the element these bits, unless it has its own (such as 0 for a mere marker)."""
    for geom in element.iter("geom"):
        if "contype" not in geom.attrib:
            _set_bits(geom, bits)


def _add_cameras(surroundings: ET.Element, hand: ET.Element, look_at: np.ndarray, arm: int) -> None:
    front = look_at + np.array([0.42, -0.28, 0.26])
    surroundings.append(_camera(_name(FRONT_CAMERA, arm), front, look_at, np.array([0.0, 0.0, 1.0]), fovy=38))
    # On the hand, in front of the fingers, looking past their tips: where a wrist camera is commonly mounted.
    position, centre = np.array([0.075, 0.0, 0.03]), np.array([0.0, 0.0, 0.16])
    hand.append(_camera(_name(WRIST_CAMERA, arm), position, centre, np.array([1.0, 0.0, 0.0]), fovy=60))


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
