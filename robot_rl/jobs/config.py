"""One configuration for a whole run: typed defaults in code, a YAML file and ``key=value`` overrides on top.

Defaults live in the dataclasses beside the code that uses them. An unknown key is an error that names the nearest one.
The resolved configuration is written into the run's folder, and every process of the run reads it from there.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AllowInfNan

from controllers.core import ControlError, ControllerConfig
from hardware.cameras import CAMERA_DRIVERS
from hardware.crisp.driver import CrispConfig
from hardware.force import FORCE_SENSORS
from hardware.force.lane import ForceConfig
from hardware.interfaces import HardwareError
from hardware.sim.channel.channel import SCENE_PORT
from robot_rl.console.config import ConsoleConfig
from robot_rl.contract import ContractError
from robot_rl.contract.ranges import Count, Natural, RangeError, check, shown
from robot_rl.contract.settings import ConfigError, nested, plain, put_over, read_mapping, write_yaml
from robot_rl.learner.config import AGENTS, LearnerConfig
from robot_rl.perception.encoders import ENCODERS
from robot_rl.policies.vla.config import AloeConfig, VlaConfig
from robot_rl.session.config import SessionConfig
from robot_rl.session.link import LinkConfig
from robot_rl.tasks import is_file

PEER = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?"
NAMESPACE = r"(/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*)?"


@dataclass(frozen=True)
class RunConfig:
    """Everything about a run.

    Attributes:
        task: a built-in name, ``module:Class``, or a YAML file (`robot_rl.tasks.file`): on the command line relative to
            the working directory, in a file of settings to its folder.
        arm: ``sim`` (the simulated arm over its own protocol), ``fr3`` (a robot), ``crisp`` (any arm under CRISP's
            controllers, by their topics; see ``crisp``) or ``remote`` (any of these on another computer, where
            ``robot-rl arm`` serves it; see docs/TWO_COMPUTERS.md).
        peers: addresses or names of the other computers that take part, e.g. ``10.0.0.2,10.0.0.3``; without, nothing
            leaves this one.
        robot_ip: address of the arm; the simulator binds to it when ``arm`` is ``sim``.
        simulator: ``own`` (started and ended with the job) or ``running`` (``robot-rl sim``, which may have more arms).
        arms: so many arms the simulator serves, side by side, at ``robot_ip`` and the addresses after it.
        blind: with ``arm=sim``, nothing that only a simulator knows: no poses of objects, no scripted expert, resets of
            the scene by a person. To rehearse what will be done on a robot.
        namespace: of this graph's topics, e.g. ``left``; each arm of several has its own.
        scene_port: TCP port of the simulator's scene channel.
        seed: of starts, exploration and learning.
        source: who drives when recording: ``expert`` (the task's script), ``topic`` (anything that publishes
            ``twist_cmd``), or a device of `hardware.teleop.TELEOP_DEVICES`.
        demo_style: how the task's script drives in the place of a person: ``script`` (straight, free of noise) or
            ``person`` (`robot_rl.tasks.experts.person`: pauses, detours, noise, now fast and now slow; by ``seed``).
        judge: who says what a step came to (see `robot_rl.session.judge`): ``task``, ``person`` (only a person's label
            or a fault ends an episode), ``classifier:DIR`` (by `robot-rl reward`), ``all_of(…)``, ``any_of(…)`` or
            ``stages(…)`` of several, one that a package adds, or ``module:Class``; "" is the task's own.
        preference: folder of what a person prefers (`robot-rl reward rank`), which adds to the reward of each step; ""
            for none.
        preference_weight: share of a success's reward that all steps of an episode together may earn by it.
        cameras: names of the cameras whose images belong to the observation; empty: the task's own.
        encoder: frozen network whose features of the images an agent sees in place of pixels; they are recorded beside
            the images. A name of `robot_rl.perception.encoders.ENCODERS`, ``<name>:<file of weights>``, or
            ``module:Class``; "" for none.
        camera_driver: of `hardware.cameras.CAMERA_DRIVERS`, for cameras that are not drawn.
        camera_devices: serial number (realsense) or index or path (opencv) of each camera, in the order of ``cameras``.
        camera_calibrations: files of `robot-rl calibrate camera`, in the order of ``cameras``: their lenses go to
            ``camera_info``, their places to ``/tf_static``.
        camera_size: width and height of all cameras' pictures [px], e.g. ``848,480``; empty: the driver's default.
        camera_rate: pictures of each a second; unset: the driver's default.
        camera_exposure: exposure time of all cameras [µs] (realsense); unset: their own, which follows the light.
        camera_white_balance: colour temperature of all cameras [K] (realsense); the same.
        camera_depth: cameras also publish depth, aligned to their pictures (realsense); no policy sees it.
        camera_variation: how much drawn cameras, light and colours differ between episodes, 0 to 1, in scenes that have
            looks (`hardware.sim.scene.looks`); colours that belong to the task differ anyway.
        demos: successful demonstrations to record.
        steps: online steps to train for.
        episodes: episodes to evaluate, or to collect for a reward classifier, those that a person discards not counted.
        demo_stores: stores of demonstrations to learn from, relative to the run's folder or absolute.
        policy: parameter file to evaluate, a policy's class (a name of `robot_rl.policies.POLICIES`, or
            ``module:Class``), ``openpi:FILE`` or ``groot:FILE`` (a server that the YAML file names,
            docs/YOUR_POLICY.md), ``composed:FILE`` (several that imitate act as one, `robot_rl.policies.composed`), or
            ``topic`` (another program on the graph answers); "" takes the run's champion (`robot_rl.jobs.promotion`),
            or its newest.
        session: how episodes run.
        controller: of the arm, with its limits.
        crisp: names of an arm under CRISP's controllers.
        force: a force–torque sensor on the arm.
        learner: what learns, and from what.
        vla: a SmallVLA and its training, for `robot-rl pretrain --vla`.
        aloe: how a SmallVLA is improved by what came of its actions, where ``learner.base`` is one.
        console: the operator's page.
        link: to the arm of another computer.
    """

    task: str = "peg_insertion"
    arm: Literal["sim", "fr3", "crisp", "remote"] = "sim"
    peers: tuple[str, ...] = ()
    robot_ip: str = "127.0.0.1"
    simulator: Literal["own", "running"] = "own"
    arms: Count = 1
    blind: bool = False
    namespace: str = ""
    scene_port: Annotated[int, Ge(1), Le(65535)] = SCENE_PORT
    seed: Natural = 0
    source: str = "expert"
    demo_style: Literal["script", "person"] = "script"
    judge: str = ""
    preference: str = ""
    preference_weight: Annotated[float, Gt(0), Lt(1)] = 0.5
    cameras: tuple[str, ...] = ()
    encoder: str = ""
    camera_driver: str = "realsense"
    camera_devices: tuple[str, ...] = ()
    camera_calibrations: tuple[str, ...] = ()
    camera_size: tuple[Count, ...] = ()
    camera_rate: Count | None = None
    camera_exposure: Annotated[float, Ge(1), AllowInfNan(False)] | None = None
    camera_white_balance: Annotated[float, Ge(1), AllowInfNan(False)] | None = None
    camera_depth: bool = False
    camera_variation: Annotated[float, Ge(0), Le(1)] = 0.0
    demos: Count = 20
    steps: Count = 2400
    episodes: Count = 50
    demo_stores: tuple[str, ...] = ("demos",)
    policy: str = ""
    session: SessionConfig = field(default_factory=SessionConfig)
    controller: ControllerConfig = field(default_factory=ControllerConfig)
    crisp: CrispConfig = field(default_factory=CrispConfig)
    force: ForceConfig = field(default_factory=ForceConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    vla: VlaConfig = field(default_factory=VlaConfig)
    aloe: AloeConfig = field(default_factory=AloeConfig)
    console: ConsoleConfig = field(default_factory=ConsoleConfig)
    link: LinkConfig = field(default_factory=LinkConfig)

    def __post_init__(self) -> None:
        check(self)
        for key in ("camera_exposure", "camera_white_balance", "camera_depth"):
            if (value := getattr(self, key)) and self.camera_driver != "realsense":
                words = "true" if value is True else f"{value:g}"
                raise RangeError(f"{key}={words} is for camera_driver=realsense, not {self.camera_driver}")
        if len(self.camera_size) not in (0, 2):
            raise RangeError(f"camera_size={shown(self.camera_size)} needs width and height, e.g. 640,480")
        if self.camera_variation and self.arm != "sim":
            raise RangeError(
                f"camera_variation={self.camera_variation:g} is for drawn cameras, and arm={self.arm} has none"
            )
        for key in ("cameras", "camera_devices"):
            given = getattr(self, key)
            for name in given:
                if given.count(name) > 1:
                    raise RangeError(f"{key}={list(given)}: {shown(name)} stands there twice; each camera has its own")
        if self.camera_calibrations and len(self.camera_calibrations) != len(self.cameras):
            raise RangeError(
                f"camera_calibrations={list(self.camera_calibrations)} needs a file for each of "
                f"cameras={list(self.cameras)}"
            )
        if self.blind and self.arm != "sim":
            why = "say so on the arm's computer" if self.remote else f"arm={self.arm} is blind anyway: leave it out"
            raise RangeError(f"blind=true rehearses on the simulated arm; {why}")
        for peer in self.peers:
            if re.fullmatch(PEER, peer, re.ASCII) is None:
                raise RangeError(f"peers: {shown(peer)} is no address or name of a computer, as 10.0.0.2 is")
        if not self.robot_ip:
            raise RangeError("robot_ip= is empty; give the address of the arm, e.g. robot_ip=172.16.0.2")

    @property
    def knows_scene(self) -> bool:
        """Whether there is somebody to ask where objects are, and to put them in place: a simulator."""
        return self.arm == "sim" and not self.blind

    @property
    def remote(self) -> bool:
        """Whether the arm is one that another computer serves."""
        return self.arm == "remote"


def with_tool(config: RunConfig, file: str) -> RunConfig:
    """The same with another file of the tool on the force–torque sensor."""
    return dataclasses.replace(config, force=dataclasses.replace(config.force, tool=file))


def load_config(path: Path | None = None, overrides: list[str] | tuple[str, ...] = ()) -> RunConfig:
    """The run's configuration: defaults, then the YAML file at ``path``, then ``key=value`` overrides.

    Raises:
        ConfigError: the file is missing or no mapping, or a key or value does not fit.
    """
    config = RunConfig()
    if path is not None:
        values = read_mapping(path)
        try:
            config = put_over(config, values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        if is_file(config.task):
            config = dataclasses.replace(config, task=str(path.parent / config.task))
        calibrations = tuple(str(path.parent / file) for file in config.camera_calibrations)
        config = dataclasses.replace(config, camera_calibrations=calibrations)
        if config.force.tool:
            config = with_tool(config, str(path.parent / config.force.tool))
    for override in overrides:
        key = override.partition("=")[0]
        if "=" in override and "" in key.split("."):
            raise ConfigError(f"key {shown(key)} has a part that is empty; write e.g. learner.utd=4")
    changes = nested(overrides)
    of_learner = changes.get("learner")
    if isinstance(of_learner, dict) and of_learner.get("agent", config.learner.agent) != config.learner.agent:
        # another algorithm has other settings
        config = dataclasses.replace(config, learner=dataclasses.replace(config.learner, settings={}))
    config = put_over(config, changes)  # at once: one may make sense only with another
    if re.fullmatch(NAMESPACE, config.namespace, re.ASCII) is None:
        raise ConfigError(
            f"namespace={shown(config.namespace)} is no name of ROS; use letters, digits and _, e.g. left"
        )
    shared = config.learner.shared
    if shared not in ("", "/") and re.fullmatch(NAMESPACE, shared, re.ASCII) is None:
        raise ConfigError(
            f"learner.shared={shown(shared)} is no namespace; name that of another arm, e.g. left, or / for none"
        )
    if shared and shared.strip("/") == config.namespace.strip("/"):
        raise ConfigError(
            f"learner.shared={shown(shared)} is this arm's own namespace; name another arm's, or leave it out"
        )
    if config.arm == "crisp" and config.namespace.strip("/") == config.crisp.namespace.strip("/"):
        raise ConfigError(
            f"arm=crisp with namespace={shown(config.namespace)}, which is CRISP's too: its controllers would follow "
            "the session's target_pose past every check; give this graph another one, e.g. namespace=rl"
        )
    real = config.arm != "sim" or not is_loopback(config.robot_ip)
    if real:
        try:
            config.controller.check_real()
        except ControlError as error:
            raise ConfigError(f"controller.{error}") from error
    if real and not config.controller.tank.filter:
        raise ConfigError(
            f"controller.tank.filter=false with arm={config.arm} robot_ip={shown(config.robot_ip)[1:-1]}: without the "
            "filter nothing limits the energy that the arm can put out, so it is off in simulation only; leave it on, "
            "or take arm=sim at an address of this computer, e.g. robot_ip=127.0.0.1"
        )
    for key, name, registry in (
        ("learner.agent", config.learner.agent, AGENTS),
        ("camera_driver", config.camera_driver, CAMERA_DRIVERS),
        ("force.sensor", config.force.sensor, FORCE_SENSORS),
        ("encoder", config.encoder, ENCODERS),
    ):
        try:
            if name:
                registry.check(name)
        except (ContractError, HardwareError) as error:
            raise ConfigError(f"{key}={shown(name)}: {error}") from error
    return config


def is_loopback(address: str) -> bool:
    """Whether ``address`` is of this computer only, where no robot can be."""
    try:
        return address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def save_config(config: RunConfig, path: Path) -> None:
    """Write ``config`` as YAML, so that `load_config` gives it back."""
    write_yaml(path, plain(config))
