"""The shape of states and actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from robot_rl.contract.actions import ActionSpec


@dataclass(frozen=True)
class Field:
    """One named part of the state vector. ``scale`` (per unit) brings typical values to order 1."""

    name: str
    size: int
    scale: float


@dataclass(frozen=True)
class Layout:
    """The sizes of an agent's states and actions.

    Attributes:
        state_size, action_size: d and a.
        images: camera → (height, width) of its uint8 RGB images.
        options: the last axis of an action has so many values, evenly spaced from −1 to 1; 0: it is as continuous as
            the others.
    """

    state_size: int
    action_size: int
    images: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    options: int = 0
    least_spread: float = 0.0


class Shaped(Protocol):
    """A task as those see it who only record or act: its name, the fields of its state, and its actions."""

    @property
    def name(self) -> str: ...

    @property
    def fields(self) -> tuple[Field, ...]: ...

    @property
    def action(self) -> ActionSpec: ...
