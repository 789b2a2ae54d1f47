"""The arguments of the launch files: the settings of a run that are no groups, and three of launching itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from hardware.cameras import CAMERA_DRIVERS
from robot_rl.contract.explained import explained
from robot_rl.contract.ranges import hints, shown
from robot_rl.contract.settings import ConfigError, nearest
from robot_rl.jobs.bringup import READ_TERMINAL, NodeSpec, node_names, prepare, specs
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.errors import shortened
from robot_rl.jobs.job import EXPERT, TOPIC, sources
from robot_rl.jobs.locks import RunLock
from robot_rl.jobs.run import Run, settings_of
from robot_rl.perception.encoders import ENCODERS
from robot_rl.policies import POLICIES, SERVERS
from robot_rl.session.judge import JUDGES
from robot_rl.tasks import TASKS

OVERRIDES = "overrides"
KEYBOARD = "keyboard"
OF_LAUNCHING = {
    "run": "folder of the run, whose settings are then the defaults; default: a new one, runs/<time>-<task>",
    "config": "YAML file with settings, in place of the run's",
    OVERRIDES: "settings in groups, e.g. 'learner.utd=8 session.horizon=200'; robot-rl config prints all",
}
OF_ROS = ("launch-prefix", "launch-prefix-filter", "sigterm_timeout", "sigkill_timeout", "emulate_tty")  # ros2 launch's
NAMES = {  # which registries hold
    "task": f"names: {TASKS.listed()}",
    "source": f"names: {sources(EXPERT)}",
    "judge": f"names: {JUDGES.listed('classifier:DIR', 'all_of(…)', 'any_of(…)', 'stages(…)')}",
    "camera_driver": f"names: {CAMERA_DRIVERS.listed()}",
    "encoder": f"names: {ENCODERS.listed()}",
    "policy": f"names: {POLICIES.listed(*(f'{server}:FILE' for server in SERVERS))}",
}


def _described() -> dict[str, str]:
    texts, described = explained(RunConfig), {}
    for field in dataclasses.fields(RunConfig):
        if dataclasses.is_dataclass(hints(RunConfig)[field.name]):
            continue
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        parts = [texts.get(field.name, ""), NAMES.get(field.name, ""), f"default: {_plain(default)}"]
        described[field.name] = "; ".join(filter(None, parts))
    return described


def _plain(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return "none" if default in ("", None) else str(default)


# Launch argument → description. None has a default of its own: what is not given is as in the run, or in `RunConfig`.
LAUNCH_ARGUMENTS: dict[str, str] = {**_described(), **OF_LAUNCHING}


def check_arguments(given: Iterable[str]) -> None:
    """Raises `ConfigError` for the first name that is no launch argument, with the nearest one, or where it belongs."""
    groups = {field.name for field in dataclasses.fields(RunConfig)} - LAUNCH_ARGUMENTS.keys()
    for name in given:
        if name in LAUNCH_ARGUMENTS or name in OF_ROS:
            continue
        what = f"unknown launch argument {shown(name)[1:-1]}"
        if name.partition(".")[0] in groups:
            raise ConfigError(f"{what}; settings in groups go by {OVERRIDES}:='{name}=VALUE'")
        raise ConfigError(f"{what}{nearest(name, list(LAUNCH_ARGUMENTS))} (--show-args lists them)")


def prepare_launch(job: str, arguments: Mapping[str, str]) -> tuple[Run, RunConfig]:
    """The run of ``job`` for the values of `LAUNCH_ARGUMENTS`, "" for those not given; its folder is made.

    Raises `ConfigError` as `prepare` does.
    """
    given = {name: value for name, value in arguments.items() if value != ""}
    overrides = [f"{name}={value}" for name, value in given.items() if name not in OF_LAUNCHING]
    overrides += given.get(OVERRIDES, "").split()
    root = Path(given["run"]) if "run" in given else None
    try:
        config = settings_of(Path(given["config"]) if "config" in given else None, root, overrides)
    except OSError as error:
        raise ConfigError(f"the run's folder is none: {shortened(error)}") from error
    if config.source == KEYBOARD and not READ_TERMINAL.isdisjoint(node_names(job, config)):
        raise ConfigError(
            f"source={KEYBOARD} reads a terminal, and ros2 launch gives its processes none; choose source={TOPIC}, and "
            f"in a terminal of its own: python -m hardware.ros.teleop_node --device {KEYBOARD}"
        )
    return Run.open(prepare(job, config, root, lock=RunLock(job)).root)  # as long as the process that launches lives


def nodes(job: str, arguments: Mapping[str, str]) -> list[NodeSpec]:
    """The processes of ``job`` for launch arguments, with the run's folder made. Raises as `prepare_launch` does."""
    return specs(job, *prepare_launch(job, arguments))
