"""The arm model of a Franka Research 3 with the Franka Hand."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from controllers.model import ArmModel
from controllers.spatial import Pose
from hardware.interfaces import HardwareError

FLANGE = "link8"
TCP_HEIGHT = 0.1034  # flange to fingertips [m], as in Franka's Desk for the Franka Hand
HAND_MASS = 0.73  # [kg], and below its centre of mass [m] and inertia about it [kg·m²], in the flange frame
HAND_COM = (-0.01, 0.0, 0.03)
HAND_INERTIA = (0.001, 0.0025, 0.0017)


def flange_to_tcp() -> Pose:
    """Pose of the TCP (between the fingertips) in the flange frame: turned by -45° about the flange axis."""
    return Pose.from_rotvec(np.array([0.0, 0.0, TCP_HEIGHT]), np.array([0.0, 0.0, -np.pi / 4]))


def fr3_model() -> ArmModel:
    """Kinematics and dynamics of an FR3 carrying the Franka Hand, at the TCP.

    Raises:
        HardwareError: franky-sim, which brings the URDF, is not installed.
    """
    return ArmModel.from_urdf(_with_hand(_urdf_file().read_text(encoding="utf-8")), FLANGE, flange_to_tcp())


def _urdf_file() -> Path:
    # The package is located, not imported: importing it starts its simulator's dependencies.
    spec = importlib.util.find_spec("franky_sim")
    if spec is None or spec.origin is None:
        raise HardwareError(
            "the FR3 model needs the URDF that comes with franky-sim, which is not installed: pip install franky-sim"
        )
    return Path(spec.origin).parent / "assets" / "fr3_clean.urdf"


def _with_hand(urdf: str) -> str:
    """The URDF with the hand's inertia on the flange, which the bare arm leaves massless."""
    root = ElementTree.fromstring(urdf)
    flange = next(link for link in root.iter("link") if link.get("name") == FLANGE)
    inertial = ElementTree.SubElement(flange, "inertial")
    ElementTree.SubElement(inertial, "origin", xyz=" ".join(map(str, HAND_COM)), rpy="0 0 0")
    ElementTree.SubElement(inertial, "mass", value=str(HAND_MASS))
    ixx, iyy, izz = map(str, HAND_INERTIA)
    ElementTree.SubElement(inertial, "inertia", ixx=ixx, iyy=iyy, izz=izz, ixy="0", ixz="0", iyz="0")
    return ElementTree.tostring(root, encoding="unicode")
