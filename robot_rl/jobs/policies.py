"""The policy that a job evaluates: a file of parameters, a class by its name in the registry, or another program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from robot_rl.contract import Policy
from robot_rl.contract.settings import ConfigError
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.run import Run, read_parameters
from robot_rl.policies import POLICIES, make_policy
from robot_rl.policies.loading import load_actor
from robot_rl.tasks.base import Task

TOPIC = "topic"  # in the place of a policy: another program answers on `action_chunk`


def is_named(config: RunConfig) -> bool:
    """Whether ``policy`` names a class: no file is called so."""
    return bool(config.policy) and config.policy in POLICIES and not Path(config.policy).is_file()


def identity(run: Run, config: RunConfig) -> bytes:
    """What tells the policy to evaluate from others: its parameters, or its name. Raises `ConfigError` without one."""
    return config.policy.encode() if is_named(config) or config.policy == TOPIC else read_parameters(run, config)


def check_evaluated(run: Run, config: RunConfig, task: Task, images: Mapping[str, tuple[int, int]]) -> None:
    """Raises ValueError when the policy to evaluate cannot be used; a class is only looked up."""
    if is_named(config):
        POLICIES.load(config.policy)
    elif config.policy != TOPIC:
        make_evaluated(run, config, task, images)


def make_evaluated(run: Run, config: RunConfig, task: Task, images: Mapping[str, tuple[int, int]]) -> Policy:
    """The policy to evaluate. Raises `ConfigError` when there is none, ValueError when it does not fit."""
    if is_named(config):
        return make_policy(config.policy, task, config.seed)
    if config.policy == TOPIC:
        raise ConfigError(
            f"policy={TOPIC} is another program on the graph; without ROS there is none, so leave out --fast"
        )
    return load_actor(read_parameters(run, config), task, config.seed, deterministic=True, images=images)
