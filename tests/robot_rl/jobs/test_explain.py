"""A setting in words: ``robot-rl config KEY``."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from robot_rl.contract.explained import explained
from robot_rl.contract.settings import ConfigError
from robot_rl.jobs.cli import main
from robot_rl.jobs.config import RunConfig, load_config
from robot_rl.jobs.explain import explain


def groups(settings: Any) -> list[type]:
    """The class of ``settings`` and of all groups within it."""
    inner = [getattr(settings, field.name) for field in dataclasses.fields(settings)]
    return [type(settings), *(kind for group in inner if dataclasses.is_dataclass(group) for kind in groups(group))]


def test_every_setting_is_described_where_it_is_defined() -> None:
    for kind in groups(RunConfig()):
        assert {field.name for field in dataclasses.fields(kind)} <= explained(kind).keys(), kind


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        ("learner.utd", ["learner.utd = null", "critic updates for each online step", "an integer from 1 to"]),
        ("controller.moment_limit", ["controller.moment_limit = 15.0", "gives way", "below the robot's own"]),
        ("controller.tank", ["controller.tank = …", "size of the energy tank", "controller.tank.budget = 5.0"]),
        ("source", ["source = expert", "who drives when recording", "may be: text"]),
        ("namespace", ['namespace = ""']),
        ("learner.settings.discount", ["learner.settings.discount = 0.", "γ", "a number"]),
    ],
)
def test_a_key_is_explained(key: str, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", key]) == 0
    said = capsys.readouterr().out
    assert all(line in said for line in lines), said


def test_what_was_given_is_the_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "steps", "steps=1e4", "demos"]) == 0
    said = capsys.readouterr().out
    assert "steps = 10000\n" in said and "demos = 20\n" in said


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("lerner.utd", "unknown key lerner.utd; did you mean learner?"),
        ("learner.utdd", "did you mean learner.utd?"),
        ("steps.many", "steps is no group of keys"),
        ("", "unknown key"),
    ],
)
def test_a_key_that_is_not_there_is_refused_with_a_hint(key: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        explain(load_config(), key)
    assert words in str(refused.value)
