"""From settings to a learner: which algorithm, and what the loop does around it."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from robot_rl.contract.settings import ConfigError, coerce
from robot_rl.data.store import StoreReader
from robot_rl.learner.agent import Agent
from robot_rl.learner.algorithms import chunked, expo, flash_sac, hil, lagrangian, rlpd, sac
from robot_rl.learner.checkpoint import CheckpointError, load_latest
from robot_rl.learner.config import LearnerConfig
from robot_rl.learner.domain import Domain
from robot_rl.learner.loop import LearnerLoop, LoopConfig, state_of

ALGORITHMS: dict[str, tuple[type, Callable[[Any], Agent]]] = {
    "chunked": (chunked.ChunkedConfig, chunked.make_agent),
    "expo": (expo.ExpoConfig, expo.make_agent),
    "rlpd": (rlpd.RlpdConfig, rlpd.make_agent),
    "flash_sac": (flash_sac.FlashConfig, flash_sac.make_agent),
    "rlpd_lagrangian": (lagrangian.LagrangianConfig, lagrangian.make_agent),
    "sac": (sac.SacConfig, sac.make_agent),
    "hil": (hil.HilConfig, hil.make_agent),
}

STATE_CAPACITY = 1_000_000  # online observations kept, without cameras
IMAGE_CAPACITY = 200_000  # with cameras: 9.8 GB for each of 128×128 pixels
STATE_DEMO_CAPACITY = 100_000  # observations of demonstrations kept, corrections included, beside the online ones
IMAGE_DEMO_CAPACITY = 20_000  # the same with cameras


def make_agent(name: str, settings: Mapping[str, Any]) -> Agent:
    """The algorithm ``name`` with ``settings`` put over the defaults of its config.

    Raises `ConfigError` for a name or a setting that is unknown, or a value of the wrong type or range.
    """
    if name not in ALGORITHMS:
        raise ConfigError(f"unknown agent {name!r}; choose from {', '.join(ALGORITHMS)}")
    config_type, make = ALGORITHMS[name]
    hints = typing.get_type_hints(config_type)
    known = [field.name for field in dataclasses.fields(config_type)]
    for key in settings:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"agent {name} has no setting {key!r}{hint} (valid: {', '.join(known)})")
    try:
        return make(config_type(**{key: coerce(key, value, hints[key]) for key, value in settings.items()}))
    except ValueError as error:
        raise ConfigError(f"agent {name}: {error}") from error


def make_loop(
    settings: LearnerConfig,
    domain: Domain,
    seed: int,
    *,
    demos: Sequence[StoreReader] = (),
    online: Sequence[StoreReader] = (),
    checkpoints: Path | None = None,
) -> LearnerLoop:
    """A learner of ``domain``. Raises `ConfigError` when the settings do not fit, or the agent not the domain."""
    agent, config = make_loop_config(settings, seed, images=bool(domain.layout.images))
    try:
        return LearnerLoop(agent, domain, demos=demos, online=online, config=config, checkpoints=checkpoints)
    except ValueError as error:
        raise ConfigError(f"learner: {error}") from error


def make_loop_config(settings: LearnerConfig, seed: int, images: bool) -> tuple[Agent, LoopConfig]:
    """The algorithm and what the loop does around it. Raises `ConfigError` when the settings do not fit."""
    steps = {} if settings.utd is None else {"critic_steps": settings.utd}
    agent = make_agent(settings.agent, steps | dict(settings.settings))
    demo_share = agent.demo_share if settings.demo_share is None else settings.demo_share
    return agent, LoopConfig(
        utd=float(settings.utd or agent.updates_per_call),
        start_after=settings.start_after,
        pretrain=agent.pretrain if settings.pretrain is None else settings.pretrain,
        batch_size=settings.batch_size,
        demo_share=None if isinstance(demo_share, str) else demo_share,
        online_weights=settings.online_weights,
        capacity=settings.capacity or (IMAGE_CAPACITY if images else STATE_CAPACITY),
        demo_capacity=settings.demo_capacity or (IMAGE_DEMO_CAPACITY if images else STATE_DEMO_CAPACITY),
        keep_checkpoints=settings.keep_checkpoints,
        seed=seed,
    )


def check_checkpoint(checkpoints: Path, settings: LearnerConfig, domain: Domain, seed: int) -> None:
    """Raises `ConfigError` when there is a checkpoint that a learner of ``domain`` cannot go on from."""
    agent, _ = make_loop_config(settings, seed, images=bool(domain.layout.images))
    try:
        if (found := load_latest(checkpoints)) is not None:
            shapes = jax.eval_shape(lambda key: agent.create(key, domain.layout), jax.random.PRNGKey(0))
            state_of(found, shapes, agent, domain)
    except CheckpointError as error:
        raise ConfigError(f"cannot go on from this run's checkpoint, {error}; another --run starts anew") from error
