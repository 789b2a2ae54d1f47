"""Guards beside a classifier: bounds, the judge that goes by them, and what is refused."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from robot_rl.contract import Ending
from robot_rl.contract.settings import ConfigError, nested, put_over
from robot_rl.rewards.config import RewardConfig
from robot_rl.rewards.guards import MEASURED, Guards
from robot_rl.rewards.saved import Saved
from robot_rl.session.judge import make_judge
from tests.robot_rl.readings import FAR, PerfectArm
from tests.robot_rl.rewards.test_judge import JUDGED, TASK, say


def test_a_value_out_of_its_bounds_is_named() -> None:
    reading = replace(PerfectArm(FAR).reading(), wrench=np.array([3.0, 4.0, 0.0, 0.0, 0.0, 0.2]), gripper=0.5)
    guards = Guards(z=(0.6, 0.7), force=(0.0, 4.9), force_x=(3.0, 3.0), moment=(0.3, 1.0), gripper=(0.6, 1.0))
    assert guards.outside(reading) == (
        "force is 5, not 0 to 4.9 N",
        "moment is 0.2, not 0.3 to 1 N·m",
        "gripper is 0.5, not 0.6 to 1",
    )
    sensed = replace(reading, sensed=np.zeros(6))
    assert Guards(force=(0.0, 4.9)).outside(sensed) == (), "a sensor stands before the arm's estimate"
    assert Guards().outside(reading) == () and str(Guards()) == ""
    assert str(Guards(z=(0.6, 0.7), gripper=(0.6, 1.0))) == "z 0.6 to 0.7 m, gripper 0.6 to 1"


def test_each_setting_is_measured() -> None:
    assert [item.name for item in fields(Guards)] == list(MEASURED)


def test_settings_name_what_does_not_fit() -> None:
    config = put_over(RewardConfig(), nested(["guards.z=0.07,0.09"]))
    assert config.guards == Guards(z=(0.07, 0.09))
    for given, message in (
        ("guards.z=0.07", r"guards\.z=\[0\.07\] needs its least and its largest value"),
        ("guards.z=0.09,0.07", r"needs its least and its largest value"),
        ("guards.hight=0,1", "unknown key guards.hight"),
        ("guards.z=.inf,1", r"guards\.z="),
    ):
        with pytest.raises(ConfigError, match=message):
            put_over(RewardConfig(), nested([given]))


def test_outside_its_guards_a_classifier_calls_nothing_a_success(tmp_path: Path) -> None:
    replace(JUDGED, guards=Guards(z=(0.0, 0.6))).write(tmp_path)
    assert Saved.read(tmp_path).guards == Guards(z=(0.0, 0.6))
    judge, arm = make_judge(f"classifier:{tmp_path}", TASK), PerfectArm(FAR)
    judge.begin()
    assert {judge.judge(say(arm, 0.99)).ending for _ in range(5)} == {Ending.RUNNING}
    arm.pose = replace(FAR, translation=FAR.translation - [0.0, 0.0, 0.2])
    assert [judge.judge(say(arm, 0.99)).ending for _ in range(2)] == [Ending.RUNNING, Ending.SUCCESS]


def test_a_classifier_of_before_has_no_guards(tmp_path: Path) -> None:
    JUDGED.write(tmp_path)
    card = tmp_path / "classifier.json"
    text = card.read_text()
    start = text.index('  "guards"')
    card.write_text(text[:start] + text[text.index('  "thresholds"') :])
    assert Saved.read(tmp_path) == JUDGED
