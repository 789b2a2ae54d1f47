"""Several imitated policies that act as one, by a file that says which and how much each counts.

    policies:
      - {file: ../state/clone.params, weight: 0.3}     # a path, from the file's folder
      - {file: ../pictures/clone.params, weight: 0.7}

They are flows or diffusions of the agent `bc`, these with equally many levels of noise, with chunks of one length, for
one task; their cameras may differ. `robot_rl.learner.composition` says how they act together. Candidates are not chosen
among, nothing is guided, and a policy of weight 0 is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robot_rl.contract import FrameSize, Shaped
from robot_rl.contract.ranges import NonNegative, check
from robot_rl.contract.settings import ConfigError, make_settings, read_mapping
from robot_rl.data.parameters import ParameterError
from robot_rl.learner.algorithms import bc
from robot_rl.learner.algorithms.bc import BcConfig
from robot_rl.learner.composition import ParentSpec, acting, joined
from robot_rl.policies.base import ActorPolicy
from robot_rl.policies.loading import ActorLoader, Published
from robot_rl.policies.serving import AgentActor


@dataclass(frozen=True)
class Share:
    """A policy's ``file`` of parameters, and how much it counts; weights need not sum to 1."""

    file: str = ""
    weight: NonNegative = 1.0

    def __post_init__(self) -> None:
        check(self)


def read_composition(path: Path) -> tuple[Share, ...]:
    """The policies of the file at ``path`` that count, their files as found from here. Raises `ConfigError`."""
    values = read_mapping(path)
    items = values.pop("policies", None)
    if values:
        raise ConfigError(f"{path}: unknown key {next(iter(values))!r}; a composition has policies alone")
    if not isinstance(items, list) or len(items) < 2 or not all(isinstance(item, dict) for item in items):
        raise ConfigError(f"{path}: policies must be a list of two or more groups of file and weight")
    try:
        shares = [make_settings(Share, item, f"policies[{number}].") for number, item in enumerate(items)]
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    for number, share in enumerate(shares):
        if not share.file:
            raise ConfigError(f"{path}: policies[{number}] names no file of parameters")
    if not any(share.weight > 0.0 for share in shares):
        raise ConfigError(f"{path}: all weights are 0; one at least must count")
    return tuple(Share(str(path.parent / share.file), share.weight) for share in shares if share.weight > 0.0)


def bytes_of(path: Path) -> bytes:
    """All that the composition at ``path`` acts by. Raises `ConfigError`."""
    shares = read_composition(path)
    return path.read_bytes() + b"".join(_read(share.file) for share in shares)


def load_composed(
    path: Path, task: Shaped, seed: int, images: Mapping[str, FrameSize], encoder_digest: str = ""
) -> ActorPolicy:
    """The policy of the file at ``path``, for ``task`` and ``images`` as of `ActorLoader`.

    Raises `ConfigError` for a file that says no composition, `ParameterError` naming the policy that does not fit.
    """
    shares = read_composition(path)
    found = []
    for share in shares:
        try:
            found.append(ActorLoader(task, seed, True, images, encoder_digest).read(_read(share.file)))
        except ParameterError as error:
            raise ParameterError(f"{share.file}: {error}") from error
    specs = [_spec(share.file, one) for share, one in zip(shares, found, strict=True)]
    for share, spec in zip(shares, specs, strict=True):
        _check_like(share.file, spec.config, shares[0].file, specs)
    agent = bc.make_agent(specs[0].config)._replace(act=acting(tuple(specs)), guided=False)
    seen = {name: size for one in found for name, size in one.layout.images.items()}
    layout = dataclasses.replace(found[0].layout, images=seen)
    weights = np.array([share.weight for share in shares])
    weights /= weights.max()
    params = joined([one.params for one in found], (weights / weights.sum()).astype(np.float32))
    return ActorPolicy(AgentActor(agent, layout, params, (seed,)), deterministic=True)


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the policy {file}: {error.strerror}") from error


def _spec(file: str, found: Published) -> ParentSpec:
    config = found.agent.config
    if not isinstance(config, BcConfig) or config.model not in ("flow", "diffusion"):
        kind = f"model={config.model} of agent bc" if isinstance(config, BcConfig) else f"of agent {found.agent.name}"
        raise ParameterError(f"{file}: it is {kind}; flows and diffusions of agent bc can be composed")
    return ParentSpec(config, tuple(found.layout.images))


def _check_like(file: str, config: BcConfig, first: str, specs: Sequence[ParentSpec]) -> None:
    """Raises `ParameterError` where ``config`` cannot take the steps that the others take."""
    horizon = specs[0].config.horizon
    if config.horizon != horizon:
        raise ParameterError(f"{file}: its chunks have {config.horizon} actions, those of {first} {horizon}")
    levels = [spec.config.noise_levels for spec in specs if spec.config.model == "diffusion"]
    if config.model == "diffusion" and config.noise_levels != levels[0]:
        raise ParameterError(
            f"{file}: its noise has {config.noise_levels} levels, that of another diffusion {levels[0]}"
        )
