"""The agreement between the computer that serves an arm (`robot-rl arm`) and the one whose session drives it.

The first says what it serves, on a latched topic; the second says in one line what does not fit. With the arm on
another computer the settings ``controller`` act there, so both must have the same: an episode's record says by them
how the arm moved.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from controllers.config import ControllerConfig
from robot_rl.contract.ranges import shown
from robot_rl.contract.settings import ConfigError, plain, plain_value
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.job import EXPERT, job_of
from robot_rl.jobs.run import LINK, Run
from robot_rl.tasks import make_task
from robot_rl.tasks.base import Task, scene_of

SHOWN = 3  # settings that differ which are named
HERE, THERE = "here", "on the arm's computer"


@dataclass(frozen=True)
class Served:
    """The arm as its computer serves it.

    Attributes:
        arm: as in `RunConfig`.
        task: its name.
        control_period: of the task [s].
        cameras: whose pictures are published.
        knows_scene: a simulator, which says where objects are and puts them in place.
        episodes: an episode's energy budget holds.
        controller: settings of the controller, with the task's bounds, by name.
    """

    arm: str
    task: str
    control_period: float
    cameras: tuple[str, ...]
    knows_scene: bool
    episodes: bool
    controller: Mapping[str, object]

    def to_json(self) -> str:
        return json.dumps(plain(self))

    @staticmethod
    def from_json(text: str) -> Served:
        """Raises `ConfigError` when the text is none of this version."""
        try:
            values = json.loads(text)
            return Served(**(values | {"cameras": tuple(values["cameras"])}))
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"the arm's computer does not say what it serves as this version does ({error!r:.80}); "
                "install the same robot_rl on both"
            ) from error


def serves_sessions(config: RunConfig, job: str) -> bool:
    """Whether the arm of ``job`` is driven by sessions, with episodes: its own one, or that of a peer."""
    return job_of(job).has_episodes or (not job_of(job).node and bool(config.peers))


def patience_of(config: RunConfig, job: str) -> float:
    """For how long [s] a started arm holds for its first setpoint: a session sends it at once, a person does not."""
    return 0.0 if serves_sessions(config, job) else job_of(job).patience


def served(config: RunConfig, task: Task, job: str) -> Served:
    """The arm of this computer, for sessions elsewhere."""
    return Served(
        config.arm,
        task.name,
        task.control_period,
        tuple(task.views(config.cameras)),
        config.knows_scene,
        serves_sessions(config, job),
        flat(task.bound(config.controller)),
    )


def flat(controller: ControllerConfig) -> dict[str, object]:
    """Settings of a controller by their full names, as plain values."""
    return dict(_leaves("controller", plain_value(controller)))


def _leaves(name: str, value: object) -> list[tuple[str, object]]:
    if not isinstance(value, Mapping):
        return [(name, value)]
    return [leaf for key, inner in value.items() for leaf in _leaves(f"{name}.{key}", inner)]


def check_fit(there: Served, config: RunConfig, job: str) -> None:
    """Raises `ConfigError`, in one line, when ``job`` with these settings cannot drive the arm that is served."""
    task, spec = make_task(config.task), job_of(job)
    if there.task != task.name:
        raise ConfigError(f"{THERE} the task is {there.task}, {HERE} {task.name}; give both the same, task=")
    if not there.episodes and spec.has_episodes:
        raise ConfigError(
            f"{THERE} the arm is served without episodes, for clients of CRISP; there, name this computer: "
            f"robot-rl arm peers={socket.gethostname()} (or its address)"
        )
    if missing := [name for name in task.views(config.cameras) if name not in there.cameras]:
        published = ", ".join(there.cameras) or "none"
        raise ConfigError(
            f"{THERE} there is no camera {', '.join(missing)} (there are: {published}); there, add "
            f"cameras={','.join(task.views(config.cameras))}"
        )
    here = json.loads(json.dumps({"control period": task.control_period, **flat(task.bound(config.controller))}))
    theirs: dict[str, object] = {"control period": there.control_period, **there.controller}
    if different := [key for key in here | theirs if here.get(key) != theirs.get(key)]:
        differ = "; ".join(f"{key}={theirs.get(key)} {THERE}, {here.get(key)} {HERE}" for key in different[:SHOWN])
        more = f"; and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
        raise ConfigError(f"settings of the two computers differ: {differ}{more}; give both the same")
    if config.source == EXPERT and spec.person_drives and not there.knows_scene:
        raise ConfigError(
            f"source=expert drives only a simulated arm, which knows where things are; {THERE} it is blind, or a robot"
        )


def knows_scene(run: Run, config: RunConfig) -> bool:
    """Whether somebody says where objects are, and puts them in place; of another computer's arm, once it answers."""
    if not config.remote:
        return config.knows_scene
    return bool(run.status_of(LINK).get("knows_scene"))


def scene_objects(run: Run, config: RunConfig, task: Task) -> tuple[str, ...]:
    """Names of the objects whose poses are published for this run, in their order."""
    return scene_of(task).objects if knows_scene(run, config) else ()


def discovery(config: RunConfig) -> dict[str, str]:
    """Variables of ROS that let programs be discovered by those of the peers, and by no others elsewhere.

    Without peers, by those of this computer only, unless the environment says otherwise.
    """
    around = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    peers = {"ROS_STATIC_PEERS": ";".join(config.peers)} if config.peers else {}
    return {"ROS_AUTOMATIC_DISCOVERY_RANGE": around, **peers}


def join_graph(config: RunConfig, domain: int) -> list[str]:
    """Make this process one of the graph of a job in ROS domain ``domain``; returns its arguments of ROS."""
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    os.environ.update(discovery(config))
    return ["--ros-args", "-r", f"__ns:=/{config.namespace.strip('/')}"] if config.namespace else []


def check_peers(config: RunConfig) -> None:
    """Raises `ConfigError` for a peer whose name nobody knows."""
    for peer in config.peers:
        try:
            socket.getaddrinfo(peer, None, socket.AF_INET)
        except (OSError, UnicodeError) as error:  # the latter of a name that is none
            raise ConfigError(
                f"peers={shown(config.peers)}: nobody knows the address of {shown(peer)} ({error})"
            ) from error
