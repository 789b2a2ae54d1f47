"""One configuration for a whole run: typed defaults in code, a YAML file and ``key=value`` overrides on top.

Defaults live in the dataclasses beside the code that uses them. An unknown key is an error that names the nearest one.
The resolved configuration is written into the run's folder, and every process of the run reads it from there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import ipaddress
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Literal

import yaml

from controllers.core import ControllerConfig
from hardware.crisp.driver import CrispConfig
from robot_rl.ranges import RangeError, require
from robot_rl.session import SessionConfig

ARMS = ("sim", "fr3", "crisp")
SIMULATORS = ("own", "running")
AGENTS = ("flash_sac", "rlpd", "hil", "sac", "chunked", "expo", "rlpd_lagrangian")
NAMESPACE = r"(/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*)?"


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key, the value and what would fit."""


@dataclass(frozen=True)
class LearnerConfig:
    """What the learner process does around its algorithm.

    Attributes:
        agent: algorithm; see `robot_rl.learner`.
        settings: of the algorithm, by the names of its own config, e.g. ``learner.settings.discount=0.98``. They are
            checked when the learner is made (`robot_rl.learner.factory`).
        utd: critic updates for each online step, all in one learner call, which ends with one update of the policy
            (flash_sac: one for every other critic update); unset: the algorithm's own ``critic_steps``.
        batch_size: transitions (or chunks) that a critic update learns from.
        demo_share: of a minibatch, 0 to 1, that demonstrations make up, or ``proportional``: as they do of all steps;
            unset: the algorithm's own.
        online_stores: of other arms' sessions, to learn from as well, relative to the run's folder or absolute. What
            they hold already earns updates, too.
        online_weights: of the run's own online store and each of ``online_stores``, within what demonstrations leave;
            empty: in proportion to their sizes.
        capacity: online observations kept, of all arms together; unset: 1 000 000, with cameras 200 000.
        demo_capacity: observations of demonstrations kept beside them, a person's corrections included; unset: 100 000,
            with cameras 20 000. The oldest go first, and the learner says so.
        shared: namespace of another arm, e.g. left, or / for none: this one acts by the learner of that one and has
            none of its own. There, ``online_stores`` names this arm's store.
        start_after: online steps before learning starts.
        pretrain: learner calls on demonstrations alone before that; unset: as many as suit the algorithm.
        max_debt: critic updates that may be due when an episode begins; above it, the next one waits for the learner.
        publish_every: learner calls between two publications of the parameters.
        checkpoint_every: learner calls between two checkpoints.
        keep_checkpoints: so many are kept.
        threads: CPU threads of the learner process; 0: all cores but two.
        gate_window: episodes without intervention over which success is compared before a policy is handed on for
            evaluation (`robot_rl.promotion`); at least 5, or no drop could be significant.
    """

    agent: str = "flash_sac"
    settings: Mapping[str, Any] = field(default_factory=dict)
    utd: int | None = None
    batch_size: int = 256
    demo_share: float | Literal["proportional"] | None = None
    online_stores: tuple[str, ...] = ()
    online_weights: tuple[float, ...] = ()
    shared: str = ""
    capacity: int | None = None
    demo_capacity: int | None = None
    start_after: int = 100
    pretrain: int | None = None
    max_debt: int = 200
    publish_every: int = 10
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    threads: int = 0
    gate_window: int = 20

    def __post_init__(self) -> None:
        require(self, batch_size=(1, inf), start_after=(0, inf), max_debt=(0, inf), threads=(0, inf))
        require(self, publish_every=(1, inf), checkpoint_every=(1, inf), keep_checkpoints=(1, inf))
        require(self, gate_window=(5, inf))
        if self.utd is not None:
            require(self, utd=(1, inf))
        if self.pretrain is not None:
            require(self, pretrain=(0, inf))
        for name in ("capacity", "demo_capacity"):
            if getattr(self, name) is not None:
                require(self, **{name: (2, inf)})
        if isinstance(self.demo_share, float):
            require(self, demo_share=(0.0, 1.0))
        if self.online_weights and len(self.online_weights) != 1 + len(self.online_stores):
            raise RangeError(
                f"online_weights={list(self.online_weights)} must have {1 + len(self.online_stores)} in number: "
                "one for the run's own online store and one for each of online_stores"
            )
        if not all(0.0 < weight < inf for weight in self.online_weights):
            raise RangeError(f"online_weights={list(self.online_weights)} must be positive")


@dataclass(frozen=True)
class RunConfig:
    """Everything about a run.

    Attributes:
        task: see `robot_rl.tasks`.
        arm: ``sim`` (the simulated arm over its own protocol), ``fr3`` (a robot) or ``crisp`` (any arm under CRISP's
            controllers, by their topics; see ``crisp``).
        robot_ip: address of the arm; the simulator binds to it when ``arm`` is ``sim``.
        simulator: ``own`` (started and ended with the job) or ``running`` (``robot-rl sim``, which may have more arms).
        arms: so many arms the simulator serves, side by side, at ``robot_ip`` and the addresses after it.
        namespace: of this graph's topics, e.g. ``left``; each arm of several has its own.
        scene_port: TCP port of the simulator's scene channel.
        seed: of starts, exploration and learning.
        source: who drives when recording: ``expert`` (scripted), ``keyboard``, ``spacemouse``, ``gamepad``, or
            ``topic`` (anything that publishes ``twist_cmd``).
        cameras: names of the cameras whose images belong to the observation.
        camera_driver: ``realsense`` or ``opencv``, for cameras that are not drawn.
        camera_devices: serial number (realsense) or index or path (opencv) of each camera, in the order of ``cameras``.
        camera_exposure: exposure time of all cameras [µs] (realsense); unset: their own, which follows the light.
        demos: successful demonstrations to record.
        steps: online steps to train for.
        episodes: episodes to evaluate.
        demo_stores: stores of demonstrations to learn from, relative to the run's folder or absolute.
        policy: parameter file to evaluate; "" takes the run's champion (`robot_rl.promotion`), or its newest.
    """

    task: str = "peg_insertion"
    arm: str = "sim"
    robot_ip: str = "127.0.0.1"
    simulator: str = "own"
    arms: int = 1
    namespace: str = ""
    scene_port: int = 1339
    seed: int = 0
    source: str = "expert"
    cameras: tuple[str, ...] = ()
    camera_driver: str = "realsense"
    camera_devices: tuple[str, ...] = ()
    camera_exposure: float | None = None
    demos: int = 20
    steps: int = 2400
    episodes: int = 50
    demo_stores: tuple[str, ...] = ("demos",)
    policy: str = ""
    session: SessionConfig = field(default_factory=SessionConfig)
    controller: ControllerConfig = field(default_factory=ControllerConfig)
    crisp: CrispConfig = field(default_factory=CrispConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)

    def __post_init__(self) -> None:
        require(self, arms=(1, inf), scene_port=(1, 65535), seed=(0, 2**31 - 1))
        require(self, demos=(1, inf), steps=(1, inf), episodes=(1, inf))
        if self.camera_exposure is not None:
            require(self, camera_exposure=(1, inf))
            if self.camera_driver != "realsense":
                raise RangeError(
                    f"camera_exposure={self.camera_exposure:g} is for camera_driver=realsense, not {self.camera_driver}"
                )
        if not self.robot_ip:
            raise RangeError("robot_ip= is empty; give the address of the arm, e.g. robot_ip=172.16.0.2")


def load_config(path: Path | None = None, overrides: list[str] | tuple[str, ...] = ()) -> RunConfig:
    """The run's configuration: defaults, then the YAML file at ``path``, then ``key=value`` overrides.

    Raises:
        ConfigError: the file is missing or no mapping, or a key or value does not fit.
    """
    config = RunConfig()
    if path is not None:
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"cannot read configuration {path}: {error}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"configuration {path} must be a mapping of keys to values, not {type(values).__name__}")
        values.pop("resume", None)  # a key of before: training always goes on from the run's checkpoint
        try:
            config = _merge(config, values, "")
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
    changes = _nested(overrides)
    of_learner = changes.get("learner")
    if isinstance(of_learner, dict) and of_learner.get("agent", config.learner.agent) != config.learner.agent:
        # another algorithm has other settings
        config = dataclasses.replace(config, learner=dataclasses.replace(config.learner, settings={}))
    config = _merge(config, changes, "")  # at once: one may make sense only with another
    if config.arm not in ARMS:
        raise ConfigError(f"arm={config.arm!r} is unknown; choose from {', '.join(ARMS)}")
    if config.simulator not in SIMULATORS:
        raise ConfigError(f"simulator={config.simulator!r} is unknown; choose from {', '.join(SIMULATORS)}")
    if re.fullmatch(NAMESPACE, config.namespace, re.ASCII) is None:
        raise ConfigError(f"namespace={config.namespace!r} is no name of ROS; use letters, digits and _, e.g. left")
    shared = config.learner.shared
    if shared not in ("", "/") and re.fullmatch(NAMESPACE, shared, re.ASCII) is None:
        raise ConfigError(
            f"learner.shared={shared!r} is no namespace; name that of another arm, e.g. left, or / for none"
        )
    if shared and shared.strip("/") == config.namespace.strip("/"):
        raise ConfigError(f"learner.shared={shared!r} is this arm's own namespace; name another arm's, or leave it out")
    if config.arm == "crisp" and config.namespace.strip("/") == config.crisp.namespace.strip("/"):
        raise ConfigError(
            f"arm=crisp with namespace={config.namespace!r}, which is CRISP's too: its controllers would follow the "
            "session's target_pose past every check; give this graph another one, e.g. namespace=rl"
        )
    if not config.controller.tank.filter and (config.arm != "sim" or not is_loopback(config.robot_ip)):
        raise ConfigError(
            f"controller.tank.filter=false with arm={config.arm} robot_ip={config.robot_ip}: without the filter "
            "nothing limits the energy that the arm can put out, so it is off in simulation only; leave it on, or take "
            "arm=sim at an address of this computer, e.g. robot_ip=127.0.0.1"
        )
    if config.learner.agent not in AGENTS:
        near = difflib.get_close_matches(config.learner.agent, AGENTS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"learner.agent={config.learner.agent!r} is unknown; choose from {', '.join(AGENTS)}{hint}")
    return config


def is_loopback(address: str) -> bool:
    """Whether ``address`` is of this computer only, where no robot can be."""
    try:
        return address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _nested(overrides: list[str] | tuple[str, ...]) -> dict[str, Any]:
    """``["learner.utd=4"]`` as ``{"learner": {"utd": 4}}``; of two for the same key, the later one."""
    values: dict[str, Any] = {}
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise ConfigError(f"override {override!r} must have the form key=value, e.g. learner.utd=4")
        *groups, last = key.split(".")
        group = values
        for name in groups:
            if not isinstance(group.get(name), dict):
                group[name] = {}
            group = group[name]
        try:
            group[last] = yaml.safe_load(text) if text else ""
        except yaml.YAMLError as error:
            raise ConfigError(f"override {override!r} has a value that is no YAML: {error}") from error
    return values


def save_config(config: RunConfig, path: Path) -> None:
    """Write ``config`` as YAML, so that `load_config` gives it back."""
    path.write_text(yaml.safe_dump(plain(config), sort_keys=False), encoding="utf-8")


def plain(value: Any) -> Any:
    """A configuration as dicts, lists and scalars."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _merge(config: Any, values: dict[str, Any], prefix: str) -> Any:
    """``config`` with ``values`` put over it, checked key by key."""
    hints = typing.get_type_hints(type(config))
    known = {f.name for f in dataclasses.fields(config)}
    changes = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if key not in known:
            nearest = difflib.get_close_matches(str(key), sorted(known), n=1)
            hint = f"; did you mean {prefix}{nearest[0]}?" if nearest else ""
            raise ConfigError(f"unknown key {name}{hint} (valid: {', '.join(sorted(known))})")
        current = getattr(config, key)
        if dataclasses.is_dataclass(current) or isinstance(current, Mapping):
            if not isinstance(value, dict):
                raise ConfigError(f"{name} is a group of keys ({name}.<key>=value), not {value!r}")
            changes[key] = {**current, **value} if isinstance(current, Mapping) else _merge(current, value, f"{name}.")
        else:
            changes[key] = coerce(name, value, hints[key])
    try:
        return dataclasses.replace(config, **changes)
    except RangeError as error:
        raise ConfigError(f"{prefix}{error}") from error
    except ValueError as error:
        raise ConfigError(f"{prefix.rstrip('.') or 'configuration'}: {error}") from error


def coerce(name: str, value: Any, hint: Any) -> Any:
    """``value`` as the type ``hint``, or a `ConfigError` that names ``name``, the value and the type wanted."""
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        *others, hint = options = tuple(option for option in options if option is not type(None))
        if not others:
            return coerce(name, value, hint)
        for option in options:
            with contextlib.suppress(ConfigError):
                return coerce(name, value, option)
        raise ConfigError(f"{name}={value!r} must be {' or '.join(map(_wanted, options))}")
    if origin is typing.Literal:
        if value in typing.get_args(hint):
            return value
        raise ConfigError(f"{name}={value!r} is unknown; choose from {', '.join(map(str, typing.get_args(hint)))}")
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, dict):
        try:
            return hint(**value)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{name}={value!r}: {error}") from error
    if origin is tuple and isinstance(value, list | tuple | str | int) and not isinstance(value, bool):
        kind = typing.get_args(hint)[0]
        items = str(value).split(",") if isinstance(value, str | int) else value
        if kind in (int, float):
            items = [yaml.safe_load(item) if isinstance(item, str) else item for item in items]
        return tuple(coerce(name, item, kind) for item in items if item not in ("", None))
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):  # YAML takes 1e-3 for text
            return float(value)
    if hint is str and isinstance(value, str | int | float):
        return str(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{name}={value!r} must be {_wanted(hint)}")


def _wanted(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(map(repr, typing.get_args(hint)))
    return f"of type {getattr(hint, '__name__', hint)}"
