"""A task from a YAML file: a lab's own task without a line of Python.

A file that leaves out what it has to say, or says what nothing fits, is an error of one line. `robot_rl.tasks.keys` has
the keys, ``docs/YOUR_TASK.md`` the way to one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from controllers.limits import LimitError
from controllers.spatial import Pose
from controllers.workspace import OrientationCone, Workspace
from hardware.interfaces import TeleopCommand
from hardware.scene import SceneSpec
from robot_rl.contract import ACTION_AXES, TCP_POSITION, TCP_ROTATION, ActionSpec, ContractError, Outcome, Reading
from robot_rl.contract.files import write_atomically
from robot_rl.contract.settings import ConfigError, read_mapping
from robot_rl.tasks import fields as parts
from robot_rl.tasks.base import Start, Task
from robot_rl.tasks.experts import EXPERTS
from robot_rl.tasks.keys import FIELDS, NEAR, BoxSpec, GoalSpec, TaskFile, read_file, rotation_of, unknown
from robot_rl.tasks.scenes import SCENES

KEPT = "task.yaml"  # the copy that a run keeps


class FileTask(Task):
    """The task that a `TaskFile` describes. Raises `ConfigError` naming the key that is missing or does not fit.

    Args:
        file: the keys.
        folder: where a scene's file is looked for.
    """

    def __init__(self, file: TaskFile, folder: Path = Path()) -> None:
        for key, value in (
            ("start.position", file.start.position),
            ("workspace.lower", file.workspace.lower),
            ("workspace.upper", file.workspace.upper),
        ):
            if not value:
                raise ConfigError(f"{key} is missing; give x, y and z in metres, e.g. {key}: [0.5, 0.0, 0.2]")
        if not file.axes:
            raise ConfigError("axes is missing; say what the policy drives, e.g. axes: {x: 0.01, y: 0.01, z: 0.01}")
        self.file = file
        self._folder = folder
        self.name, self.instruction, self.reset_words = file.name, file.instruction, file.reset_words
        self.impact_energy = float(file.impact_energy)
        self.horizon, self.rate = file.horizon, float(file.rate)
        self.nominal = file.start.pose
        self.action = _action(file.axes)
        self.workspace = _workspace(file.workspace, self.nominal)
        self.cameras, self.table = dict(file.cameras), file.table
        top = float(self.workspace.upper[2])
        self.retreat_height = top - 0.01 if file.retreat_height is None else file.retreat_height
        if not self.workspace.lower[2] < self.retreat_height <= top:
            bottom = self.workspace.lower[2]
            raise ConfigError(f"retreat_height={self.retreat_height} is outside the workspace, {bottom} to {top} m")
        self.goal = _goal(file.goal, self.nominal)
        self.judge = file.judge or ("task" if self.goal is not None else "person")
        if self.goal is None:
            if self.judge == "task":
                raise ConfigError("judge=task needs a goal; give goal.position, or judge: person")
            if "near_goal" in file.fields:
                raise ConfigError("fields: near_goal needs a goal; give goal.position")
        self.fields = tuple(
            dataclasses.replace(FIELDS[name], scale=float(file.scales.get(name, FIELDS[name].scale)))
            for name in file.fields
        )
        self._expert = EXPERTS.load(file.expert) if file.expert else None
        if missing := file.objects.keys() - set(self._scene.objects if self._scene else ()):
            raise ConfigError(f"objects.{min(missing)} is no movable body of the scene {file.scene or '(none)'!r}")

    @property
    def has_expert(self) -> bool:
        return self._expert is not None

    @cached_property
    def _scene(self) -> SceneSpec | None:
        name = self.file.scene
        if not name:
            return None
        if not name.endswith(".xml"):
            spec: SceneSpec = SCENES.load(name)()
            return spec
        try:
            worldbody = (self._folder / name).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"scene={name}: cannot be read: {error}") from error
        return SceneSpec(worldbody=worldbody, objects=tuple(self.file.objects))

    def scene(self) -> SceneSpec | None:
        return self._scene

    def sample_start(self, rng: np.random.Generator) -> Start:
        pose = self.file.start.at(rng.uniform(-1.0, 1.0, 6))
        objects = {name: place.at(rng.uniform(-1.0, 1.0, 6)) for name, place in self.file.objects.items()}
        return Start(pose, self.file.start.gripper, objects)

    def state(self, reading: Reading) -> np.ndarray:
        difference = reading.pose.difference(self.goal if self.goal is not None else self.nominal)
        values = {
            **parts.arm_values(reading),
            "position": difference[:3],
            "near_goal": np.tanh(difference[:3] / NEAR),
            "rotation": difference[3:],
            "joints": reading.q,
            TCP_POSITION: reading.pose.translation,
            TCP_ROTATION: reading.pose.rotvec,
        }
        return parts.pack(self.fields, values)

    def outcome(self, reading: Reading) -> Outcome:
        """Success at the goal. Where somebody else judges, it goes on."""
        if self.goal is None or self.judge != "task":
            return Outcome.running()
        way = np.abs(reading.pose.difference(self.goal))
        turned = np.degrees(np.linalg.norm(way[3:]))
        there = (way[:3] <= self.file.goal.tolerance).all()
        allowed = self.file.goal.tolerance_deg
        return Outcome.success() if there and (not allowed or turned <= allowed) else Outcome.running()

    def expert(self, reading: Reading) -> TeleopCommand | None:
        return self._expert(reading, self.control_period) if self._expert is not None else None


def load_task(path: Path) -> FileTask:
    """The task that the file at ``path`` describes. Raises `ConfigError`, which names file and key."""
    file = read_file(path)
    try:
        return FileTask(file, path.parent)
    except (ConfigError, ContractError) as error:
        raise ConfigError(f"{path}: {error}") from error


def keep_task(path: Path, folder: Path) -> Path:
    """Copy the task's file at ``path``, and its scene's where that is one, into ``folder``; returns the copy's path.

    The copy says the task's name, which the file may leave to its own. Raises `ConfigError`.
    """
    copy = folder / KEPT
    if path.absolute() == copy.absolute():
        return copy
    file = load_task(path).file
    text = path.read_text(encoding="utf-8")
    if "name" not in read_mapping(path):
        text = f"name: {file.name}\n{text}"
    if file.scene.endswith(".xml"):
        if Path(file.scene).name != file.scene:
            raise ConfigError(f"{path}: scene={file.scene} must lie beside the task's file, to be kept with it")
        (folder / file.scene).write_bytes((path.parent / file.scene).read_bytes())
    write_atomically(copy, text.encode())
    return copy


def _action(axes: Mapping[str, float]) -> ActionSpec:
    for name, scale in axes.items():
        if name not in ACTION_AXES:
            raise ConfigError(f"axes: {unknown(name, ACTION_AXES)}")
        if isinstance(scale, bool) or not isinstance(scale, int | float):
            raise ConfigError(f"axes.{name}={scale!r} must be a number: metres or radians a step")
    try:
        names = tuple(name for name in ACTION_AXES if name in axes)
        return ActionSpec(names, tuple(float(axes[name]) for name in names))
    except ContractError as error:
        raise ConfigError(f"axes: {error}") from error


def _workspace(box: BoxSpec, nominal: Pose) -> Workspace:
    down = np.array([0.0, 0.0, 1.0])
    cone = OrientationCone(down, nominal.rotation @ down, float(np.radians(box.tilt_deg))) if box.tilt_deg else None
    try:
        return Workspace(np.array(box.lower), np.array(box.upper), cone=cone)
    except LimitError as error:
        raise ConfigError(f"workspace: {error}") from error


def _goal(goal: GoalSpec, nominal: Pose) -> Pose | None:
    if not goal.position:
        return None
    rotation = rotation_of(goal.rpy_deg) if goal.rpy_deg else nominal.rotation
    return Pose.from_rotation(np.array(goal.position), rotation)
