"""The policy that a job evaluates: a file of parameters, several that act as one, a class by its name in the registry,
another program's on the graph, or a server's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robot_rl.contract import Policy
from robot_rl.contract.settings import ConfigError
from robot_rl.data.parameters import ParameterError
from robot_rl.data.schema import StoreSchema
from robot_rl.jobs.config import RunConfig
from robot_rl.jobs.job import TOPIC
from robot_rl.jobs.progress import view_of
from robot_rl.jobs.run import Run, read_parameters
from robot_rl.policies import POLICIES, composition, make_policy, served
from robot_rl.policies.vla.card import AGENT, check, is_vla
from robot_rl.tasks.base import Task

if TYPE_CHECKING:
    from robot_rl.policies.loading import ActorLoader
    from robot_rl.policies.vla.policy import VlaLoader


def is_named(config: RunConfig) -> bool:
    """Whether ``policy`` names a class, and neither a file nor a server or a composition."""
    named = bool(config.policy) and config.policy in POLICIES and not Path(config.policy).is_file()
    return named and not _has_file(config)


def _has_file(config: RunConfig) -> bool:
    """Whether ``policy`` names the file of a server or of a composition."""
    return served(config.policy) is not None or composition(config.policy) is not None


def has_own_name(config: RunConfig) -> bool:
    """Whether the policy is called by what ``policy`` says, and not by the agent that was trained."""
    return is_named(config) or config.policy == TOPIC or _has_file(config)


def name_of(run: Run, config: RunConfig) -> str:
    """Who acts in a run, for people: what ``policy`` names, a SmallVLA, or the agent."""
    if has_own_name(config):
        return config.policy
    try:
        return AGENT if is_vla(read_parameters(run, config)) else config.learner.agent
    except (ConfigError, ParameterError):  # nothing has been published, or it is damaged
        return config.learner.agent


def identity(run: Run, config: RunConfig) -> bytes:
    """The bytes that tell the policy to evaluate from others: its parameters, those of a composition with its file, or
    its name, with a server's file.

    Words that it is told in place of the task's are among them. Raises `ConfigError` without one.
    """
    words = config.session.instruction.encode()
    if (file := composition(config.policy)) is not None:
        from robot_rl.policies.composed import bytes_of

        return bytes_of(file) + words
    if not has_own_name(config):
        return read_parameters(run, config) + words
    server = served(config.policy)
    return config.policy.encode() + (server.file.read_bytes() if server is not None else b"") + words


def check_evaluated(run: Run, config: RunConfig, task: Task, schema: StoreSchema, fast: bool) -> None:
    """Raises ValueError when the policy to evaluate, in process when ``fast``, cannot be used.

    A class is made where that is in this process, else only looked up. A server is not asked yet.
    """
    if is_named(config) and not fast:
        POLICIES.load(config.policy)
    elif is_named(config) or _has_file(config) or (config.policy == TOPIC and fast):
        make_evaluated(run, config, task, schema)
    elif config.policy != TOPIC:
        view, data = view_of(task, config), read_parameters(run, config)
        seen = view.images(schema.seen)
        if is_vla(data):
            check(data, view, seen, schema.encoder)
            return
        from robot_rl.policies.loading import ActorLoader

        ActorLoader(view, seed=0, deterministic=True, images=seen, encoder=schema.encoder).check(data)


class Loader:
    """Makes a policy of each publication of a learner, be it of an agent or of a SmallVLA."""

    def __init__(self, config: RunConfig, task: Task, schema: StoreSchema) -> None:
        view = view_of(task, config)
        self._given = view, config.seed, view.images(schema.seen), schema.encoder
        self._guides = config.session.guides
        self._agents: ActorLoader | None = None
        self._vlas: VlaLoader | None = None

    def __call__(self, data: bytes) -> Policy:
        """The policy packed in ``data``. Raises `ParameterError` when it does not fit; the one before stays."""
        if not is_vla(data):
            return self.agents(data)
        if self._vlas is None:
            from robot_rl.policies.vla.policy import VlaLoader

            self._vlas = VlaLoader(*self._given)
        return self._vlas(data)

    @property
    def agents(self) -> ActorLoader:
        """The loader of agents' parameters."""
        if self._agents is None:
            from robot_rl.policies.loading import ActorLoader

            view, seed, seen, encoder = self._given
            self._agents = ActorLoader(view, seed, False, seen, encoder, self._guides)
        return self._agents


def make_evaluated(run: Run, config: RunConfig, task: Task, schema: StoreSchema) -> Policy:
    """The policy to evaluate. Raises `ConfigError` when there is none, ValueError when it does not fit."""
    if is_named(config):
        return make_policy(config.policy, task, config.seed)
    server = served(config.policy)
    if server is not None:
        from robot_rl.policies.wire.remote import make_remote

        return make_remote(server, view_of(task, config), task.control_period, schema.seen)
    if config.policy == TOPIC:
        raise ConfigError(
            f"policy={TOPIC} is another program on the graph; without ROS there is none, so leave out --fast"
        )
    view, guides = view_of(task, config), config.session.guides
    seen = view.images(schema.seen)
    if (file := composition(config.policy)) is not None:
        from robot_rl.policies.composed import load_composed

        return load_composed(file, view, config.seed, seen, schema.encoder)
    data = read_parameters(run, config)
    if is_vla(data):
        from robot_rl.policies.vla.policy import load_vla

        return load_vla(data, view, config.seed, seen, schema.encoder)
    from robot_rl.policies.loading import load_actor

    return load_actor(data, view, config.seed, True, seen, schema.encoder, guides)
