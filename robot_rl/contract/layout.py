"""The shape of states, actions and what is seen by cameras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np

from robot_rl.contract.actions import ActionSpec

FrameSize = tuple[int, ...]
TCP_POSITION, TCP_ROTATION = "tcp_position", "tcp_rotation"  # fields: the TCP in the base frame [m], [rad] by log3


class FrameSpec(NamedTuple):
    """Shape and type of the array by which an agent sees one camera."""

    shape: tuple[int, ...]
    dtype: type


def frame_spec(size: FrameSize) -> FrameSpec:
    """The array of a ``size``: ``(height, width)`` of a uint8 RGB image, or ``(rows, columns, channels)`` of a float16
    grid of features."""
    return FrameSpec((*size, 3), np.uint8) if len(size) == 2 else FrameSpec(tuple(size), np.float16)


class Encoding(NamedTuple):
    """Features that come with images: ``digest`` of the encoder, and camera → (rows, columns, channels)."""

    digest: str = ""
    shapes: Mapping[str, tuple[int, int, int]] = MappingProxyType({})


NO_ENCODING = Encoding()


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
        images: camera → (height, width) of its uint8 RGB images, or (rows, columns, channels) of its float16 grids of
            features, which an encoder has put in their place.
        options: the last axis of an action has so many values, evenly spaced from −1 to 1; 0: it is as continuous as
            the others.
    """

    state_size: int
    action_size: int
    images: Mapping[str, FrameSize] = field(default_factory=dict)
    options: int = 0
    least_spread: float = 0.0


class Shaped(Protocol):
    """A task as those see it who only record or act: its name, its state's fields, its actions and their period."""

    @property
    def name(self) -> str: ...

    @property
    def fields(self) -> tuple[Field, ...]: ...

    @property
    def action(self) -> ActionSpec: ...

    @property
    def control_period(self) -> float: ...
