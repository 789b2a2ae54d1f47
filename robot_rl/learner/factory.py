"""From a run's configuration to a learner: which algorithm, fed by which stores."""

from __future__ import annotations

from robot_rl.config import AGENTS, ConfigError, RunConfig
from robot_rl.data.store import StoreReader
from robot_rl.learner import lagrangian, rlpd
from robot_rl.learner.agent import Agent
from robot_rl.learner.loop import LearnerLoop, LoopConfig
from robot_rl.progress import schema_of
from robot_rl.run import Run
from robot_rl.tasks import make_task


def make_agent(config: RunConfig) -> Agent:
    """The algorithm named by ``learner.agent``.

    Raises `ConfigError` on any other name, `ValueError` on settings it cannot work with.
    """
    settings = config.learner
    match settings.agent:
        case "rlpd":
            return rlpd.make_agent(rlpd.RlpdConfig(critic_steps=settings.utd))
        case "rlpd_lagrangian":
            return lagrangian.make_agent(
                lagrangian.LagrangianConfig(critic_steps=settings.utd, cost_limit=settings.cost_limit)
            )
    raise ConfigError(f"unknown agent learner.agent={config.learner.agent!r}; choose from {', '.join(AGENTS)}")


def make_learner(run: Run, config: RunConfig) -> LearnerLoop:
    """A learner on the run's stores. Raises `ConfigError` when the settings do not fit."""
    settings = config.learner
    try:
        loop = LoopConfig(
            utd=float(settings.utd),
            start_after=settings.start_after,
            keep_checkpoints=settings.keep_checkpoints,
            seed=config.seed,
        )
        return LearnerLoop(
            make_agent(config),
            schema_of(make_task(config.task), config),
            demos=[StoreReader(run.root / name, successes_only=True) for name in config.demo_stores],
            online=StoreReader(run.online),
            config=loop,
            checkpoints=run.checkpoints,
        )
    except ValueError as error:
        raise ConfigError(f"learner: {error}") from error
