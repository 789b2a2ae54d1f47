"""Settings that have to lie within a range."""

from __future__ import annotations

import math
from collections.abc import Sequence


class RangeError(ValueError):
    """A setting outside its range; the message begins with its name and says the value and what would fit."""


def require(settings: object, **ranges: tuple[float, float]) -> None:
    """Raise `RangeError` unless each attribute of ``settings`` named is from the lowest to the highest value given."""
    for name, (lowest, highest) in ranges.items():
        value = getattr(settings, name)
        if not (math.isfinite(value) and lowest <= value <= highest):
            fits = f"at least {lowest}" if highest == math.inf else f"from {lowest} to {highest}"
            raise RangeError(f"{name}={value} is out of range; it must be {fits}")


def require_within(interval: str, settings: object, *names: str) -> None:
    """Raise `RangeError` unless attributes ``names`` of ``settings`` are finite and in ``interval``, e.g. (0, 1]."""
    lowest, highest = map(float, interval[1:-1].split(","))
    for name in names:
        value = getattr(settings, name)
        above = value > lowest if interval[0] == "(" else value >= lowest
        below = value < highest if interval[-1] == ")" else value <= highest
        if not (math.isfinite(value) and above and below):
            raise RangeError(f"{name}={value} is out of range; it must be in {interval}")


def require_widths(settings: object, *names: str) -> None:
    """Raise `RangeError` unless the attributes ``names``, widths of hidden layers, are one or more of 1 or more."""
    for name in names:
        widths: Sequence[int] = getattr(settings, name)
        if not widths or min(widths) < 1:
            raise RangeError(f"{name}={list(widths)} must be one width or more of hidden layers, each at least 1")
