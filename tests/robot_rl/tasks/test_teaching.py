"""A task out of poses that a person shows."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from controllers.spatial import Pose
from hardware.franka.model import fr3_model
from robot_rl.contract import Ending
from robot_rl.tasks.base import scene_of
from robot_rl.tasks.checking import check
from robot_rl.tasks.file import FileTask
from robot_rl.tasks.keys import TaskFile, parse, rotation_of
from robot_rl.tasks.teaching import Lesson, Mark, TeachError, free_task, text_of
from tests.robot_rl.tasks.test_tasks import reading

SETTING = TaskFile(name="touch", instruction="Touch the pad, don't push it.", scene="", table=0.0)


def at(*xyz: float, yaw: float = 0.0) -> Pose:
    return Pose.from_rotation(np.array(xyz), rotation_of((180.0, 0.0, yaw)))


def lesson(start: Pose, *corners: Pose, goal: Pose | None = None, closed: bool = False) -> Lesson:
    lesson = Lesson(with_goal=goal is not None)
    for pose in (start, *corners):
        lesson = lesson.take(pose, 1.0)
    return lesson if goal is None else lesson.take(goal, 0.0 if closed else 1.0)


CORNERS = (at(0.60, -0.10, 0.12), at(0.40, 0.10, 0.30))
TOUCH = lesson(at(0.50, 0.0, 0.25), *CORNERS, goal=at(0.55, 0.05, 0.15))


def test_poses_are_asked_for_in_order_and_taken_back() -> None:
    asked, lesson = [], Lesson()
    while lesson.next is not None:
        asked.append(lesson.next)
        lesson = lesson.take(at(0.4 + 0.05 * len(asked), 0.05 * len(asked), 0.1 + 0.05 * len(asked)), 1.0)
    assert asked == list(Mark)
    assert lesson.back().next is Mark.GOAL
    assert Lesson(with_goal=False).take(at(0.5, 0.0, 0.2), 1.0).back().back() == Lesson(with_goal=False)
    with pytest.raises(TeachError, match="everything has been shown"):
        lesson.take(at(0.5, 0.0, 0.2), 1.0)
    with pytest.raises(TeachError, match="the goal has not been shown yet"):
        lesson.back().task(SETTING)


def test_corners_that_are_not_opposite_are_refused() -> None:
    taken = Lesson().take(at(0.5, 0.0, 0.2), 1.0).take(CORNERS[0], 1.0)
    with pytest.raises(TeachError, match="only 5 mm apart along z"):
        taken.take(at(0.4, 0.1, 0.125), 1.0)
    assert taken.next is Mark.OPPOSITE


def test_what_is_taught_is_a_task_that_can_be_done() -> None:
    file = TOUCH.task(SETTING)
    task = FileTask(file)
    assert np.allclose(task.workspace.lower, [0.39, -0.11, 0.11]) and np.allclose(
        task.workspace.upper, [0.61, 0.11, 0.31]
    )
    assert task.outcome(reading(at(0.555, 0.045, 0.145))).ending is Ending.SUCCESS
    assert task.outcome(reading(task.nominal)).ending is Ending.RUNNING
    assert task.action.axes == ("x", "y", "z") and "angular_velocity" not in file.fields
    findings = check(task, fr3_model(), np.array(scene_of(task).start_q))
    assert not [finding for finding in findings if finding.advice]


def test_starts_stay_in_a_box_that_is_narrow_about_them() -> None:
    file = lesson(at(0.405, 0.0, 0.29), *CORNERS, goal=at(0.55, 0.05, 0.15)).task(SETTING)
    assert file.start.spread[0] == pytest.approx(0.015) and file.start.spread[1:] == (0.02, 0.02)
    task = FileTask(file)
    assert all(
        task.workspace.contains(file.start.at(np.array([i, j, k, 0, 0, 0])))
        for i in (-1, 1)
        for j in (-1, 1)
        for k in (-1, 1)
    )


def test_what_turns_or_grasps_between_start_and_goal_is_driven() -> None:
    turning = lesson(at(0.5, 0.0, 0.25), *CORNERS, goal=at(0.55, 0.05, 0.15, yaw=30.0), closed=True).task(SETTING)
    assert list(turning.axes) == ["x", "y", "z", "yaw", "gripper"]
    assert "gripper" in turning.fields and "angular_velocity" in turning.fields
    task = FileTask(turning)
    assert task.outcome(reading(at(0.55, 0.05, 0.15))).ending is Ending.RUNNING
    assert task.outcome(reading(at(0.55, 0.05, 0.15, yaw=28.0))).ending is Ending.SUCCESS


def test_without_a_goal_a_person_judges() -> None:
    file = lesson(at(0.5, 0.0, 0.25), *CORNERS).task(SETTING)
    assert file.judge == "person" and FileTask(file).goal is None
    assert file.horizon >= 80


@pytest.mark.parametrize("file", [TOUCH.task(SETTING), free_task("free", "peg_insertion", 0.1)])
def test_the_text_is_the_task_again(file: TaskFile) -> None:
    assert parse(yaml.safe_load(text_of(file))) == file


def test_there_is_room_to_drive_in_above_the_table() -> None:
    task = FileTask(free_task("free", table=0.1))
    home = fr3_model().forward_kinematics(np.array(scene_of(task).start_q))
    assert task.workspace.contains(home)
    assert task.workspace.lower[2] == pytest.approx(0.105)
