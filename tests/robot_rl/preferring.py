"""Programs in the place of a person who prefers something, by name for ``by=``."""

from __future__ import annotations

import numpy as np

from robot_rl.rewards.answers import EQUAL, FIRST, SECOND, Snippet

FULL = "tests.robot_rl.preferring:full_tank"
SCORED = "tests.robot_rl.preferring:scored_tank"


def tank(snippet: Snippet) -> float:
    """Mean energy [J] of the snippet."""
    return float(np.mean([reading.tank for reading in snippet.readings]))


def full_tank(first: Snippet, second: Snippet) -> int:
    """The snippet with more energy in the tank; neither, where they differ little."""
    if abs(tank(first) - tank(second)) < 0.02:
        return EQUAL
    return FIRST if tank(first) > tank(second) else SECOND


def scored_tank(snippet: Snippet) -> int:
    """1 to 5, for a mean of 0 to 1 J."""
    return int(np.clip(1.0 + 5.0 * tank(snippet), 1, 5))


def undecided(first: Snippet, second: Snippet) -> str:
    """No answer."""
    return "both"
