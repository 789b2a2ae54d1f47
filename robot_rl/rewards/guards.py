"""Guards beside a classifier: bounds of what the arm measures, outside which no picture counts as a success.

A classifier errs in bursts, and where the hand is or presses is known better than it can be seen (HIL-SERL has a pose
beside each of its classifiers). The evaluation judges with the guards, so that its promise is of both together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from robot_rl.contract import Reading
from robot_rl.contract.ranges import Finite, RangeError, check

Bounds = tuple[Finite, ...]
MEASURED: Mapping[str, tuple[str, Callable[[Reading], float]]] = MappingProxyType(
    {
        "x": ("m", lambda reading: reading.pose.translation[0]),
        "y": ("m", lambda reading: reading.pose.translation[1]),
        "z": ("m", lambda reading: reading.pose.translation[2]),
        "force_x": ("N", lambda reading: reading.contact[0]),
        "force_y": ("N", lambda reading: reading.contact[1]),
        "force_z": ("N", lambda reading: reading.contact[2]),
        "force": ("N", lambda reading: float(np.linalg.norm(reading.contact[:3]))),
        "moment": ("N·m", lambda reading: float(np.linalg.norm(reading.contact[3:]))),
        "speed": ("m/s", lambda reading: float(np.linalg.norm(reading.twist[:3]))),
        "gripper": ("", lambda reading: reading.gripper),
    }
)  # unit and value of each of the settings below


@dataclass(frozen=True)
class Guards:
    """Least and largest value of each, both included; without bounds it may be anything. Raises `RangeError`.

    Attributes:
        x, y, z: of the TCP [m], in the base frame.
        force_x, force_y, force_z: of what touches the arm [N], base axes.
        force, moment: their lengths [N, N·m].
        speed: of the TCP [m/s].
        gripper: opening, 0 to 1.
    """

    x: Bounds = ()
    y: Bounds = ()
    z: Bounds = ()
    force_x: Bounds = ()
    force_y: Bounds = ()
    force_z: Bounds = ()
    force: Bounds = ()
    moment: Bounds = ()
    speed: Bounds = ()
    gripper: Bounds = ()

    def __post_init__(self) -> None:
        check(self)
        for name, bounds in self._bounds.items():
            if len(bounds) != 2 or bounds[0] > bounds[1]:
                raise RangeError(f"{name}={list(bounds)} needs its least and its largest value, e.g. {name}=0,0.1")

    @property
    def _bounds(self) -> dict[str, Bounds]:
        found = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {name: bounds for name, bounds in found.items() if bounds}

    def outside(self, reading: Reading) -> tuple[str, ...]:
        """Values of ``reading`` that are out of their bounds, in words."""
        found = []
        for name, (least, largest) in self._bounds.items():
            unit, measure = MEASURED[name]
            value = float(measure(reading))
            if not least <= value <= largest:
                found.append(f"{name} is {value:.4g}, not {least:g} to {largest:g} {unit}".rstrip())
        return tuple(found)

    def __str__(self) -> str:
        parts = (
            f"{name} {least:g} to {largest:g} {MEASURED[name][0]}" for name, (least, largest) in self._bounds.items()
        )
        return ", ".join(part.rstrip() for part in parts)
