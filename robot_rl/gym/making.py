"""An environment's id → the environment, or one line that says why not."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium

from robot_rl.gym.spaces import EnvError

OWN = "robot_rl/"  # the ids of our tasks; importing `robot_rl.gym.envs` registers them


def import_modules(env_id: str, modules: Sequence[str]) -> None:
    """Import what registers environments: ``modules``, and ours for our ids.

    Raises `EnvError` when one cannot be imported.
    """
    for name in (*modules, *(["robot_rl.gym.envs"] if env_id.startswith(OWN) else [])):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise EnvError(f"--module {name} cannot be imported: {error}; install it, or correct the name") from error


def make_env(env_id: str, kwargs: Mapping[str, Any]) -> gymnasium.Env:
    """The environment ``env_id`` made with ``kwargs``. Raises `EnvError` when there is none, or it cannot be made."""
    known = sorted(gymnasium.registry)
    if ":" not in env_id and env_id not in known:
        by_name = {name.rpartition("/")[2].lower(): name for name in known}
        near = difflib.get_close_matches(env_id.rpartition("/")[2].lower(), list(by_name), 3, 0.5)
        hint = f"did you mean {' or '.join(by_name[name] for name in near)}? " if near else ""
        raise EnvError(f"--env {env_id} is unknown; {hint}--module PKG imports the package that registers it")
    try:
        return gymnasium.make(env_id, disable_env_checker=True, **kwargs)
    except Exception as error:  # whatever the environment's own code raises
        given = f" with {dict(kwargs)}" if kwargs else ""
        raise EnvError(f"--env {env_id} cannot be made{given}: {type(error).__name__}: {error}") from error
