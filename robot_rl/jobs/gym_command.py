"""The arguments of ``robot-rl gym`` → a `GymConfig`, checked."""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

from robot_rl.contract.ranges import RangeError
from robot_rl.contract.settings import ConfigError
from robot_rl.gym.job import GymConfig, run_gym
from robot_rl.jobs.config import load_config
from robot_rl.jobs.logs import tell
from robot_rl.learner.config import LearnerConfig

GROUP = "learner."


def gym_command(arguments: argparse.Namespace) -> int:
    """Do what ``robot-rl gym`` was asked for; returns the exit status. Raises the errors of `robot_rl.jobs.errors`."""
    run_gym(gym_config(arguments), tell)
    return 0


def gym_config(arguments: argparse.Namespace) -> GymConfig:
    """Raises `ConfigError` for whatever does not fit."""
    # ``--module a b learner.utd=1``: no module has a = in its name.
    modules = [name for name in arguments.module if "=" not in name]
    overrides = [*(name for name in arguments.module if "=" in name), *arguments.overrides]
    try:
        return GymConfig(
            env=arguments.env,
            json=arguments.json,
            learner=_learner(overrides, arguments.agent),
            steps=arguments.steps,
            seed=arguments.seed,
            modules=tuple(modules),
            env_kwargs=_json_object(arguments.env_kwargs),
            demos=arguments.demos,
            demo_keys=tuple(key for key in arguments.demo_keys.split(",") if key),
            encoder=arguments.encoder,
            eval_episodes=arguments.eval_episodes,
            eval_every=arguments.eval_every,
            eval_acting=arguments.eval_acting,
            run=arguments.run or _new_run(arguments.env, arguments.seed),
        )
    except RangeError as error:
        raise ConfigError(f"--{str(error).replace('_', '-', 1)}") from error


def _learner(overrides: list[str], agent: str | None) -> LearnerConfig:
    for override in overrides:
        if not override.startswith(GROUP):
            raise ConfigError(f"{override!r} is no setting of gym's; they are learner.<key>=value, e.g. learner.utd=1")
    chosen = [] if agent is None else [f"learner.agent={agent}"]
    return load_config(None, [*overrides, *chosen]).learner


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"--env-kwargs {text!r} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"--env-kwargs {text!r} must be an object, e.g. '{{\"max_episode_steps\": 200}}'")
    return value


def _new_run(env: str, seed: int) -> Path:
    """A folder for a run that was given none; it is made when the run begins."""
    name = re.sub(r"\W+", "-", env.rpartition("/")[2].rpartition(":")[2])
    return Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}-{seed}"
