"""Findings of the check of a task: box, starts and resets against joint limits, table, speeds and scene."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hardware.franka.model import fr3_model
from hardware.sim.scene.contacts import SceneContacts
from robot_rl.jobs.task_commands import describe, judged
from robot_rl.tasks import TASKS, make_task
from robot_rl.tasks.base import Task, scene_of
from robot_rl.tasks.checking import Finding, check
from tests.robot_rl.tasks.test_file import TOUCH, task_of


def look_at(task: Task, scene: bool = False) -> dict[str, Finding]:
    spec = scene_of(task)
    touched = SceneContacts(spec).touched if scene else None
    return {finding.name: finding for finding in check(task, fr3_model(), np.array(spec.start_q), touched)}


@pytest.mark.parametrize("name", TASKS.builtin)
def test_the_built_in_tasks_can_be_done(name: str) -> None:
    findings = look_at(make_task(name), scene=True)
    assert {"starts in the box", "box", "starts", "resets", "table", "scene"} <= findings.keys()
    assert not [finding for finding in findings.values() if finding.advice]


def test_a_task_that_can_be_done_has_nothing_to_put_right() -> None:
    axes = {"x": 0.01, "y": 0.01, "z": 0.01, "yaw": 0.05}
    assert not [finding for finding in look_at(task_of(axes=axes)).values() if finding.advice]


START, BOX, GOAL = TOUCH["start"], TOUCH["workspace"], TOUCH["goal"]


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"workspace": {**BOX, "upper": [0.95, 0.12, 0.32]}}, "box", r"\(0.950, .*out of reach"),
        ({"workspace": {**BOX, "lower": [0.1, -0.12, 0.1]}}, "box", r"\(0.100, .*out of reach"),
        ({"start": {**START, "position": [0.64, 0.0, 0.3]}}, "starts in the box", "of 64"),
        ({"start": {**START, "spread": [0.2, 0.01, 0.01]}}, "starts in the box", "of 64"),
        ({"workspace": {**BOX, "lower": [0.38, -0.12, 0.0]}}, "table", "9 mm into the table"),
        ({"table": 0.1}, "table", "9 mm into the table"),
        ({"axes": {"x": 0.06}}, "speed of x", "0.6 m/s; the controller allows 0.5"),
        ({"axes": {"yaw": 0.3}}, "speed of yaw", "3 rad/s"),
        ({"axes": {"z": 0.011}, "rate": 50}, "speed of z", "0.55 m/s"),
        ({"goal": {"position": [0.7, 0.0, 0.2]}}, "goal", "outside the box"),
        ({"axes": {"y": 0.01, "z": 0.01}}, "goal", "x would have to change"),
        ({"horizon": 5}, "horizon", "steps, and the horizon is 5"),
    ],
)
def test_what_cannot_be_done_is_said(changes: dict, name: str, words: str) -> None:
    finding = look_at(task_of(**changes))[name]
    assert finding.bad and finding.advice
    assert re.search(words, finding.found), finding.found


def test_near_a_joint_limit_is_a_caveat_and_so_are_axes_that_jump() -> None:
    findings = look_at(task_of(workspace={"lower": [0.33, -0.12, 0.09], "upper": [0.62, 0.12, 0.32]}))
    assert not findings["box"].bad and "pushes back" in findings["box"].advice
    assert "yaw, which the policy does not drive" in look_at(task_of())["spread"].found


def test_the_scene_is_not_run_into() -> None:
    low = {"position": [0.5, 0.0, 0.11], "spread": [0.0, 0.0, 0.0]}
    box = {"lower": [0.44, -0.06, 0.078], "upper": [0.56, 0.06, 0.21]}
    over = task_of(start=low, workspace=box, scene="peg_insertion", goal={})
    assert look_at(over, scene=True)["scene"].found.startswith("nothing is touched")
    into = task_of(start={**low, "position": [0.52, 0.0, 0.09]}, workspace=box, scene="peg_insertion", goal={})
    finding = look_at(into, scene=True)["scene"]
    assert finding.bad and "touches hole" in finding.found


def test_the_description_names_what_is_driven_and_seen() -> None:
    task = task_of(cameras={"front": {"crop": [0.25, 0.0, 0.5, 1.0], "size": 64}}, reset_words="Put the lid back.")
    text = "\n".join(describe(task))
    for words in (
        "z                 20 mm a step    0.2 m/s",
        "force             3 values",
        "64 × 64",
        "Put the lid back.",
    ):
        assert words in text
    assert "0.5 × 1 of it at 0.25, 0" in text


def test_the_verdict_counts() -> None:
    good, caveat = Finding("box", "fine"), Finding("starts", "near", "move")
    assert list(judged([good]))[-1] == "verdict: the arm can do it"
    assert list(judged([good, caveat]))[-1] == "verdict: the arm can do it, 1 to look at"
    bad = list(judged([Finding("box", "no", "shrink", bad=True), caveat]))
    assert bad[0].startswith("   BAD  box: no") and bad[-1].endswith("1 to put right, 1 to look at")
