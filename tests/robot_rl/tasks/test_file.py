"""A task from a YAML file: what its keys make, and how it says that one does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from controllers.spatial import Pose
from robot_rl.contract import ContractError, Ending, View
from robot_rl.contract.settings import ConfigError
from robot_rl.tasks import make_task
from robot_rl.tasks.base import expert_of, scene_of
from robot_rl.tasks.file import FileTask, keep_task, load_task
from robot_rl.tasks.keys import parse, rotation_of, rpy_deg_of
from tests.robot_rl.tasks.test_tasks import reading

TOUCH = {
    "start": {"position": [0.5, 0.0, 0.25], "spread": [0.02, 0.01, 0.03], "spread_rpy_deg": [0, 0, 5]},
    "workspace": {"lower": [0.38, -0.12, 0.1], "upper": [0.62, 0.12, 0.32]},
    "axes": {"x": 0.01, "y": 0.01, "z": 0.02},
    "goal": {"position": [0.55, 0.05, 0.15], "tolerance": [0.01, 0.01, 0.002]},
}


def task_of(**changes: object) -> FileTask:
    return FileTask(parse({"name": "touch", **TOUCH, **changes}))


def at(*xyz: float, yaw_deg: float = 0.0) -> Pose:
    return Pose.from_rotation(np.array(xyz), rotation_of((180.0, 0.0, yaw_deg)))


def test_a_file_is_a_task_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "my_touch.yaml"
    path.write_text(yaml.safe_dump(TOUCH))
    task = make_task(str(path))
    assert task.name == "my_touch"
    assert (task.horizon, task.rate, task.control_period) == (100, 10.0, 0.1)
    assert task.action.axes == ("x", "y", "z") and task.action.scale == (0.01, 0.01, 0.02)
    assert task.workspace.contains(task.nominal)
    assert task.retreat_height == pytest.approx(0.31)
    assert not task.has_expert and task.scene() is None
    assert scene_of(task).objects == ()
    with pytest.raises(ContractError, match=r"'my_touch' has no script.*source=keyboard"):
        expert_of(task)


def test_starts_are_spread_as_said_and_no_further() -> None:
    task = task_of()
    rng = np.random.default_rng(0)
    off = np.array([task.sample_start(rng).pose.difference(task.nominal) for _ in range(500)])
    largest = np.abs(off).max(axis=0)
    assert np.all(largest <= np.array([0.02, 0.01, 0.03, 1e-9, 1e-9, np.radians(5) + 1e-9]))
    assert np.all(largest[[0, 1, 2, 5]] > 0.97 * np.array([0.02, 0.01, 0.03, np.radians(5)]))


@pytest.mark.parametrize(
    ("pose", "ending"),
    [
        (at(0.559, 0.041, 0.1515), Ending.SUCCESS),
        (at(0.559, 0.041, 0.1525), Ending.RUNNING),
        (at(0.539, 0.050, 0.1500), Ending.RUNNING),
        (at(0.550, 0.050, 0.1500, yaw_deg=40.0), Ending.SUCCESS),
    ],
)
def test_the_goal_is_reached_within_its_tolerance(pose: Pose, ending: Ending) -> None:
    assert task_of().outcome(reading(pose)).ending is ending


def test_the_goal_may_ask_for_an_orientation() -> None:
    task = task_of(goal={**TOUCH["goal"], "rpy_deg": [180, 0, 30], "tolerance_deg": 3})
    assert task.outcome(reading(at(0.55, 0.05, 0.15, yaw_deg=28.0))).ending is Ending.SUCCESS
    assert task.outcome(reading(at(0.55, 0.05, 0.15, yaw_deg=26.0))).ending is Ending.RUNNING


def test_a_person_judges_where_the_file_says_so_or_has_no_goal() -> None:
    there = reading(at(0.55, 0.05, 0.15))
    judged, aimless = task_of(judge="person"), task_of(goal={})
    assert judged.judge == aimless.judge == "person"
    assert judged.outcome(there).ending is aimless.outcome(there).ending is Ending.RUNNING


@pytest.mark.parametrize("goal", [TOUCH["goal"], {}])
@pytest.mark.parametrize("judge", ["classifier", "my_lab:Classifier"])
def test_a_judge_of_another_package_judges_alone(judge: str, goal: dict) -> None:
    task = task_of(judge=judge, goal=goal)
    assert task.judge == judge
    assert task.outcome(reading(at(0.55, 0.05, 0.15))).ending is Ending.RUNNING


def test_numbers_are_those_of_all_settings(tmp_path: Path) -> None:
    path = tmp_path / "touch.yaml"
    path.write_text(yaml.safe_dump(TOUCH) + "scales: {force: 5e-2}\ntable: 1e-2\n")
    task = load_task(path)
    assert (task.table, next(field.scale for field in task.fields if field.name == "force")) == (0.01, 0.05)


def test_the_state_is_made_of_the_fields_asked_for() -> None:
    task = task_of(fields=["joints", "near_goal", "position", "force"], scales={"force": 0.5, "position": 20})
    here = replace(reading(at(0.553, 0.05, 0.15)), q=np.arange(7.0), wrench=np.array([0.0, 0.0, 8.0, 0.0, 0.0, 0.0]))
    state = task.state(here)
    assert state.shape == (task.state_size,) == (16,)
    assert np.allclose(state[:7], 0.5 * np.arange(7.0))
    assert np.allclose(state[7:10], [np.tanh(1.0), 0.0, 0.0], atol=1e-6)
    assert np.allclose(state[10:13], [0.06, 0.0, 0.0], atol=1e-6)
    assert np.allclose(state[13:], [0.0, 0.0, 4.0])


def test_cameras_have_crops_and_others_may_be_chosen() -> None:
    task = task_of(cameras={"front": {"crop": [0.25, 0.25, 0.5, 0.5], "size": 64}, "wrist": None})
    assert task.views() == {"front": View((0.25, 0.25, 0.5, 0.5), 64), "wrist": View()}
    assert task.views(["front", "side"]) == {"front": View((0.25, 0.25, 0.5, 0.5), 64), "side": View()}


def test_a_scene_may_be_built_in_or_a_file_beside_the_task(tmp_path: Path) -> None:
    assert "peg" in task_of(scene="peg_insertion").scene().hand
    (tmp_path / "fixture.xml").write_text('<body name="pad" mocap="true" pos="0.5 0 0.01"><geom size="0.01"/></body>')
    pad = {"position": [0.5, 0.0, 0.02], "rpy_deg": [0, 0, 0], "spread": [0.1, 0.0, 0.0]}
    path = tmp_path / "press.yaml"
    path.write_text(yaml.safe_dump({**TOUCH, "scene": "fixture.xml", "objects": {"pad": pad}}))
    task = load_task(path)
    scene = task.scene()
    assert scene is not None and scene.objects == ("pad",)
    places = [task.sample_start(np.random.default_rng(i)).objects["pad"].translation[0] for i in range(50)]
    assert 0.4 <= min(places) < 0.45 < 0.55 < max(places) <= 0.6
    (tmp_path / "run").mkdir()
    kept = keep_task(path, tmp_path / "run")
    path.unlink()
    (tmp_path / "fixture.xml").unlink()
    again = load_task(kept)
    assert again.name == "press" and again.scene() == scene


def test_axes_may_come_in_any_order() -> None:
    action = task_of(axes={"gripper": 1, "z": 0.02, "x": 0.01}).action
    assert action.axes == ("x", "z", "gripper") and action.scale == (0.01, 0.02, 1.0)


def test_angles_are_those_of_the_fixed_axes() -> None:
    rotation = rotation_of((0.0, 0.0, 90.0))
    assert np.allclose(rotation @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    for rpy in ((170.0, 10.0, -30.0), (-20.0, 80.0, 110.0)):
        assert np.allclose(rpy_deg_of(Pose.from_rotation(np.zeros(3), rotation_of(rpy))), rpy)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"strat": {}}, r"unknown key strat; did you mean start\?"),
        ({"start": {"positoin": [0, 0, 0]}}, r"unknown key start.positoin; did you mean start.position\?"),
        ({"start": {}}, r"start.position is missing"),
        ({"start": {"position": [0.5, 0.0]}}, r"start.position=\[0.5, 0.0\] needs 3 finite numbers"),
        ({"start": {**TOUCH["start"], "gripper": 2}}, r"start\.gripper=2 must be a number from 0 to 1"),
        ({"start": {**TOUCH["start"], "spread": [0.1, -0.1, 0]}}, "must not be negative"),
        ({"workspace": {"lower": [0, 0, 0]}}, "workspace.upper is missing"),
        ({"workspace": {"lower": [0, 0, 0.2], "upper": [1, 1, 0.1]}}, "must be below upper"),
        ({"axes": {}}, "axes is missing"),
        ({"axes": {"x": 0.01, "yow": 0.1}}, "'yow' is unknown; .* did you mean 'yaw'"),
        ({"axes": {"x": "fast"}}, "axes.x='fast' must be a number"),
        ({"axes": {"y": 0.01, "x": -0.01}}, "needs one positive number"),
        ({"rate": 60}, "rate=60 must be a number from 5 to 50"),
        ({"fields": ["position", "forse"]}, "'forse' is unknown; .* did you mean 'force'"),
        ({"fields": ["force", "force"]}, "force is there twice"),
        ({"fields": ["near_goal"], "goal": {}}, "near_goal needs a goal"),
        ({"judge": "task", "goal": {}}, "judge=task needs a goal"),
        ({"cameras": {"front": {"crop": [0.5, 0, 0.6, 1]}}}, r"cameras.front.*no part of the picture"),
        ({"cameras": {"front": {"corp": []}}}, "unknown key cameras.front.corp; did you mean cameras.front.crop"),
        ({"cameras": ["front"]}, "cameras is a group"),
        ({"retreat_height": 0.5}, "retreat_height=0.5 is outside the workspace"),
        ({"scene": "peg_insertoin"}, "unknown scene 'peg_insertoin'.*did you mean 'peg_insertion'"),
        ({"objects": {"cube": {"position": [0, 0, 0]}}}, "objects.cube is no movable body"),
    ],
)
def test_what_does_not_fit_is_named_with_the_file(tmp_path: Path, changes: dict, words: str) -> None:
    path = tmp_path / "touch.yaml"
    path.write_text(yaml.safe_dump({**TOUCH, **changes}))
    with pytest.raises(ConfigError, match=words) as error:
        make_task(str(path))
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_no_mapping_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none.yaml"):
        make_task(str(tmp_path / "none.yaml"))
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ConfigError, match="must be a mapping"):
        make_task(str(tmp_path / "list.yaml"))


def test_the_pose_of_the_tcp_may_be_in_the_state() -> None:
    task = task_of(fields=["tcp_rotation", "tcp_position"], scales={"tcp_position": 1.0, "tcp_rotation": 1.0})
    here = at(0.553, 0.05, 0.15, yaw_deg=20.0)
    assert np.allclose(task.state(reading(here)), [*here.rotvec, 0.553, 0.05, 0.15], atol=1e-6)
