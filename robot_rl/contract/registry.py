"""Registries: one for each point at which other packages may add something of their own.

A name is one of the built-in ones, one that an installed package offers as an entry point of the registry's group, or
``module:Class``, which is imported, from the current folder where no installed module is called so. From a registry's
names come command line help, launch arguments, documents and error messages.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from robot_rl.contract.errors import ContractError


class Registry:
    """Things of one kind by name.

    Args:
        kind: what they are called in messages, e.g. ``task``.
        builtin: name → ``module:attribute``; imported when asked for, not before.
    """

    def __init__(self, kind: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
        self.group = f"robot_rl.{plural.replace(' ', '_')}"  # of the entry points
        self._builtin = dict(builtin)

    @property
    def builtin(self) -> tuple[str, ...]:
        """The names of those that are in this package."""
        return tuple(self._builtin)

    def names(self) -> tuple[str, ...]:
        """All names, those of installed packages after the built-in ones."""
        return tuple(dict.fromkeys((*self._builtin, *sorted(found.name for found in entry_points(group=self.group)))))

    def __contains__(self, name: str) -> bool:
        """Whether ``name`` may be asked for; a ``module:Class`` always may."""
        return ":" in name or name in self.names()

    def check(self, name: str) -> None:
        """Raises `ContractError` with the valid choices, and the nearest of them, for a name that is unknown."""
        if name in self:
            return
        names = self.names()
        near = difflib.get_close_matches(name, names, 1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ContractError(f"unknown {self.kind} {name!r}; choose from {', '.join(names)}, or module:Class{hint}")

    def load(self, name: str) -> Any:
        """The class or function called ``name``.

        Raises `ContractError` when there is none of that name, or its module cannot be imported or lacks it.
        """
        self.check(name)
        target = self._builtin.get(name)
        if target is None:
            found = [point for point in entry_points(group=self.group) if point.name == name]
            target = found[0].value if found else name
        module, _, attribute = target.partition(":")
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        try:
            return getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise ContractError(f"{self.kind} {name!r}: {module} cannot be imported: {error}") from error
        except AttributeError as error:
            raise ContractError(f"{self.kind} {name!r}: {module} has no {attribute!r}") from error
