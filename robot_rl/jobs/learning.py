"""From a run's configuration to its learner: fed by which stores, going on from which checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from robot_rl.contract.settings import ConfigError
from robot_rl.data.store import StoreReader
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.progress import domain_of, encoder_of, preference_of
from robot_rl.jobs.run import Run
from robot_rl.jobs.vla import make_improver, vla_base
from robot_rl.learner.factory import check_base, check_checkpoint, make_algorithm, make_loop
from robot_rl.learner.loop import LearnerLoop
from robot_rl.rewards.shaping import Shaping
from robot_rl.session.judge import classifiers_in
from robot_rl.tasks import make_task
from robot_rl.tasks.base import Task

if TYPE_CHECKING:
    from robot_rl.jobs.training import Learning

LOGGER = logging.getLogger(__name__)


def check_run(run: Run, config: RunConfig) -> None:
    """Raises `ConfigError` for what cannot be learnt by, or a checkpoint that these settings cannot go on from."""
    task = make_task(config.task)
    shaping_of(config, task)
    check_checkpoint(run.checkpoints, config.learner, domain_of(task, config), config.seed)


def make_learning(run: Run, config: RunConfig) -> Learning:
    """The loop of the run's learner: of an agent, or of a SmallVLA where ``learner.base`` is one.

    Raises `ConfigError` when the settings do not fit.
    """
    policy = vla_base(config)
    return make_learner(run, config) if policy is None else make_improver(run, config, policy)


def make_learner(run: Run, config: RunConfig) -> LearnerLoop:
    """An agent's learner on the run's stores. Raises `ConfigError` when the settings do not fit."""
    task = make_task(config.task)
    domain = domain_of(task, config)
    encoder = encoder_of(config)
    preferred = preference_of(config, task)  # which demonstrations were recorded without
    shaping = shaping_of(config, task)
    online = (run.online, *(run.root / name for name in config.learner.online_stores))
    for path in online[1:]:
        if not path.exists():
            LOGGER.warning("%s is not there (yet): nothing to learn from", path)
    demos = [
        StoreReader(
            run.root / name,
            observe=domain.observe,
            successes_only=True,
            encoder=encoder,
            bonus=preferred,
            shaping=shaping(),
        )
        for name in config.demo_stores
    ]
    check_base(config.learner, sum(len(reader.episodes()) for reader in demos))
    return make_loop(
        config.learner,
        domain,
        config.seed,
        demos=demos,
        online=[StoreReader(path, observe=domain.observe, encoder=encoder, shaping=shaping()) for path in online],
        checkpoints=run.checkpoints,
        rows=_rows(config, online),
    )


def shaping_of(config: RunConfig, task: Task) -> Callable[[], Shaping | None]:
    """A maker of the reward for progress, for each reader its own. Raises `ConfigError` for what has no stages."""
    weight = config.learner.shaping
    if not weight:
        return lambda: None
    folders = classifiers_in(config.judge or task.judge)
    if len(folders) != 1:
        raise ConfigError(
            f"learner.shaping={weight:g} goes by the stages of one classifier, and judge={config.judge or task.judge} "
            f"asks {len(folders)}; choose judge=classifier:DIR, or learner.shaping=0"
        )
    agent = make_algorithm(config.learner.agent, config.learner.settings)
    make = partial(Shaping, folders[0], weight, agent.config.discount)
    make()  # raises where it cannot be used
    return make


def _rows(config: RunConfig, online: Sequence[Path]) -> int:
    """The most online observations there will be: those recorded by now, and as many as each arm may still add."""
    recorded = sum(episode.steps + 1 for path in online for episode in StoreReader(path).episodes())
    return recorded + 2 * config.steps * len(online) + 1
