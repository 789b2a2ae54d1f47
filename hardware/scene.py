"""The description of a scene: the arms and what stands around them, as plain data.

Tasks describe their scene with it, and the simulator (`hardware.sim.scene`) builds it; a real arm's is arranged by a
person (`hardware.manual_scene`). Nothing here imports a simulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from controllers.spatial import Pose
from controllers.state import JOINTS
from hardware.franka.hand import MAX_WIDTH

HOME_Q = (0.0, -0.55, 0.0, -2.45, 0.0, 1.9, 0.7853981633974483)  # [rad]
MAX_ARMS = 4  # in one scene
SPACING = 1.2  # [m] between arms that stand side by side: two FR3 reach 0.855 m each

FRONT_CAMERA = "front"
WRIST_CAMERA = "wrist"
CAMERAS = (FRONT_CAMERA, WRIST_CAMERA)

LOOK = "look"  # the object whose place says how the scene looks, so that the look goes wherever poses go
LOOKS = 10_000
LOOK_STEP = 0.001  # [m] along x from one look to the next
LOOK_BODY = f'<body name="{LOOK}" mocap="true"/>'  # MJCF


class SceneError(ValueError):
    """A scene that cannot be built, or an object that is not in it."""


class Base(NamedTuple):
    """Place of an arm on the floor, upright: x and y [m] and its turn about the vertical [rad], in the world."""

    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0

    @property
    def pose(self) -> Pose:
        return Pose.from_rotvec(np.array([self.x, self.y, 0.0]), np.array([0.0, 0.0, self.yaw]))


@dataclass(frozen=True)
class SceneSpec:
    """The surroundings of the arm, as plain data; needs no simulator to exist.

    Attributes:
        worldbody: MJCF elements around each arm, in its base frame: tables, blocks, movable bodies. The floor is at
            z = 0 there.
        hand: MJCF elements appended to the body of the hand; the TCP is at ``0 0 0.1034`` there, the hand's z axis
            points out of the flange. Geometry here never collides with the arm itself.
        objects: names of the movable bodies (free joint or mocap) whose poses may be set and read.
        start_q: joint positions at power-on ``(7,)`` [rad].
        start_width: opening of the gripper at power-on [m], 0 to `MAX_WIDTH`.
        look_at: point ``(3,)`` [m] in the base frame at the centre of the front camera's picture.
        coloured: names of the geoms whose colour the look decides; the scene has the object `LOOK` then.
        palette: colours (RGB, 0–1) of these geoms: the look's digits in the base of their number, the first geom's
            first; without, they are any.
        bases: where each arm stands; each has its own copy of everything above.
    """

    worldbody: str = ""
    hand: str = ""
    objects: tuple[str, ...] = ()
    start_q: tuple[float, ...] = HOME_Q
    start_width: float = MAX_WIDTH
    look_at: tuple[float, float, float] = (0.5, 0.0, 0.1)
    coloured: tuple[str, ...] = ()
    palette: tuple[tuple[float, float, float], ...] = ()
    bases: tuple[Base, ...] = (Base(),)

    def __post_init__(self) -> None:
        if len(self.start_q) != JOINTS:
            raise SceneError(f"start_q needs {JOINTS} joint positions, not {len(self.start_q)}")
        if not 0.0 <= self.start_width <= MAX_WIDTH:
            raise SceneError(f"start_width {self.start_width} m is outside the gripper's stroke, 0–{MAX_WIDTH} m")
        if len(self.palette) ** len(self.coloured) > LOOKS:
            raise SceneError(f"{len(self.palette)} colours of {len(self.coloured)} geoms are more than {LOOKS} looks")
        if not 1 <= len(self.bases) <= MAX_ARMS:
            raise SceneError(f"a scene has 1 to {MAX_ARMS} arms, not {len(self.bases)}")

    def side_by_side(self, arms: int) -> SceneSpec:
        """This scene with ``arms`` arms in a row to the left, `SPACING` apart, the first where it was."""
        return replace(self, bases=tuple(Base(0.0, i * SPACING) for i in range(arms)))


def pose_of_look(look: int) -> Pose:
    """Where the object `LOOK` stands for look number ``look``, 0 to `LOOKS` − 1."""
    return Pose(np.array([look * LOOK_STEP, 0.0, 0.0]), np.array([0.0, 0.0, 0.0, 1.0]))


def look_of(objects: Mapping[str, Pose]) -> int | None:
    """Number of the look that the poses of ``objects`` say; None where the scene has but one."""
    pose = objects.get(LOOK)
    return None if pose is None else round(float(pose.translation[0]) / LOOK_STEP) % LOOKS
