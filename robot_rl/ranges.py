"""Settings that have to lie within a range."""

from __future__ import annotations

import math


class RangeError(ValueError):
    """A setting outside its range; the message begins with its name and says the value and what would fit."""


def require(settings: object, **ranges: tuple[float, float]) -> None:
    """Raise `RangeError` unless each attribute of ``settings`` named is from the lowest to the highest value given."""
    for name, (lowest, highest) in ranges.items():
        value = getattr(settings, name)
        if not (math.isfinite(value) and lowest <= value <= highest):
            fits = f"at least {lowest}" if highest == math.inf else f"from {lowest} to {highest}"
            raise RangeError(f"{name}={value} is out of range; it must be {fits}")
