"""The simulated scene: a pure description, and the MuJoCo model built from it.

The same `build_simulator` stands behind the FCI server and the in-process world, so that the physics is the same.
"""

from __future__ import annotations

from dataclasses import dataclass

HOME_Q = (0.0, -0.55, 0.0, -2.45, 0.0, 1.9, 0.7853981633974483)


class SceneError(ValueError):
    """A scene that cannot be built, or an object that is not in it."""


@dataclass(frozen=True)
class SceneSpec:
    """What stands around the arm, as plain data (picklable; needs no simulator to exist).

    Attributes:
        worldbody: MJCF elements appended to the world body: tables, blocks, movable bodies, cameras. The base frame of
            the arm is the world frame; the floor is at z = 0.
        hand: MJCF elements appended to the body of the hand; the TCP is at ``0 0 0.1034`` there, the hand's z axis
            points out of the flange. Geometry here never collides with the arm itself.
        objects: names of the movable bodies (free joint or mocap) whose poses may be set and read.
        start_q: joint positions at power-on ``(7,)`` [rad].
        start_width: opening of the gripper at power-on [m], 0–0.08.
    """

    worldbody: str = ""
    hand: str = ""
    objects: tuple[str, ...] = ()
    start_q: tuple[float, ...] = HOME_Q
    start_width: float = 0.08

    def __post_init__(self) -> None:
        if len(self.start_q) != 7:
            raise SceneError(f"start_q needs 7 joint positions, not {len(self.start_q)}")
        if not 0.0 <= self.start_width <= 0.08:
            raise SceneError(f"start_width {self.start_width} m is outside the gripper's stroke, 0–0.08 m")
