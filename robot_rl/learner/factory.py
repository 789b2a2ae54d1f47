"""From settings to a learner: which algorithm, and what the loop does around it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import jax

from robot_rl.contract import Layout
from robot_rl.contract.ranges import shown
from robot_rl.contract.settings import ConfigError, make_settings
from robot_rl.data.parameters import ParameterError
from robot_rl.data.replay import ReplayBuffer
from robot_rl.data.store import StoreReader
from robot_rl.learner.agent import Agent, Algorithm
from robot_rl.learner.certainty import weighted
from robot_rl.learner.checkpoint import CheckpointError, load_latest
from robot_rl.learner.config import AGENTS, Interventions, LearnerConfig
from robot_rl.learner.domain import Domain
from robot_rl.learner.earned import earned
from robot_rl.learner.loop import LearnerLoop, LoopConfig, state_of
from robot_rl.learner.standard import standardised
from robot_rl.learner.warm import WarmConfig, warm

STATE_CAPACITY = 1_000_000  # online observations kept, without cameras
IMAGE_CAPACITY = 200_000  # with cameras: 9.8 GB for each of 128×128 pixels
STATE_DEMO_CAPACITY = 100_000  # observations of demonstrations kept, corrections included, beside the online ones
IMAGE_DEMO_CAPACITY = 20_000  # the same with cameras


def make_algorithm(name: str, settings: Mapping[str, Any]) -> Agent:
    """The algorithm ``name`` by itself, with ``settings`` put over the defaults of its config.

    Raises `ContractError` for an unknown name, `ConfigError` for an unknown setting or a value that does not fit.
    """
    algorithm = AGENTS.load(name)
    if not isinstance(algorithm, Algorithm):
        raise ConfigError(f"agent {name!r} is {shown(algorithm)}, not a robot_rl.learner.agent.Algorithm")
    try:
        agent = algorithm.make(make_settings(algorithm.config, settings, "learner.settings."))
    except ValueError as error:
        raise ConfigError(f"agent {name}: {error}") from error
    return agent._replace(name=name)  # by which whoever reads its parameters makes it again


def make_agent(name: str, settings: Mapping[str, Any], interventions: Interventions = "plain") -> Agent:
    """The agent that learns and acts: `make_algorithm` started from imitation, where it can be, and with scaled inputs.

    ``interventions``: as in `LearnerConfig`; it acts by the same parameters whatever they are. Raises as
    `make_algorithm` does, and `ConfigError` for those that have no meaning for the agent.
    """
    agent = make_algorithm(name, settings)
    check_interventions(agent, interventions)
    if interventions == "weighted":
        agent = weighted(agent)
    if isinstance(agent.config, WarmConfig):
        agent = warm(agent)
    elif agent.base is not None:
        agent = earned(agent, agent.base)
    return standardised(agent) if getattr(agent.config, "scale_inputs", True) else agent


def check_interventions(agent: Agent, interventions: Interventions) -> None:
    """Raises `ConfigError` when what is asked for with a person's ``interventions`` has no meaning for ``agent``."""
    lacks: dict[Interventions, str] = {}
    if not agent.bootstraps:
        lacks["cut"] = "it learns no values that a takeover could cut"
    if agent.mean is None:
        lacks["weighted"] = "no loss of its policy weighs imitation against value"
    elif getattr(agent.config, "clone", "mean") == "drawn":
        lacks["weighted"] = "with learner.settings.clone=drawn corrections lie far beyond what an edit can reach"
    if interventions in lacks:
        fitting = ", ".join(rule for rule in get_args(Interventions) if rule not in lacks)
        raise ConfigError(
            f"learner.interventions={interventions} is not for agent {agent.name}: {lacks[interventions]}; choose from "
            f"{fitting}"
        )


def make_loop(
    settings: LearnerConfig,
    domain: Domain,
    seed: int,
    *,
    demos: Sequence[StoreReader] = (),
    online: Sequence[StoreReader] = (),
    checkpoints: Path | None = None,
    rows: int | None = None,
) -> LearnerLoop:
    """A learner of ``domain``, which will see at most ``rows`` online observations.

    Raises `ConfigError` when the settings do not fit, the agent not the domain, or the replay not the memory.
    """
    agent, config = make_loop_config(settings, seed, images=bool(domain.layout.images))
    check_memory(config, domain.layout, rows, available_memory())
    try:
        loop = LearnerLoop(agent, domain, demos=demos, online=online, config=config, checkpoints=checkpoints)
    except ValueError as error:
        raise ConfigError(f"learner: {error}") from error
    if settings.base:
        try:
            loop.adopt(Path(settings.base).read_bytes())
        except OSError as error:
            raise ConfigError(f"learner.base={settings.base} cannot be read: {error.strerror}") from error
        except ParameterError as error:
            raise ConfigError(f"learner.base={settings.base} cannot be started from: {error}") from error
    return loop


def check_base(settings: LearnerConfig, demonstrations: int) -> None:
    """Raises `ConfigError` for an agent that needs demonstrations, or ``learner.base``, when there are none."""
    agent, _ = make_loop_config(settings, 0, images=False)
    if agent.needs_base and not (settings.base or (demonstrations and settings.imitate)):
        without = "imitates nothing with learner.imitate=0" if demonstrations else "has no demonstrations"
        raise ConfigError(
            f"agent {settings.agent} improves what was imitated, and this run {without}; record some, or name the "
            "clone.params of another run by learner.base"
        )


def check_memory(config: LoopConfig, layout: Layout, rows: int | None, available: int | None) -> None:
    """Raises `ConfigError` when the replay would come to take more than the ``available`` bytes of memory."""
    online = config.capacity if rows is None else min(config.capacity, rows)
    needed = ReplayBuffer.bytes_for(online, layout)
    if available is not None and needed > available:
        fits = max(2, int(0.8 * available / ReplayBuffer.bytes_for(1, layout)))
        raise ConfigError(
            f"the replay would come to take {needed / 1e9:.1f} GB for {online} observations, and {available / 1e9:.1f} "
            f"GB of memory are free; keep fewer: learner.capacity={fits}"
        )


def available_memory() -> int | None:
    """Bytes of memory that a program may still take; None where the system does not tell."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return 1024 * int(found[1]) if found else None


def make_loop_config(settings: LearnerConfig, seed: int, images: bool) -> tuple[Agent, LoopConfig]:
    """The algorithm and what the loop does around it. Raises `ConfigError` when the settings do not fit."""
    steps = {} if settings.utd is None else {"critic_steps": settings.utd}
    agent = make_agent(settings.agent, steps | dict(settings.settings), settings.interventions)
    demo_share = agent.demo_share if settings.demo_share is None else settings.demo_share
    return agent, LoopConfig(
        utd=float(settings.utd or agent.updates_per_call),
        start_after=settings.start_after,
        imitate=settings.imitate,
        pretrain=agent.pretrain if settings.pretrain is None else settings.pretrain,
        batch_size=settings.batch_size,
        demo_share=None if isinstance(demo_share, str) else demo_share,
        cut_at_takeover=settings.interventions == "cut",
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
        raise ConfigError(f"cannot go on from this run's checkpoint, {error}; another run starts anew") from error
    except ValueError as error:  # of an agent that cannot work with the layout
        raise ConfigError(f"agent {settings.agent}: {error}") from error
