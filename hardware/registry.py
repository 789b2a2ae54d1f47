"""Registries: one for each point at which other packages may add something of their own.

A name is one of the built-in ones, one that an installed package offers as an entry point of the registry's group, or
``module:Class``, which is imported, from the current folder where no installed module is called so. From a registry's
names come command line help, launch arguments, documents and error messages.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, distributions
from typing import Any

LONGEST = 80  # characters of an unknown name that a message repeats


@functools.lru_cache(maxsize=1)
def _installed(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Entry points of the packages on ``path``, of two of one name those of the first, as Python imports them.

    Read once: that takes hundreds of files, and the help of one command asks twenty times. A package that is installed
    while the process runs is not seen.
    """
    packages = {package.name.lower().replace("_", "-"): package for package in reversed([*distributions(path=[*path])])}
    return tuple(point for package in packages.values() for point in package.entry_points)


def look_here() -> None:
    """Have modules looked for in the current folder, too, after all other places."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def meant(name: str, known: Iterable[str]) -> str:
    """The end of a message: which of ``known`` is nearest to a ``name`` that is none of them; "" when none is near."""
    near = difflib.get_close_matches(name, list(known), 1, cutoff=0.4)
    return f"; did you mean {near[0]!r}?" if near else ""


class RegistryError(ValueError):
    """A name that stands for nothing, or for something that cannot be imported; the message says what there is."""


class Registry:
    """Things of one kind by name.

    Args:
        kind: what they are called in messages, e.g. ``task``.
        builtin: name → ``module:attribute``; imported when asked for, not before.
        error: raised for a name that cannot be used.
    """

    def __init__(self, kind: str, builtin: Mapping[str, str], error: type[Exception] = RegistryError) -> None:
        self.kind = kind
        plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
        self.group = f"robot_rl.{plural.replace(' ', '_')}"  # of the entry points
        self._builtin = dict(builtin)
        self._error = error

    @property
    def builtin(self) -> tuple[str, ...]:
        """The names of those that are in this package."""
        return tuple(self._builtin)

    def names(self) -> tuple[str, ...]:
        """All names, those of installed packages after the built-in ones."""
        return tuple(dict.fromkeys((*self._builtin, *sorted(found.name for found in self._offered()))))

    def _offered(self) -> list[EntryPoint]:
        return [point for point in _installed(tuple(sys.path)) if point.group == self.group]

    def listed(self, *more: str) -> str:
        """The names and ``more`` for help and messages, with the form that own ones have."""
        return f"{', '.join((*more, *self.names()))}, or module:Class"

    def __contains__(self, name: str) -> bool:
        """Whether ``name`` may be asked for; a ``module:Class`` always may."""
        return ":" in name or name in self.names()

    def check(self, name: str) -> None:
        """Raises the registry's error, with the valid choices and the nearest of them, for a name that is unknown."""
        if name in self:
            return
        hint = meant(name, self.names())
        raise self._error(f"unknown {self.kind} {name[:LONGEST]!r}; choose from {self.listed()}{hint}")

    def load(self, name: str) -> Any:
        """The class, function or value called ``name``.

        Raises the registry's error when there is none of that name, or its module cannot be imported or lacks it.
        """
        self.check(name)
        target = self._builtin.get(name)
        if target is None:
            found = [point for point in self._offered() if point.name == name]
            target = found[0].value if found else name
        module, _, attribute = target.partition(":")
        who = f"{self.kind} {name[:LONGEST]!r}"
        if not module or module.startswith("."):
            raise self._error(f"{who} names no module; the form is module:Class")
        look_here()
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, ValueError, RecursionError) as error:  # the last two: of a name that no module can have
            raise self._error(f"{who}: {module[:LONGEST]} cannot be imported: {str(error)[:LONGEST]}") from error
        except AttributeError as error:
            raise self._error(f"{who}: {module} has no {attribute[:LONGEST]!r}") from error
