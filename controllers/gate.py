"""The gate: what a setpoint must satisfy before the arm follows it, whoever sends it.

Refused is what cannot be meant (not finite, absurdly far, out of reach of the limits); adjusted, and said so, is what
can be done in part (a target outside the workspace, joints too near a limit). A pose is finite by construction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from controllers.config import ControllerConfig
from controllers.gains import GainError, ImpedanceGains
from controllers.impact import ImpactBound
from controllers.interpolation import limited_joint_duration
from controllers.model import ArmModel
from controllers.spatial import Pose, log3
from controllers.state import JOINTS, JointSetpoint, Setpoint, WrenchSetpoint
from controllers.workspace import Workspace

PATH_SAMPLES = 9  # where along a joint path the TCP is looked at
ROUNDING = 1e-6  # [s] of a duration


class Refused(Exception):
    """A setpoint that does not pass; the message says why, for the operator."""


class PoseGoal(NamedTuple):
    """A pose to go to.

    Attributes:
        pose: inside the workspace.
        note: says in what it differs from what was asked for; empty: in nothing.
        slow: says how much slower than asked for it is gone to; empty: it is not.
        gentle: says how much slower so as not to hit too hard; empty: not for that.
    """

    pose: Pose
    note: str
    slow: str = ""
    gentle: str = ""


class JointGoal(NamedTuple):
    """Joint positions ``q (7,)`` [rad] to go to within ``duration`` [s]; ``note`` and ``slow`` as in `PoseGoal`."""

    q: np.ndarray
    duration: float
    note: str
    slow: str


class Gate:
    """The checks, for one arm.

    Every check raises `Refused`.
    """

    def __init__(self, model: ArmModel, config: ControllerConfig) -> None:
        self._model = model
        self._config = config
        self._impact = ImpactBound(config.impact_energy)
        self._lower = model.lower + config.repulsion_margin
        self._upper = model.upper - config.repulsion_margin
        self._joint_speed = np.minimum(model.velocity, config.max_turn_speed)

    def pose(self, setpoint: Setpoint, translation: np.ndarray, rotation: np.ndarray) -> PoseGoal:
        """Near enough to be meant; clipped to the workspace.

        Whether it is too fast is told by the way from ``translation (3,)`` [m], ``rotation (3, 3)``.
        """
        goal, config = check_pose(setpoint, self._model.translation, self._config), self._config
        straight = goal.pose.translation - translation
        way = float(np.linalg.norm(straight))
        turn = float(np.linalg.norm(log3(goal.pose.rotation.dot(rotation.T))))
        paths = ((way, config.max_speed, "m"), (turn, config.max_turn_speed, "rad"))
        gentle = _slowed(setpoint.duration, ((way, self._impact.speed(self._model, straight), "m"),))
        if gentle:
            gentle = f"{gentle}, so as not to hit with more than {config.impact_energy:g} J (said once in a motion)"
        return goal._replace(slow=_slowed(setpoint.duration, paths), gentle=gentle)

    def joints(self, setpoint: JointSetpoint, start: np.ndarray) -> JointGoal:
        """Clipped to the joint limits, the TCP inside the workspace, and no faster than allowed from ``start (7,)``.

        The TCP may come into the workspace from outside, and must not leave it on the way. It is looked at in
        `PATH_SAMPLES` places: between them it may leave by as much as its path bends there. Its speed is that of the
        fastest chord between two of them.
        """
        _check_duration(setpoint.duration)
        config, model = self._config, self._model
        asked = _finite("joint positions", "rad", setpoint.q, JOINTS)
        q = np.clip(asked, self._lower, self._upper)
        note = ""
        if (q != asked).any():
            joint = int(np.argmax(np.abs(q - asked)))
            note = f"joint {joint + 1} at {asked[joint]:.3f} rad is too near its limit; going to {q[joint]:.3f} rad"
        path = [model.forward_kinematics(start + s * (q - start)) for s in np.linspace(0.0, 1.0, PATH_SAMPLES)]
        if config.workspace is not None:
            _check_path(path, config.workspace)
        chords = np.diff([pose.translation for pose in path], axis=0)
        way = float(np.sqrt((chords**2).sum(axis=1).max())) * (PATH_SAMPLES - 1)
        duration = limited_joint_duration(start, q, setpoint.duration, self._joint_speed)
        duration = max(duration, way / config.max_speed)
        paths = [(float(abs(turn)), speed, "rad") for turn, speed in zip(q - start, self._joint_speed, strict=True)]
        return JointGoal(q, duration, note, _slowed(setpoint.duration, [*paths, (way, config.max_speed, "m")]))

    def wrench(self, setpoint: WrenchSetpoint) -> np.ndarray:
        """The wrench ``(6,)`` [N, N·m], within the bounds on its magnitude."""
        return check_wrench(setpoint, self._config)


def check_pose(setpoint: Setpoint, measured: np.ndarray, config: ControllerConfig) -> PoseGoal:
    """`Gate.pose` without a model: the TCP is at ``measured (3,)`` [m], base frame. Raises `Refused`."""
    _check_duration(setpoint.duration)
    pose = setpoint.pose
    away = pose.translation - measured
    jump = float(away.dot(away)) ** 0.5
    if jump > config.max_jump:
        raise Refused(f"target is {jump:.3f} m away, more than {config.max_jump} m")
    clipped = pose if config.workspace is None else config.workspace.clip(pose)
    if clipped is pose:
        return PoseGoal(pose, "")
    return PoseGoal(clipped, f"target {_words(pose)} is outside the workspace; going to {_words(clipped)}")


def check_wrench(setpoint: WrenchSetpoint, config: ControllerConfig) -> np.ndarray:
    """`Gate.wrench` without a model. Raises `Refused`."""
    wrench = _finite("wrench", "N, N·m", setpoint.wrench, 6)
    force, moment = float(np.linalg.norm(wrench[:3])), float(np.linalg.norm(wrench[3:]))
    if force > config.max_force or moment > config.max_moment:
        raise Refused(
            f"a wrench of {force:.1f} N, {moment:.1f} N·m is more than "
            f"max_force {config.max_force:g} N, max_moment {config.max_moment:g} N·m"
        )
    return wrench


def check_gains(gains: ImpedanceGains) -> None:
    """Gains that stay stable when sampled; signs and force bounds are checked at their construction."""
    try:
        gains.check_sampling()
    except GainError as error:
        raise Refused(str(error)) from error


def _check_path(path: list[Pose], workspace: Workspace) -> None:
    """Whether the TCP ends inside, and stays inside once it is."""
    if not workspace.contains(path[-1]):
        raise Refused(f"these joint positions put the TCP at {_words(path[-1])}, outside the workspace")
    entered = False
    for pose in path:
        inside = workspace.contains(pose)
        if entered and not inside:
            raise Refused(
                f"on the straight way to these joint positions the TCP passes {_words(pose)}, outside the workspace; "
                "go by way of others"
            )
        entered = inside


def _slowed(duration: float, paths: Iterable[tuple[float, float, str]]) -> str:
    """In words, by how much one of ``paths`` is too long for ``duration`` [s]; empty if none is by a thousandth.

    Each path is a length, the speed allowed on it, and the unit of length.
    """
    way, speed, unit = max(paths, key=lambda path: path[0] / path[1])
    if way <= speed * (1.001 * duration + ROUNDING):
        return ""
    asked = f"{way / duration:.4g} {unit}/s" if duration > 0.0 else f"{way:.4g} {unit} at once"
    return f"asks for {asked}; slowed to the speed limit of {speed:.4g} {unit}/s"


def _check_duration(duration: float) -> None:
    if not (math.isfinite(duration) and duration >= 0.0):
        raise Refused(f"duration {duration} s is not a time to move in")


def _finite(what: str, unit: str, values: np.ndarray, size: int) -> np.ndarray:
    array = np.array(values, dtype=np.float64)
    if array.shape != (size,):
        raise Refused(f"{what} must be {size} numbers [{unit}], not of shape {array.shape}")
    if not np.isfinite(array).all():
        raise Refused(f"{what} {array} [{unit}] are not finite")
    return array


def _words(pose: Pose) -> str:
    x, y, z = pose.translation
    return f"({x:.4f}, {y:.4f}, {z:.4f}) m, rotation vector {np.round(pose.rotvec, 3)} rad"
