"""The arguments of launch files: made from the settings, and checked."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hardware.cameras import CAMERA_DRIVERS
from hardware.teleop import TELEOP_DEVICES
from robot_rl.console.config import ConsoleConfig
from robot_rl.contract.explained import explained
from robot_rl.contract.settings import ConfigError
from robot_rl.jobs.arguments import LAUNCH_ARGUMENTS, OF_LAUNCHING, check_arguments, nodes
from robot_rl.jobs.bringup import node_names
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.run import Run
from robot_rl.tasks import TASKS


def given(**arguments: str) -> dict[str, str]:
    """All launch arguments, as launch hands them over."""
    return dict.fromkeys(LAUNCH_ARGUMENTS, "") | arguments


def test_every_setting_that_is_no_group_is_an_argument_with_an_explanation() -> None:
    single = {field.name for field in dataclasses.fields(RunConfig) if not dataclasses.is_dataclass(field.type)}
    groups = {"session", "controller", "crisp", "learner", "console", "link", "force", "vla", "aloe"}
    assert set(LAUNCH_ARGUMENTS) == (single - groups) | set(OF_LAUNCHING)
    assert {"demos", "steps", "episodes", "cameras", "policy"} <= set(LAUNCH_ARGUMENTS)
    texts = explained(RunConfig)
    for name in single - groups:
        assert texts[name] and texts[name] in LAUNCH_ARGUMENTS[name]
        assert "default: " in LAUNCH_ARGUMENTS[name] and "`" not in LAUNCH_ARGUMENTS[name]


def test_every_field_of_the_settings_is_explained() -> None:
    assert list(explained(RunConfig)) == [field.name for field in dataclasses.fields(RunConfig)]


def test_an_explanation_may_run_over_lines_and_be_of_several_fields() -> None:
    @dataclasses.dataclass
    class Gains:
        """Gains of a law.

        Attributes:
            stiffness, damping: of the ``spring``,
                along all axes.
            clip: of the error [m].

        Something else: not an attribute.
        """

        stiffness: float = 1.0
        damping: float = 1.0
        clip: float = 0.1

    spring = "of the spring, along all axes"
    assert explained(Gains) == {"stiffness": spring, "damping": spring, "clip": "of the error [m]"}


def test_arguments_name_what_the_registries_hold() -> None:
    for name, registry in (("task", TASKS), ("source", TELEOP_DEVICES), ("camera_driver", CAMERA_DRIVERS)):
        assert registry.listed() in LAUNCH_ARGUMENTS[name]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sede", r"unknown launch argument sede; did you mean seed\? \(--show-args lists them\)"),
        ("episode", "did you mean episodes"),
        ("camera", "did you mean cameras"),
        ("learner.utd", r"unknown launch argument learner\.utd; .* overrides:='learner\.utd=VALUE'"),
        ("session", "overrides:='session=VALUE'"),
        ("zzz", r"unknown launch argument zzz \(--show-args"),
    ],
)
def test_an_unknown_argument_is_refused_with_the_nearest(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_arguments(["task", name])


def test_known_arguments_and_those_of_ros2_launch_itself_pass() -> None:
    check_arguments([*LAUNCH_ARGUMENTS, "launch-prefix", "emulate_tty"])


def test_arguments_make_a_run_with_that_configuration(tmp_path: Path) -> None:
    arguments = given(task="reach", run=str(tmp_path / "run"), overrides="learner.utd=8", seed="5", demos="3")
    started = nodes("record", arguments | {"cameras": "front,wrist"})
    assert [spec.name for spec in started] == node_names("record", RunConfig(task="reach", cameras=("front",)))
    assert {spec.namespace for spec in started} == {""}
    _, config = Run.open(tmp_path / "run")
    assert (config.task, config.seed, config.demos, config.learner.utd) == ("reach", 5, 3, 8)
    assert config.cameras == ("front", "wrist")


def test_a_launch_goes_on_with_the_settings_of_its_run(tmp_path: Path) -> None:
    of_robot = RunConfig(task="peg_search", arm="fr3", robot_ip="172.16.0.2", source="topic", namespace="left", seed=7)
    of_robot = dataclasses.replace(of_robot, console=ConsoleConfig(show="never"))
    Run.create(of_robot, tmp_path / "run")
    started = nodes("teleop", given(run=str(tmp_path / "run"), seed="8"))
    assert [(spec.name, spec.namespace) for spec in started] == [("arm", "left"), ("session", "left")]
    assert Run.open(tmp_path / "run")[1] == dataclasses.replace(of_robot, seed=8)


def test_a_keyboard_is_refused_before_anything_starts_because_launch_has_no_terminal(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"source=topic, and in a terminal.*teleop_node --device keyboard"):
        nodes("teleop", given(task="reach", source="keyboard", run=str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()
    assert nodes("arm", given(task="reach", source="keyboard", run=str(tmp_path / "run"))), "nobody reads it there"
