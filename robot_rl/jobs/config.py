"""One configuration for a whole run: typed defaults in code, a YAML file and ``key=value`` overrides on top.

Defaults live in the dataclasses beside the code that uses them. An unknown key is an error that names the nearest one.
The resolved configuration is written into the run's folder, and every process of the run reads it from there.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import re
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import yaml

from controllers.core import ControllerConfig
from hardware.crisp import CrispConfig
from robot_rl.contract.ranges import RangeError, require
from robot_rl.contract.settings import ConfigError, nested, plain, put_over
from robot_rl.learner.config import AGENTS, LearnerConfig
from robot_rl.session.config import SessionConfig

ARMS = ("sim", "fr3", "crisp")
SIMULATORS = ("own", "running")
NAMESPACE = r"(/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*)?"


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
        policy: parameter file to evaluate, a policy's class (a name of `robot_rl.policies.POLICIES`, or
            ``module:Class``), or ``topic`` (another program answers); "" takes the run's champion
            (`robot_rl.jobs.promotion`), or its newest.
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
            config = put_over(config, values, "")
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
    changes = nested(overrides)
    of_learner = changes.get("learner")
    if isinstance(of_learner, dict) and of_learner.get("agent", config.learner.agent) != config.learner.agent:
        # another algorithm has other settings
        config = dataclasses.replace(config, learner=dataclasses.replace(config.learner, settings={}))
    config = put_over(config, changes, "")  # at once: one may make sense only with another
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


def save_config(config: RunConfig, path: Path) -> None:
    """Write ``config`` as YAML, so that `load_config` gives it back."""
    path.write_text(yaml.safe_dump(plain(config), sort_keys=False), encoding="utf-8")
