"""The FR3 with its hand as a URDF of our own making, for programs that draw it.

The chain is that of the controller's model, so that what is drawn is what is controlled. Links are drawn with cylinders
and boxes about as large as the arm's: no meshes have to be found.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from controllers.model import ArmModel
from controllers.ros.topics import BASE_FRAME, BASE_FRAMES, FINGER_NAMES, JOINT_NAMES
from controllers.spatial import Pose
from hardware.franka.hand import FINGER_STROKE, HAND_FRAME, TCP_FRAME, TCP_HEIGHT
from hardware.franka.model import FLANGE, fr3_model

ROOT_FRAME = BASE_FRAMES[-1]
FINGERS = ("fr3_leftfinger", "fr3_rightfinger")
FINGER_BASE = 0.0584  # [m] from the flange to where the fingers slide
FINGER_FORCE, FINGER_SPEED = 100.0, 0.2  # [N], [m/s]
WHITE, GREY = "0.93 0.93 0.93 1", "0.25 0.25 0.27 1"


class Joint(NamedTuple):
    """A joint of the description.

    Attributes:
        name, parent, child: of the joint and the frames that it connects.
        kind: ``revolute`` about z and ``prismatic`` along y of the child.
        origin: pose of the child in the parent at position 0.
        lower, upper: positions [rad or m].
        effort, velocity: at most [N·m or N], [rad/s or m/s].
    """

    name: str
    parent: str
    child: str
    origin: Pose
    kind: Literal["fixed", "revolute", "prismatic"] = "fixed"
    lower: float = 0.0
    upper: float = 0.0
    effort: float = 0.0
    velocity: float = 0.0


class Shape(NamedTuple):
    """A cylinder along z, ``(radius, length)`` [m], or a box, ``(x, y, z)`` [m], with its centre in the link."""

    size: tuple[float, ...]
    centre: tuple[float, float, float]
    along: tuple[float, float, float] = (0.0, 0.0, 0.0)  # roll, pitch, yaw [rad]
    colour: str = WHITE


SHAPES: dict[str, tuple[Shape, ...]] = {
    "fr3_link0": (Shape((0.075, 0.14), (0.0, 0.0, 0.07)), Shape((0.2, 0.16, 0.05), (-0.06, 0.0, 0.025))),
    "fr3_link1": (Shape((0.06, 0.28), (0.0, 0.0, -0.19)),),
    "fr3_link2": (Shape((0.06, 0.13), (0.0, 0.0, 0.0)),),
    "fr3_link3": (Shape((0.06, 0.2), (0.0, 0.0, -0.15)),),
    "fr3_link4": (Shape((0.06, 0.13), (0.0, 0.0, 0.0)),),
    "fr3_link5": (Shape((0.058, 0.14), (0.0, 0.0, -0.26)), Shape((0.03, 0.16), (0.0, 0.075, -0.12))),
    "fr3_link6": (Shape((0.05, 0.12), (0.0, 0.0, 0.0)), Shape((0.08, 0.08, 0.08), (0.05, 0.0, 0.0))),
    "fr3_link7": (Shape((0.045, 0.14), (0.0, 0.0, 0.03)),),
    HAND_FRAME: (Shape((0.05, 0.2, 0.07), (0.0, 0.0, 0.035)),),
    FINGERS[0]: (Shape((0.02, 0.015, 0.045), (0.0, 0.0075, 0.0225), colour=GREY),),
    FINGERS[1]: (Shape((0.02, 0.015, 0.045), (0.0, 0.0075, 0.0225), colour=GREY),),
}


def fr3_joints(model: ArmModel | None = None) -> tuple[Joint, ...]:
    """All joints from base to fingertips, parents first; of ``model``, or of an FR3 with the Franka Hand."""
    model = model or fr3_model()
    chain = model.pinocchio
    joints = [Joint("fr3_base_joint", ROOT_FRAME, BASE_FRAME, Pose.identity())]
    for i, name in enumerate(JOINT_NAMES):
        place = chain.jointPlacements[i + 1]
        joints.append(
            Joint(
                name,
                f"fr3_link{i}",
                f"fr3_link{i + 1}",
                Pose.from_rotation(place.translation, place.rotation),
                "revolute",
                float(model.lower[i]),
                float(model.upper[i]),
                float(model.effort[i]),
                float(model.velocity[i]),
            )
        )
    flange = chain.frames[chain.getFrameId(FLANGE)].placement
    stroke = (0.0, FINGER_STROKE, FINGER_FORCE, FINGER_SPEED)
    slide, fingertips = np.array([0.0, 0.0, FINGER_BASE]), np.array([0.0, 0.0, TCP_HEIGHT])
    turned = np.array([0.0, 0.0, np.pi])
    return (
        *joints,
        Joint("fr3_joint8", "fr3_link7", "fr3_link8", Pose.from_rotation(flange.translation, flange.rotation)),
        Joint("fr3_hand_joint", "fr3_link8", HAND_FRAME, Pose.from_rotvec(np.zeros(3), -0.25 * turned)),
        Joint("fr3_hand_tcp_joint", HAND_FRAME, TCP_FRAME, Pose.from_rotvec(fingertips, np.zeros(3))),
        Joint(FINGER_NAMES[0], HAND_FRAME, FINGERS[0], Pose.from_rotvec(slide, np.zeros(3)), "prismatic", *stroke),
        Joint(FINGER_NAMES[1], HAND_FRAME, FINGERS[1], Pose.from_rotvec(slide, turned), "prismatic", *stroke),
    )


def child_in_parent(joint: Joint, position: float) -> Pose:
    """Pose of the child of ``joint`` in its parent at ``position`` [rad or m]."""
    if joint.kind == "revolute":
        return joint.origin.compose(Pose.from_rotvec(np.zeros(3), np.array([0.0, 0.0, position])))
    return joint.origin.compose(Pose.from_rotvec(np.array([0.0, position, 0.0]), np.zeros(3)))


def urdf(joints: Sequence[Joint], prefix: str = "") -> str:
    """The description as URDF, with ``prefix`` before the names of all frames, as in ``tf``; joints keep theirs."""
    robot = ET.Element("robot", name="fr3")
    frames = [joints[0].parent, *(joint.child for joint in joints)]
    for frame in frames:
        link = ET.SubElement(robot, "link", name=prefix + frame)
        for shape in SHAPES.get(frame, ()):
            for use in ("visual", "collision"):
                _draw(ET.SubElement(link, use), shape, coloured=use == "visual")
    for joint in joints:
        element = ET.SubElement(robot, "joint", name=joint.name, type=joint.kind)
        x, y, z = joint.origin.translation
        ET.SubElement(element, "origin", xyz=_numbers((x, y, z)), rpy=_numbers(_roll_pitch_yaw(joint.origin.rotation)))
        ET.SubElement(element, "parent", link=prefix + joint.parent)
        ET.SubElement(element, "child", link=prefix + joint.child)
        if joint.kind == "fixed":
            continue
        ET.SubElement(element, "axis", xyz="0 0 1" if joint.kind == "revolute" else "0 1 0")
        limits = {name: _numbers((getattr(joint, name),)) for name in ("lower", "upper", "effort", "velocity")}
        ET.SubElement(element, "limit", limits)
    ET.indent(robot)
    return ET.tostring(robot, encoding="unicode", xml_declaration=True)


def _draw(element: ET.Element, shape: Shape, coloured: bool) -> None:
    ET.SubElement(element, "origin", xyz=_numbers(shape.centre), rpy=_numbers(shape.along))
    geometry = ET.SubElement(element, "geometry")
    if len(shape.size) == 2:
        radius, length = shape.size
        ET.SubElement(geometry, "cylinder", radius=_numbers((radius,)), length=_numbers((length,)))
    else:
        ET.SubElement(geometry, "box", size=_numbers(shape.size))
    if coloured:
        material = ET.SubElement(element, "material", name=shape.colour.replace(" ", "_"))
        ET.SubElement(material, "color", rgba=shape.colour)


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value + 0.0:.12g}" for value in values)


def _roll_pitch_yaw(R: np.ndarray) -> tuple[float, float, float]:
    """URDF's fixed-axis angles [rad]: ``R = Rz(yaw) Ry(pitch) Rx(roll)``; no origin here is pitched upright."""
    pitch = float(np.arctan2(-R[2, 0], np.hypot(R[0, 0], R[1, 0])))
    return float(np.arctan2(R[2, 1], R[2, 2])), pitch, float(np.arctan2(R[1, 0], R[0, 0]))
