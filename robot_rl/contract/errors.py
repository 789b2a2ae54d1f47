"""The error of values that do not fit together."""

from __future__ import annotations


class ContractError(ValueError):
    """A value that does not fit its specification; the message names it, its value and what would fit."""
