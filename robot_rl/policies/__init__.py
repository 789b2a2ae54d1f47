"""Policies: observations in, actions out. Agents that JAX trains are served by JAX (`serving`), several that imitate as
one (`composed`); a policy that reads what to do is one of torch (`vla`); servers of others are asked over the network
(`wire`).

May import: contract, data, perception, learner.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from robot_rl.contract import Policy, Registry, Shaped, check_policy

POLICIES = Registry("policy", {"random": "robot_rl.policies.base:RandomPolicy"})

SERVERS = ("openpi", "groot")  # protocols of policies that another program serves
COMPOSED = "composed"


class Served(NamedTuple):
    """A policy that another program serves: the protocol, and the file that says what its names mean."""

    kind: str
    file: Path


def served(name: str) -> Served | None:
    """The server that ``name``, as ``openpi:FILE`` or ``groot:FILE``, stands for; None for all other policies."""
    kind, separator, file = name.partition(":")
    return Served(kind, Path(file)) if separator and kind in SERVERS else None


def composition(name: str) -> Path | None:
    """The file of a composition (`composed`) that ``name``, as ``composed:FILE``, stands for; None for all others."""
    kind, separator, file = name.partition(":")
    return Path(file) if separator and kind == COMPOSED else None


def make_policy(name: str, task: Shaped, seed: int) -> Policy:
    """The policy called ``name`` for ``task``: one of `POLICIES`, or ``module:Class``, called with task and seed.

    Raises `ContractError` for any other name, and when what the policy says about itself is out of range.
    """
    policy: Policy = POLICIES.load(name)(task, seed)
    check_policy(policy)
    return policy
