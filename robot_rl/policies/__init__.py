"""Policies: observations in, actions out. Agents that JAX trains are served by JAX (`serving`).

May import: contract, data, perception, learner.
"""

from __future__ import annotations

from robot_rl.contract import Policy, Registry, Shaped, check_policy

POLICIES = Registry("policy", {"random": "robot_rl.policies.base:RandomPolicy"})


def make_policy(name: str, task: Shaped, seed: int) -> Policy:
    """The policy called ``name`` for ``task``: one of `POLICIES`, or ``module:Class``, called with task and seed.

    Raises `ContractError` for any other name, and when what the policy says about itself is out of range.
    """
    policy: Policy = POLICIES.load(name)(task, seed)
    check_policy(policy)
    return policy
