"""Gear mesh: put a gear, held in the gripper, onto a post beside a wheel whose teeth it has to find.

The post is where it is said to be. How far the wheel is turned a person sees, but no observation says it: a gear whose
teeth meet the wheel's rests on top of them, and only turning it, pressed lightly, shows where they mesh.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from controllers.spatial import Pose
from controllers.workspace import Workspace
from hardware.interfaces import TeleopCommand
from hardware.scene import SceneSpec
from robot_rl.contract import Reading
from robot_rl.tasks.base import TOOL_DOWN, Start
from robot_rl.tasks.peg_insertion import HOLE_XY, PEG_BELOW_TCP, PegInsertion

SEAT = 0.050  # [m] above the floor, on which gear and wheel lie
WHEEL_THICKNESS = 0.006  # [m]
POST_XY = HOLE_XY  # [m]
CENTRES = 0.041  # [m] from the post to the wheel's middle, along y
TEETH = 8
PITCH = 2.0 * np.pi / TEETH  # [rad]
STRAIGHT_TEETH = 0.92  # of the angle at which round teeth would mesh, straight ones do
TURN = 0.4 * PITCH  # [rad] from upright, within which the gear has to be turned to mesh
CONTACT_HEIGHT = SEAT + WHEEL_THICKNESS + PEG_BELOW_TCP  # [m] of the TCP when the gear lies on the wheel's teeth
SUCCESS_DEPTH = 0.004  # [m] of the gear's underside below the top of the wheel
START_YAW = np.radians(10.0)


class GearMesh(PegInsertion):
    """Success: the gear 4 mm between the wheel's teeth, on the post. Judged from the TCP."""

    name: str = "gear_mesh"
    horizon: int = 50
    workspace: Workspace = Workspace(
        np.array([POST_XY[0] - 0.05, POST_XY[1] - 0.05, CONTACT_HEIGHT - 0.008]),
        np.array([POST_XY[0] + 0.05, POST_XY[1] + 0.05, CONTACT_HEIGHT + 0.11]),
    )
    retreat_height: float = CONTACT_HEIGHT + 0.04
    nominal: Pose = Pose(np.array([*POST_XY, CONTACT_HEIGHT]), TOOL_DOWN)
    depth: float = SUCCESS_DEPTH
    capture: float = 0.003

    def scene(self) -> SceneSpec:
        from robot_rl.tasks.scenes.gears import gear_and_wheel

        return gear_and_wheel()

    def sample_start(self, rng: np.random.Generator) -> Start:
        start = super().sample_start(rng)
        meshing = rng.uniform(-TURN, TURN)
        centre = np.array([POST_XY[0], POST_XY[1] + CENTRES, SEAT])
        wheel = Pose.from_rotvec(centre, np.array([0.0, 0.0, -0.5 * PITCH - meshing]))
        return Start(start.pose, start.gripper, {"wheel": wheel})

    def target(self, objects: Mapping[str, Pose]) -> Pose:
        """The TCP where the gear lies on the wheel, turned so that it meshes where the wheel is known."""
        wheel = objects.get("wheel")
        return self.nominal if wheel is None else self.nominal.moved(np.array([0, 0, 0, 0, 0, meshing_yaw(wheel)]))

    def expert(self, reading: Reading) -> TeleopCommand:
        from robot_rl.tasks.experts.gear_mesh import turn_then_mesh

        return turn_then_mesh(self, reading)


def meshing_yaw(wheel: Pose) -> float:
    """Yaw [rad], nearest to 0, of a gear on the post at which its teeth are between those of ``wheel``."""
    ahead = (-wheel.rotvec[2]) % PITCH - 0.5 * PITCH
    return float(STRAIGHT_TEETH * ahead)
