"""Can the arm do it? Box, starts and resets of a task against joint limits, table, speed limits and, if any, scene.

Ways are followed by inverse kinematics from one pose to the next, as an arm goes: near a limit, a pose may be reachable
from one side only. Geometry of the hand is that of the Franka Hand, without what it holds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from controllers.config import ControllerConfig
from controllers.model import ArmModel, InverseKinematicsError
from controllers.spatial import Pose, exp3
from robot_rl.tasks.base import Start, Task

STARTS = 64  # drawn
RESETS = 4  # of them, that are gone to from every corner of the box
STRIDE = 0.05  # [m] and …
TURN = 0.3  # … [rad] between poses of a way
NARROW = 0.05  # [rad] from a joint limit: too near
MARGIN = ControllerConfig.repulsion_margin  # [rad] from it: the controller begins to push away
TILT = np.radians(10.0)  # of the hand that is looked at where nothing bounds it
SPARE = 1.5  # times the shortest way's steps that a horizon should leave
# Lowest corners of the hand's body and of its fingertips, in the TCP frame [m]; the fingers open along y.
BODY = np.array([[x, y, -0.037] for x, y in itertools.product((-0.032, 0.032), (-0.102, 0.102))])
TIPS = np.array([[x, y, 0.009] for x, y in itertools.product((-0.011, 0.011), (-0.05, 0.05))])
JOINTS = tuple(f"joint {i}" for i in range(1, 8))

Touched = Callable[[np.ndarray, float, Mapping[str, Pose]], Sequence[str]]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: its name, what was found, and what to change ("" when nothing).

    ``bad``: the task cannot be done like that.
    """

    name: str
    found: str
    advice: str = ""
    bad: bool = False


class Follower:
    """An arm that goes from pose to pose on straight ways.

    Args:
        model: of the arm.
        q: where it stands ``(7,)`` [rad].
    """

    def __init__(self, model: ArmModel, q: np.ndarray) -> None:
        self._model = model
        self.q = np.asarray(q, dtype=np.float64)

    def copy(self) -> Follower:
        return Follower(self._model, self.q)

    def go(self, pose: Pose) -> None:
        """Go to ``pose``. Raises `InverseKinematicsError` where joint limits or the arm's length end the way."""
        here = self._model.forward_kinematics(self.q)
        way = pose.difference(here)
        count = max(1, int(np.ceil(max(np.linalg.norm(way[:3]) / STRIDE, np.linalg.norm(way[3:]) / TURN))))
        for k in range(1, count + 1):
            self.q = self._model.inverse_kinematics(here.moved(way * k / count), self.q)

    @property
    def room(self) -> tuple[float, str]:
        """Angle [rad] to the nearest joint limit, and the joint's name."""
        room = np.minimum(self.q - self._model.lower, self._model.upper - self.q)
        return float(room.min()), JOINTS[int(room.argmin())]


def check(task: Task, model: ArmModel, q_start: np.ndarray, touched: Touched | None = None) -> list[Finding]:
    """Look at ``task``.

    Args:
        task: what to look at.
        model: of the arm.
        q_start: joint positions ``(7,)`` [rad] to go to the nominal pose from.
        touched: names of what the arm touches of the scene at joint positions, a gripper's opening and objects' poses.
    """
    starts = [task.sample_start(np.random.default_rng(seed)) for seed in range(STARTS)]
    outside = [start for start in starts if not task.workspace.contains(start.pose)]
    findings = [
        Finding(
            "starts in the box",
            f"{STARTS - len(outside)} of {STARTS} drawn starts",
            f"enlarge the box or narrow the spread: {_xyz(outside[0].pose)} is outside" if outside else "",
            bad=bool(outside),
        )
    ]
    arm = Follower(model, q_start)
    try:
        arm.go(task.nominal)
    except InverseKinematicsError:
        return [*findings, Finding("start", f"no way to {_xyz(task.nominal)}", "move the start into reach", bad=True)]
    box = list(_box(task))
    resets = [way for start in starts[:RESETS] for way in _resets(task, start)]
    findings.append(_reached("box", arm, ([pose] for pose in box), "shrink the box"))
    findings.append(_reached("starts", arm, ([start.pose] for start in starts), "move the start"))
    findings.append(_reached("resets", arm, resets, "lower retreat_height or shrink the box"))
    findings.append(_table(task, [*box, *(start.pose for start in starts)]))
    findings += _speeds(task)
    findings += _spread(task, starts)
    findings += _goal(task, arm, starts)
    if touched is not None:
        findings.append(_scene(task, arm, starts, touched))
    return findings


def _box(task: Task) -> Iterator[Pose]:
    """Corners, middles of edges and faces, and the middle of the box; leaning, too, where the policy may lean."""
    lower, upper = task.workspace.lower, task.workspace.upper
    cone = task.workspace.cone
    tilt = min(cone.angle, np.pi / 2) if cone is not None else TILT
    leans = [axis for axis, name in ((0, "roll"), (1, "pitch")) if name in task.action.axes]
    turns = [np.zeros(3)] + [sign * tilt * np.eye(3)[axis] for axis in leans for sign in (-1.0, 1.0)]
    for share in itertools.product((0.0, 0.5, 1.0), repeat=3):
        translation = lower + np.array(share) * (upper - lower)
        for turn in turns:
            yield Pose.from_rotation(translation, exp3(turn) @ task.nominal.rotation)


def _resets(task: Task, start: Start) -> Iterator[list[Pose]]:
    """The way from each corner of the box up, over and down to the start, as `robot_rl.session.reset` goes it."""
    height = max(task.retreat_height, float(start.pose.translation[2]))
    for x, y, z in itertools.product(*zip(task.workspace.lower, task.workspace.upper, strict=True)):
        corner = Pose(np.array([x, y, z]), task.nominal.quat_xyzw)
        lifted = Pose(np.array([x, y, max(height, z)]), task.nominal.quat_xyzw)
        above = Pose(np.array([*start.pose.translation[:2], height]), start.pose.quat_xyzw)
        yield [corner, lifted, above, start.pose]


def _reached(name: str, arm: Follower, ways: Iterable[list[Pose]], advice: str) -> Finding:
    """Whether each way can be gone from where the arm is, and how near to a joint limit it comes."""
    room, joint, tightest, count = np.inf, "", Pose.identity(), 0
    for way in ways:
        follower = arm.copy()
        count += 1
        for pose in way:
            try:
                follower.go(pose)
            except InverseKinematicsError:
                return Finding(name, f"{_xyz(pose)} is out of reach", advice, bad=True)
            if follower.room[0] < room:
                (room, joint), tightest = follower.room, pose
    found = f"{count} reached, {np.degrees(room):.0f}° from the nearest joint limit ({joint}) at {_xyz(tightest)}"
    if room < NARROW:
        return Finding(name, found, f"{advice}: the robot stops at a limit", bad=True)
    return Finding(name, found, f"{advice}: the controller pushes back there" if room < MARGIN else "")


def _table(task: Task, poses: Sequence[Pose]) -> Finding:
    def lowest(pose: Pose) -> float:
        points = np.vstack((BODY, TIPS)) @ pose.rotation.T + pose.translation
        return float(points[:, 2].min() - task.table)

    pose = min(poses, key=lowest)
    above = lowest(pose)
    found = f"the hand keeps {above * 1000:.0f} mm above the table (z = {task.table:g} m), at {_xyz(pose)}"
    if above >= 0.0:
        return Finding("table", found)
    found = f"the hand may go {-above * 1000:.0f} mm into the table (z = {task.table:g} m), at {_xyz(pose)}"
    return Finding("table", found, "raise the box, or say where the table is: table: …", bad=True)


def _speeds(task: Task) -> Iterator[Finding]:
    limits = ControllerConfig()
    for axis, scale in zip(task.action.axes, task.action.scale, strict=True):
        if axis == "gripper":
            continue
        speed, limit, unit = scale * task.rate, limits.max_speed, "m/s"
        if axis not in "xyz":
            limit, unit = limits.max_turn_speed, "rad/s"
        if speed > limit:
            yield Finding(
                f"speed of {axis}",
                f"{scale:g} a step at {task.rate:g} Hz is {speed:.2g} {unit}; the controller allows {limit:g}",
                f"scale {axis} by {limit / task.rate:.2g} at most",
                bad=True,
            )


def _spread(task: Task, starts: Sequence[Start]) -> Iterator[Finding]:
    spread = np.ptp([start.pose.difference(task.nominal) for start in starts], axis=0)
    still = [
        axis
        for axis, width in zip(("x", "y", "z", "roll", "pitch", "yaw"), spread, strict=True)
        if width > 1e-6 and axis not in task.action.axes
    ]
    if still:
        yield Finding(
            "spread",
            f"starts are spread along {', '.join(still)}, which the policy does not drive",
            "such an axis jumps to the nominal pose with the first action: drive it, or do not spread it",
        )


def _goal(task: Task, arm: Follower, starts: Sequence[Start]) -> Iterator[Finding]:
    goal = task.goal
    if goal is None:
        return
    if not task.workspace.contains(goal):
        yield Finding("goal", f"{_xyz(goal)} is outside the box", "enlarge the box", bad=True)
        return
    yield _reached("goal", arm, [[goal]], "move the goal")
    scale = dict(zip(task.action.axes, task.action.scale, strict=True))
    ways = np.abs([goal.translation - start.pose.translation for start in starts]).max(axis=0)
    still = [axis for axis, way in zip("xyz", ways, strict=True) if axis not in scale and way > 1e-3]
    if still:
        found = f"{', '.join(still)} would have to change, which the policy does not drive"
        yield Finding("goal", found, "drive it: axes", bad=True)
        return
    needed = max(way / scale[axis] for axis, way in zip("xyz", ways, strict=True) if axis in scale)
    if needed * SPARE > task.horizon:
        found = f"the way takes {needed:.0f} steps, and the horizon is {task.horizon}"
        yield Finding("horizon", found, f"horizon: {int(np.ceil(3 * needed))}", bad=needed > task.horizon)


def _scene(task: Task, arm: Follower, starts: Sequence[Start], touched: Touched) -> Finding:
    for start in starts[: 4 * RESETS]:
        follower = arm.copy()
        above = np.array([*start.pose.translation[:2], max(task.retreat_height, start.pose.translation[2])])
        for pose in (Pose(above, start.pose.quat_xyzw), start.pose):
            try:
                follower.go(pose)
            except InverseKinematicsError:
                continue  # said already
            if names := touched(follower.q, start.gripper, start.objects):
                found = f"at {_xyz(pose)} the arm touches {', '.join(names)}"
                return Finding("scene", found, "move the start, or raise retreat_height", bad=True)
    return Finding("scene", "nothing is touched at the starts, nor above them")


def _xyz(pose: Pose) -> str:
    return "({:.3f}, {:.3f}, {:.3f})".format(*pose.translation)
