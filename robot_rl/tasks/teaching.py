"""A task out of a few poses that a person shows: the start, opposite corners of the box, the goal if there is one.

Everything else is a proposal, written with comments into the file, for the person to change.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from controllers.spatial import Pose
from robot_rl.tasks.keys import BoxSpec, GoalSpec, StartSpec, TaskFile, rpy_deg_of

MARGIN = 0.01  # [m] of the box beyond what was shown
NARROWEST = 0.02  # [m] between two corners
SPREAD = 0.02  # [m] of the start, where the box leaves room for it
SCALE, TURN = 0.01, 0.05  # [m], [rad] a step
TURNED = 3.0  # [degrees] between start and goal from which an axis of rotation is driven
MOVED = 0.15  # of the gripper's stroke between start and goal from which the gripper is driven
LEAST_STEPS, PATIENCE = 50, 4.0  # a horizon, and how many times the shortest way it is
FREE = BoxSpec((0.25, -0.5, 0.005), (0.8, 0.5, 0.8))  # above the table: where the arm may be driven meanwhile


class TeachError(ValueError):
    """A pose that cannot be what it is shown as; the message says why."""


class Mark(enum.Enum):
    """Roles in which poses are shown, in order."""

    START = "start"
    CORNER = "corner"
    OPPOSITE = "opposite corner"
    GOAL = "goal"


PROMPTS = {
    Mark.START: "bring the hand to where an episode shall begin",
    Mark.CORNER: "bring the hand to a lower corner of the box that it may move in",
    Mark.OPPOSITE: "bring the hand to the opposite upper corner",
    Mark.GOAL: "bring the hand to where the task is done",
}


class Shown(NamedTuple):
    """A pose of the TCP in the base frame, and the opening of the gripper 0–1."""

    pose: Pose
    gripper: float


@dataclass(frozen=True)
class Lesson:
    """Poses shown so far.

    Attributes:
        with_goal: the last thing to show is the goal's pose.
        shown: the poses, in the order of `Mark`.
    """

    with_goal: bool = True
    shown: tuple[Shown, ...] = ()

    @property
    def next(self) -> Mark | None:
        """The role to be shown next; None when that is all."""
        marks = list(Mark) if self.with_goal else list(Mark)[:-1]
        return marks[len(self.shown)] if len(self.shown) < len(marks) else None

    def take(self, pose: Pose, gripper: float) -> Lesson:
        """With ``pose`` shown as the `next`. Raises `TeachError`."""
        mark = self.next
        if mark is None:
            raise TeachError("everything has been shown")
        if mark is Mark.OPPOSITE:
            sides = np.abs(pose.translation - self.shown[-1].pose.translation)
            if sides.min() < NARROWEST:
                axis = "xyz"[int(sides.argmin())]
                raise TeachError(
                    f"the corners are only {sides.min() * 1000:.0f} mm apart along {axis}; opposite corners differ by "
                    f"{NARROWEST * 1000:.0f} mm or more on every axis"
                )
        return replace(self, shown=(*self.shown, Shown(pose, gripper)))

    def back(self) -> Lesson:
        """Without the pose shown last."""
        return replace(self, shown=self.shown[:-1])

    def task(self, setting: TaskFile) -> TaskFile:
        """The task, with name, scene, table and words of ``setting``. Raises `TeachError` before all is shown."""
        if (mark := self.next) is not None:
            raise TeachError(f"the {mark.value} has not been shown yet")
        start, goal = self.shown[0], self.shown[-1]
        points = np.array([shown.pose.translation for shown in self.shown])
        lower, upper = points.min(axis=0) - MARGIN, points.max(axis=0) + MARGIN
        retreat = float(points[:, 2].max())
        room = np.minimum(start.pose.translation - lower, upper - start.pose.translation)
        spread = np.minimum(SPREAD, np.append(room[:2], min(room[2], retreat - lower[2])))
        axes = dict.fromkeys(("x", "y", "z"), SCALE)
        way = upper - lower
        if self.with_goal:
            turned = np.degrees(goal.pose.difference(start.pose)[3:])
            axes |= {
                axis: TURN for axis, angle in zip(("roll", "pitch", "yaw"), turned, strict=True) if abs(angle) > TURNED
            }
            if abs(goal.gripper - start.gripper) > MOVED:
                axes["gripper"] = 1.0
            way = np.abs(goal.pose.translation - start.pose.translation)
        turns = len(axes.keys() & {"roll", "pitch", "yaw"}) > 0
        fields = tuple(name for name in TaskFile().fields if turns or "angular" not in name)
        if "gripper" in axes:
            fields = (*fields, "gripper")
        return replace(
            setting,
            start=StartSpec(
                _metres(start.pose.translation),
                _degrees(start.pose),
                (),
                _metres(spread),
                gripper=round(start.gripper, 2),
            ),
            workspace=BoxSpec(_metres(lower), _metres(upper)),
            retreat_height=round(retreat, 3),
            axes=axes,
            horizon=max(LEAST_STEPS, int(np.ceil(PATIENCE * float(way.max()) / SCALE / 10.0) * 10)),
            fields=fields,
            goal=self._goal(turns) if self.with_goal else GoalSpec(),
            judge="task" if self.with_goal else "person",
        )

    def _goal(self, turns: bool) -> GoalSpec:
        pose = self.shown[-1].pose
        return GoalSpec(_metres(pose.translation), _degrees(pose) if turns else (), tolerance_deg=5.0 if turns else 0.0)


def text_of(file: TaskFile) -> str:
    """The YAML of a task, each key with what it means."""
    start, box, goal = file.start, file.workspace, file.goal
    lines = [
        "# A task for robot-rl; robot_rl/tasks/keys.py explains all keys. Lengths in metres, angles in degrees, in the",
        "# arm's base frame: x forward, y left, z up. Look at it with: robot-rl task check FILE",
        f"name: {file.name}",
        f"instruction: {_quoted(file.instruction)}  # what is to be done, in words",
        "start:  # where an episode begins",
        f"  position: {_list(start.position)}",
        f"  rpy_deg: {_list(start.rpy_deg)}  # roll, pitch, yaw; 180, 0, 0 points straight down",
        f"  spread: {_list(start.spread)}  # drawn anew for each episode: ± so much",
        f"  spread_rpy_deg: {_list(start.spread_rpy_deg)}",
        f"  gripper: {start.gripper:g}  # 0 closed, 1 open",
        "workspace:  # where the hand may go, in episodes and resets",
        f"  lower: {_list(box.lower)}",
        f"  upper: {_list(box.upper)}",
        f"  tilt_deg: {box.tilt_deg:g}  # that the hand may lean; 0: no bound",
    ]
    if file.retreat_height is not None:
        lines.append(f"retreat_height: {file.retreat_height:g}  # a reset lifts to it before it moves sideways")
    lines += [
        f"table: {file.table:g}  # height of the table, for robot-rl task check",
        "axes:  # what the policy drives: metres or radians that an action of ±1 moves it",
        *(f"  {axis}: {scale:g}" for axis, scale in file.axes.items()),
        f"rate: {file.rate:g}  # actions a second, 5 to 50",
        f"horizon: {file.horizon}  # steps until the time limit",
        "fields:  # what the policy sees of the arm",
        *(f"  - {name}" for name in file.fields),
        "cameras: {}  # e.g. {front: {crop: [0.2, 0.1, 0.6, 0.8], size: 128}}: left, top, width, height as shares",
    ]
    if goal.position:
        lines += ["goal:  # where it is done", f"  position: {_list(goal.position)}"]
        lines += [f"  rpy_deg: {_list(goal.rpy_deg)}"] if goal.rpy_deg else []
        lines.append(f"  tolerance: {_list(goal.tolerance)}  # so far from it, along each axis")
        lines.append(f"  tolerance_deg: {goal.tolerance_deg:g}  # and turned by no more than this; 0: however turned")
    lines += [
        f"judge: {file.judge}  # task: done at the goal; person: you say so",
        f"reset_words: {_quoted(file.reset_words)}  # what you are asked to do before each episode",
    ]
    if file.scene:
        lines.append(f"scene: {file.scene}  # of the simulated arm only")
    return "\n".join(lines) + "\n"


def free_task(name: str, scene: str = "", table: float = 0.0, instruction: str = "") -> TaskFile:
    """Nothing but room to drive in, above a table at height ``table`` [m]."""
    low, high = np.array(FREE.lower) + (0.0, 0.0, table), np.array(FREE.upper) + (0.0, 0.0, table)
    return TaskFile(
        name=name,
        instruction=instruction,
        start=StartSpec(_metres(0.5 * (low + high))),
        workspace=BoxSpec(_metres(low), _metres(high)),
        table=table,
        axes={"x": SCALE, "y": SCALE, "z": SCALE, "roll": TURN, "pitch": TURN, "yaw": TURN, "gripper": 1.0},
        judge="person",
        scene=scene,
    )


def _metres(vector: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 3) for value in vector)


def _degrees(pose: Pose) -> tuple[float, ...]:
    return tuple(round(value, 1) + 0.0 for value in rpy_deg_of(pose))


def _list(values: tuple[float, ...]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
