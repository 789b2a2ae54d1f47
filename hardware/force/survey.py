"""A tour of orientations on which a sensor is read at rest, so that its tool can be identified. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from controllers.model import ArmModel, InverseKinematicsError
from controllers.spatial import Pose, exp3
from hardware.force.tool import LEAST_POSES, StaticPose, ToolError

TILT = np.radians(30.0)  # of the hand against how it stands
DIRECTIONS = 6  # in which it is tilted
ROOM = 0.1  # [rad] from joint limits that a pose has to keep
SPEED, TURN = 0.05, 0.4  # [m/s], [rad/s] between poses
SLOW, SLOW_TURN = 0.005, 0.02  # [m/s], [rad/s]: below both, the arm is at rest
SETTLE, AVERAGE = 0.4, 0.6  # [s] at rest before readings count, and of readings
LEAST_READINGS = 10
PATIENCE = 15.0  # [s] for a pose


def tilted(pose: Pose, model: ArmModel, q: np.ndarray) -> list[Pose]:
    """Orientations around ``pose`` of the TCP, which stays where it is; ``pose`` is the first and the last.

    Args:
        pose: where the arm stands.
        model: of the arm.
        q: its joint positions ``(7,)`` [rad].

    Raises `ToolError` when joint limits leave too few.
    """
    poses = []
    for angle in 2.0 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS:
        turn = exp3(TILT * np.array([np.cos(angle), np.sin(angle), 0.0]))
        goal = Pose.from_rotation(pose.translation, turn @ pose.rotation)
        try:
            there = model.inverse_kinematics(goal, q)
        except InverseKinematicsError:
            continue
        if np.minimum(there - model.lower, model.upper - there).min() > ROOM:
            poses.append(goal)
    if len(poses) < LEAST_POSES:
        raise ToolError(
            f"where the hand stands, it can be tilted by {np.degrees(TILT):.0f}° in {len(poses)} of {DIRECTIONS} "
            "directions only; bring it to the middle of its reach, with the fingers down, and start again"
        )
    return [pose, *poses, pose]


class Rest:
    """Mean wrench of a sensor at rest; every movement begins it anew."""

    def __init__(self) -> None:
        self._since: float | None = None  # [s], at rest
        self._wrenches: list[np.ndarray] = []

    def feed(self, now: float, rotation: np.ndarray, twist: np.ndarray, wrench: np.ndarray) -> StaticPose | None:
        """Take in one reading.

        Args:
            now: robot time [s].
            rotation: ``(3, 3)`` of the sensor in the base.
            twist: ``(6,)`` of the arm [m/s, rad/s].
            wrench: ``(6,)`` [N, N·m] in the sensor's axes.

        Returns the mean once there is one.
        """
        if np.linalg.norm(twist[:3]) > SLOW or np.linalg.norm(twist[3:]) > SLOW_TURN:
            self._since = None
        elif self._since is None:
            self._since, self._wrenches = now, []
        elif now - self._since > SETTLE:
            self._wrenches.append(wrench)
            if now - self._since > SETTLE + AVERAGE and len(self._wrenches) >= LEAST_READINGS:
                return StaticPose(rotation, np.mean(self._wrenches, axis=0))
        return None


class Survey:
    """Brings the arm to each of ``poses`` of its TCP and takes the sensor's mean there.

    Args:
        poses: to visit, in this order.
        mount: rotation ``(3, 3)`` of the sensor in the axes of the TCP.

    Attributes:
        taken: what was measured so far.
    """

    def __init__(self, poses: Sequence[Pose], mount: np.ndarray) -> None:
        self.taken: tuple[StaticPose, ...] = ()
        self.count = len(poses)
        self._poses, self._mount = tuple(poses), mount
        self._target = poses[0]
        self._last: float | None = None  # [s] of the last step, and when this pose was begun
        self._began = 0.0
        self._rest = Rest()

    @property
    def done(self) -> bool:
        """All poses have been visited."""
        return len(self.taken) == self.count

    def step(self, now: float, pose: Pose, twist: np.ndarray, wrench: np.ndarray) -> Pose:
        """Take in a reading, and say where the TCP shall go now.

        Args:
            now: robot time [s].
            pose, twist: of the TCP, base axes; ``twist (6,)`` [m/s, rad/s].
            wrench: ``(6,)`` [N, N·m] in the sensor's axes.

        Raises `ToolError` when the arm does not come to rest at a pose.
        """
        if self._last is None:
            self._last = self._began = now
        dt, self._last = now - self._last, now
        if self.done:
            return self._target
        goal = self._poses[len(self.taken)]
        self._target = _towards(self._target, goal, dt)
        if self._target is not goal:
            return self._target
        measured = self._rest.feed(now, pose.rotation @ self._mount, twist, wrench)
        if measured is not None:
            self.taken = (*self.taken, measured)
            self._rest, self._began = Rest(), now
        elif now - self._began > PATIENCE:
            raise ToolError(
                f"the arm does not come to rest at pose {len(self.taken) + 1} of {self.count}; is something in its way?"
            )
        return self._target

    def resume(self, pose: Pose) -> None:
        """Go on from ``pose`` after the motion was interrupted; what was taken at rest stays taken."""
        self._target, self._rest = pose, Rest()


def _towards(here: Pose, goal: Pose, dt: float) -> Pose:
    """The pose on the way from ``here`` to ``goal`` after ``dt`` [s]; ``goal`` itself at the end."""
    way = goal.difference(here)
    steps = max(np.linalg.norm(way[:3]) / SPEED, np.linalg.norm(way[3:]) / TURN)
    return goal if steps <= dt else here.moved(way * dt / steps)
