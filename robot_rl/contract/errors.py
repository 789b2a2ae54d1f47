"""The errors of values that do not fit together, and of answers that are none."""

from __future__ import annotations


class ContractError(ValueError):
    """A value that does not fit its specification; the message names it, its value and what would fit."""


class AnswerError(ContractError):
    """A policy has no answer of use this time; the message says why. The arm goes on with its plan, or holds."""
