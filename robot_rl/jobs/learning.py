"""From a run's configuration to its learner: fed by which stores, going on from which checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from robot_rl.data.store import StoreReader
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.progress import domain_of, encoder_of, preference_of
from robot_rl.jobs.run import Run
from robot_rl.learner.factory import check_base, check_checkpoint, make_loop
from robot_rl.learner.loop import LearnerLoop
from robot_rl.tasks import make_task

LOGGER = logging.getLogger(__name__)


def check_run(run: Run, config: RunConfig) -> None:
    """Raises `ConfigError` when the run has a checkpoint that a learner with these settings cannot go on from."""
    check_checkpoint(run.checkpoints, config.learner, domain_of(make_task(config.task), config), config.seed)


def make_learner(run: Run, config: RunConfig) -> LearnerLoop:
    """A learner on the run's stores. Raises `ConfigError` when the settings do not fit."""
    task = make_task(config.task)
    domain = domain_of(task, config)
    encoder = encoder_of(config)
    preferred = preference_of(config, task)  # which demonstrations were recorded without
    online = (run.online, *(run.root / name for name in config.learner.online_stores))
    for path in online[1:]:
        if not path.exists():
            LOGGER.warning("%s is not there (yet): nothing to learn from", path)
    demos = [
        StoreReader(run.root / name, observe=domain.observe, successes_only=True, encoder=encoder, bonus=preferred)
        for name in config.demo_stores
    ]
    check_base(config.learner, sum(len(reader.episodes()) for reader in demos))
    return make_loop(
        config.learner,
        domain,
        config.seed,
        demos=demos,
        online=[StoreReader(path, observe=domain.observe, encoder=encoder) for path in online],
        checkpoints=run.checkpoints,
        rows=_rows(config, online),
    )


def _rows(config: RunConfig, online: Sequence[Path]) -> int:
    """The most online observations there will be: those recorded by now, and as many as each arm may still add."""
    recorded = sum(episode.steps + 1 for path in online for episode in StoreReader(path).episodes())
    return recorded + 2 * config.steps * len(online) + 1
