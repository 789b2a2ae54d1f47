"""Registries of what the rooms of robot_rl choose from; `hardware.registry` says what a registry is."""

from __future__ import annotations

from collections.abc import Mapping

from hardware import registry
from robot_rl.contract.errors import ContractError


class Registry(registry.Registry):
    """A registry whose error is `ContractError`."""

    def __init__(self, kind: str, builtin: Mapping[str, str]) -> None:
        super().__init__(kind, builtin, ContractError)
