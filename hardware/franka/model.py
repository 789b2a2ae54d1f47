"""The arm model of a Franka Research 3 with the Franka Hand."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from controllers.model import ArmModel, Inertia
from controllers.spatial import Pose
from hardware.franka.hand import TCP_HEIGHT
from hardware.interfaces import HardwareError

FLANGE = "link8"
HAND = Inertia(mass=0.73, com=(-0.01, 0.0, 0.03), moments=(0.001, 0.0, 0.0, 0.0025, 0.0, 0.0017))  # at the flange

# Inertia of the drives at the joints [kg·m²]. Those of a real FR3 are not published: these are franky-sim's.
DRIVES = (0.195, 0.195, 0.195, 0.195, 0.074, 0.074, 0.074)


def flange_to_tcp() -> Pose:
    """Pose of the TCP (between the fingertips) in the flange frame: turned by -45° about the flange axis."""
    return Pose.from_rotvec(np.array([0.0, 0.0, TCP_HEIGHT]), np.array([0.0, 0.0, -np.pi / 4]))


def fr3_model() -> ArmModel:
    """Kinematics and dynamics of an FR3 carrying the Franka Hand, its drives included, at the TCP.

    Raises:
        HardwareError: franky-sim, which brings the URDF, is not installed.
    """
    urdf = _urdf_file().read_text(encoding="utf-8")
    return ArmModel.from_urdf(urdf, FLANGE, flange_to_tcp(), HAND, np.array(DRIVES))


def _urdf_file() -> Path:
    # Located, not imported: importing the package loads its simulator.
    spec = importlib.util.find_spec("franky_sim")
    if spec is None or spec.origin is None:
        raise HardwareError(
            "the FR3 model needs the URDF that comes with franky-sim, which is not installed: pip install franky-sim"
        )
    return Path(spec.origin).parent / "assets" / "fr3_clean.urdf"
